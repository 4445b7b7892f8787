-- The tenants of a round of admission in their turn: those on the list of a lane, by id from p_from on, then from the first.
-- Called by: jtd.admit_queue, jtd.is_pressed, jtd.idle_v1.  Locks: nothing.  Nobody, no rows.
-- The one place that says who takes part in a round: nobody who is paused, or whose limit holds back all he has. It reads
-- jtd.windows, of one row for each tenant, until p_limit take part, and at most that or 1,000 of each half of the round: so many
-- tenants who may not go cost little, and jtd.admit_queue looks at others in its next round.
CREATE OR REPLACE FUNCTION jtd.ready_tenants(p_channel text, p_lane text, p_from uuid, p_limit integer)
RETURNS TABLE (tenant_id uuid)
LANGUAGE sql STABLE
SET enable_seqscan = off  -- the planner knows little of a table that changes with each tick
SET enable_bitmapscan = off
AS $$
    SELECT t.tenant_id
    FROM (VALUES
        (1, p_from, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid),
        (2, '00000000-0000-0000-0000-000000000000'::uuid, p_from)) AS half (number, first, last)
    CROSS JOIN LATERAL (
        SELECT w.tenant_id
        FROM (
            SELECT x.tenant_id
            FROM jtd.windows AS x
            WHERE x.channel_code = p_channel AND x.lane = p_lane
                AND x.tenant_id >= half.first AND x.tenant_id <= half.last
                AND (half.number = 1 OR x.tenant_id <> p_from)
            ORDER BY x.tenant_id
            LIMIT greatest(1000, p_limit)) AS w
        WHERE NOT EXISTS (SELECT FROM jtd.pauses AS p WHERE p.scope = 'tenant' AND p.code = w.tenant_id::text)
            AND (NOT EXISTS (SELECT FROM jtd.holds AS h WHERE h.tenant_id = w.tenant_id AND h.is_live)
                OR NOT jtd.is_held(w.tenant_id, p_channel)
                OR EXISTS (SELECT FROM jtd.ready AS r WHERE r.is_exempt AND r.channel_code = p_channel
                    AND r.lane = p_lane AND r.tenant_id = w.tenant_id))
        ORDER BY w.tenant_id
        LIMIT p_limit
    ) AS t
    ORDER BY half.number, t.tenant_id
    LIMIT p_limit
$$;
REVOKE ALL ON FUNCTION jtd.ready_tenants(text, text, uuid, integer) FROM PUBLIC;
