-- The tenants with ready jobs in a lane, in order of id from p_from on; one index probe for each.
-- Called by: jtd.admit, jtd.admit_queue.  Locks: nothing.  Nobody ready, no rows.
CREATE OR REPLACE FUNCTION jtd.ready_tenants(p_channel text, p_lane text, p_from uuid, p_limit integer)
RETURNS TABLE (tenant_id uuid)
LANGUAGE sql STABLE
AS $$
    WITH RECURSIVE turn AS (
        (SELECT r.tenant_id FROM jtd.ready AS r
        WHERE r.channel_code = p_channel AND r.lane = p_lane AND r.tenant_id >= p_from
        ORDER BY r.tenant_id LIMIT 1)
        UNION ALL
        SELECT (SELECT r.tenant_id FROM jtd.ready AS r
            WHERE r.channel_code = p_channel AND r.lane = p_lane AND r.tenant_id > turn.tenant_id
            ORDER BY r.tenant_id LIMIT 1)
        FROM turn
        WHERE turn.tenant_id IS NOT NULL
    )
    SELECT t.tenant_id FROM turn AS t WHERE t.tenant_id IS NOT NULL LIMIT p_limit
$$;
REVOKE ALL ON FUNCTION jtd.ready_tenants(text, text, uuid, integer) FROM PUBLIC;
