-- What VaNi will do for a tenant in a span of time: one row for each step, and for each channel of a message.
-- Called by: operators and services, jtd-worker vani plan.  Locks: nothing.  None, no rows.
-- at is when it is due, expected_at when it goes after the delay and the batch window of its source, and quiet hours. stop says what stands in its way as things are: vani_off (so
-- this is what she would do), no_channel, no_address, expires, or a reason of jtd.gate; NULL: nothing. for_whom is the
-- name, never the contact. The first p_limit steps by time, NULL for all: go on with p_from at the last one's.
CREATE OR REPLACE FUNCTION jtd.vani_plan(
    p_tenant uuid, p_from timestamptz, p_to timestamptz, p_is_live boolean DEFAULT true, p_limit integer DEFAULT 200)
RETURNS TABLE (
    at timestamptz, expected_at timestamptz, jtd_id uuid, kind text, title text, for_whom text, step text, channel text,
    rule text, stop text)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET work_mem = '128MB'  -- keys of all messages about the work are looked up by hash, or else one by one
AS $$
    WITH planned AS (
        SELECT s.*
        FROM jtd.vani_steps(ARRAY(
            SELECT w.jtd_id FROM jtd.work AS w
            WHERE w.tenant_id = p_tenant AND w.is_live = p_is_live AND w.category = 'scheduling'
                AND w.at BETWEEN p_from AND p_to + coalesce((
                    SELECT least(max(o.amount), '100 years')
                    FROM (SELECT unnest(x.reminder_offsets) FROM public.n_jtd_source_types AS x
                        UNION ALL
                        SELECT unnest(x.reminder_offsets) FROM public.n_jtd_tenant_source_config AS x
                        WHERE x.tenant_id = p_tenant) AS o (amount)), '0') + interval '1 day'
            UNION
            SELECT w.jtd_id FROM jtd.work AS w  -- what is to be done at once
            WHERE w.tenant_id = p_tenant AND w.is_live = p_is_live AND w.next_at <= now())) AS s
        WHERE (s.state = 'ahead' AND s.at BETWEEN p_from AND p_to)
            OR (s.state = 'due' AND now() BETWEEN p_from AND p_to)
        ORDER BY s.at, s.jtd_id, s.step LIMIT p_limit
    )
    SELECT p.at,
        CASE WHEN g.until IS NULL AND x.stop IS NULL THEN d.at WHEN g.until < p.until OR p.until IS NULL THEN g.until END,
        p.jtd_id, j.event_type_code::text, coalesce(j.payload ->> 'title', j.payload ->> 'subject'), j.recipient_name::text,
        p.step, r.channel_code, p.rule, x.stop
    FROM planned AS p
    JOIN public.n_jtd AS j ON j.id = p.jtd_id
    LEFT JOIN LATERAL jtd.vani_message(p.step, j) AS m ON p.key IS NOT NULL
    LEFT JOIN LATERAL (
        SELECT o.channel_code, o.recipient
        FROM jtd.route(m.event_type, m.source_type, j.tenant_id, j.is_live, j.recipient_contact, j.recipient_id, j.payload) AS o
        WHERE m.channel IS NULL
        UNION ALL
        SELECT m.channel, jtd.recipient('user', NULL, j.recipient_id, j.payload) WHERE m.channel IS NOT NULL
    ) AS r ON p.key IS NOT NULL
    LEFT JOIN public.n_jtd_tenant_source_config AS ts ON ts.tenant_id = j.tenant_id AND ts.source_type_code = m.source_type
        AND ts.is_live = j.is_live AND ts.is_active
    CROSS JOIN LATERAL (  -- as jtd.enqueue_row lets it wait: in a batch only what does not expire there
        SELECT q.at + CASE WHEN w.length < p.until - q.at OR p.until IS NULL THEN w.length ELSE '0' END AS at
        FROM (SELECT greatest(p.at, now()) + make_interval(secs => coalesce(ts.delay_seconds, 0)) AS at) AS q
        CROSS JOIN LATERAL (SELECT coalesce((
            SELECT make_interval(secs => ts.batch_window_seconds)
            FROM public.n_jtd_event_types AS e
            JOIN public.n_jtd_source_types AS s ON s.code = m.source_type AND NOT s.bypasses_gates
            LEFT JOIN public.n_jtd_tenant_config AS t
                ON t.tenant_id = j.tenant_id AND t.is_live = j.is_live AND t.is_active
            WHERE e.code = m.event_type AND e.supports_batch AND jtd.lane(coalesce(ts.priority_override,
                nullif(t.default_priority, 5), e.default_priority), s.is_urgent) = 'normal'), '0') AS length) AS w
    ) AS d
    LEFT JOIN LATERAL jtd.foresee(j.tenant_id, j.is_live, m.event_type, m.source_type, r.channel_code, r.recipient,
        j.recipient_id, d.at) AS g ON p.key IS NOT NULL
    CROSS JOIN LATERAL (SELECT CASE
        WHEN NOT p.is_on THEN 'vani_off'
        WHEN greatest(g.until, d.at) >= p.until THEN 'expires'
        ELSE g.reason END AS stop) AS x
    ORDER BY p.at, p.jtd_id, p.step, r.channel_code
$$;
REVOKE ALL ON FUNCTION jtd.vani_plan(uuid, timestamptz, timestamptz, boolean, integer) FROM PUBLIC;
