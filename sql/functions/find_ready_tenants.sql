-- Closes the windows of all tenants who have jobs on the list, whether their arrival was noted or not.
-- Called by: jtd.begin_sweep.  Locks: nothing.  One index probe for each tenant.
CREATE OR REPLACE FUNCTION jtd.find_ready_tenants() RETURNS void
LANGUAGE sql VOLATILE
AS $$
    INSERT INTO jtd.windows (channel_code, lane, tenant_id)
    WITH RECURSIVE turn AS (
        SELECT q.channel_code, q.lane, (SELECT r.tenant_id FROM jtd.ready AS r
            WHERE r.channel_code = q.channel_code AND r.lane = q.lane
            ORDER BY r.tenant_id LIMIT 1) AS tenant_id
        FROM jtd.queues AS q
        UNION ALL
        SELECT t.channel_code, t.lane, (SELECT r.tenant_id FROM jtd.ready AS r
            WHERE r.channel_code = t.channel_code AND r.lane = t.lane AND r.tenant_id > t.tenant_id
            ORDER BY r.tenant_id LIMIT 1)
        FROM turn AS t
        WHERE t.tenant_id IS NOT NULL
    )
    SELECT t.channel_code, t.lane, t.tenant_id FROM turn AS t WHERE t.tenant_id IS NOT NULL
    ON CONFLICT DO NOTHING
$$;
REVOKE ALL ON FUNCTION jtd.find_ready_tenants() FROM PUBLIC;
