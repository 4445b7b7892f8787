-- What VaNi does of herself about some work: each step that lies ahead, is due, or was done, with the rule for it.
-- Called by: jtd.vani_take, jtd.vani_tick, jtd.vani_plan, jtd.explain.  Locks: nothing.  Closed work has no steps.
-- step: walk and start take an automatic edge of the flow, to to_status; reminded does when a reminder was sent; confirm,
-- remind and tell are messages, which are made once for each key, from at until until. state: ahead, due, done; off (VaNi is
-- not on, or was not at that time), late (until has passed). is_on: whether she is on now. A message that was to be made
-- before she last looked is off too: then it was no step as yet, or could not be made, or was deleted since.
CREATE OR REPLACE FUNCTION jtd.vani_steps(p_ids uuid[])
RETURNS TABLE (
    jtd_id uuid, step text, at timestamptz, until timestamptz, to_status text, rule text, key text, is_on boolean,
    state text)
LANGUAGE sql STABLE
AS $$
    WITH job AS MATERIALIZED (
        SELECT j.id, j.tenant_id, j.event_type_code, j.status_code, j.scheduled_at, j.recipient_id, e.category,
            w.moves, w.at_since, w.person_since, w.looked_at, coalesce(t.timezone, 'UTC') AS zone,
            coalesce(ts.reminder_offsets, s.reminder_offsets, '{}') AS offsets,
            CASE WHEN t.vani_enabled THEN least(
                (t.vani_since ->> j.event_type_code)::timestamptz,
                CASE WHEN ts.auto_execute THEN greatest(ts.auto_execute_since, (t.vani_since ->> '')::timestamptz) END)
            END AS since,
            CASE WHEN t.vani_since ? j.event_type_code THEN 'vani_auto_execute_types has ' || j.event_type_code
                ELSE 'auto_execute of ' || j.source_type_code END AS leave
        FROM public.n_jtd AS j
        JOIN jtd.work AS w ON w.jtd_id = j.id
        JOIN public.n_jtd_event_types AS e ON e.code = j.event_type_code
        LEFT JOIN public.n_jtd_statuses AS st ON st.event_type_code = j.event_type_code AND st.code = j.status_code
        LEFT JOIN public.n_jtd_source_types AS s ON s.code = j.source_type_code
        LEFT JOIN public.n_jtd_tenant_config AS t
            ON t.tenant_id = j.tenant_id AND t.is_live = j.is_live AND t.is_active
        LEFT JOIN public.n_jtd_tenant_source_config AS ts
            ON ts.tenant_id = j.tenant_id AND ts.source_type_code = j.source_type_code
            AND ts.is_live = j.is_live AND ts.is_active
        WHERE j.id = ANY (p_ids) AND st.is_terminal IS NOT TRUE
    ), edge AS MATERIALIZED (
        SELECT f.event_type_code, a.code AS from_code, b.code AS to_code
        FROM public.n_jtd_status_flows AS f
        JOIN public.n_jtd_statuses AS a ON a.id = f.from_status_id
        JOIN public.n_jtd_statuses AS b ON b.id = f.to_status_id
        WHERE f.is_automatic AND f.is_active
    ), made AS MATERIALIZED (
        SELECT c.parent_id, c.idempotency_key AS key,
            c.metadata #>> '{vani,step}' = 'remind' AND c.status_code IN ('sent', 'delivered', 'read') AS is_reminder_sent,
            c.metadata #>> '{vani,move}' AS move
        FROM public.n_jtd AS c
        WHERE c.parent_id = ANY (p_ids) AND c.performed_by_type = 'vani'
    ), sibling AS MATERIALIZED (  -- a message may go by several channels, of which any one counts
        SELECT m.parent_id, m.move
        FROM made AS m WHERE m.is_reminder_sent
        UNION ALL
        SELECT c.parent_id, c.metadata #>> '{vani,move}'
        FROM public.n_jtd AS c
        JOIN public.n_jtd AS o ON o.parent_id = c.id
        WHERE c.parent_id = ANY (p_ids) AND c.performed_by_type = 'vani' AND c.metadata #>> '{vani,step}' = 'remind'
            AND o.status_code IN ('sent', 'delivered', 'read')
    ), step AS MATERIALIZED (
        SELECT j.id, 'walk' AS step, j.at_since AS at, NULL::timestamptz AS until, x.to_code AS to_status,
            format('%s > %s is automatic', x.from_code, x.to_code) AS rule, NULL AS key, true AS is_timeless,
            j.since, j.leave, j.looked_at
        FROM job AS j
        JOIN edge AS x ON x.event_type_code = j.event_type_code AND x.from_code = j.status_code
        WHERE (x.to_code = 'scheduled' AND j.scheduled_at > now()) OR x.to_code = 'pending'
        UNION ALL
        SELECT j.id, 'reminded', now(), NULL, x.to_code, 'a reminder was sent', NULL, true, j.since, j.leave, j.looked_at
        FROM job AS j
        JOIN edge AS x ON x.event_type_code = j.event_type_code AND x.from_code = j.status_code
            AND x.to_code = 'reminded'
        WHERE ((j.id, j.moves::text) IN (SELECT b.parent_id, b.move FROM sibling AS b)) IS TRUE  -- hashed, whatever the planner thinks
        UNION ALL
        SELECT j.id, 'start', j.scheduled_at, NULL, x.to_code, 'its time has come', NULL, false, j.since, j.leave, j.looked_at
        FROM job AS j
        JOIN edge AS x ON x.event_type_code = j.event_type_code AND x.from_code = j.status_code
            AND x.to_code = 'in_progress'
        WHERE j.scheduled_at IS NOT NULL
        UNION ALL
        SELECT j.id, 'confirm', j.at_since, j.scheduled_at, NULL, 'it has a time, and its person is told',
            format('vani:%s:confirm:%s', j.id, j.moves), false, j.since, j.leave, j.looked_at
        FROM job AS j
        WHERE j.category = 'scheduling' AND j.scheduled_at > j.at_since
            AND j.status_code IN ('created', 'scheduled', 'rescheduled', 'reminded', 'confirmed')
        UNION ALL
        SELECT r.id, 'remind', r.at, coalesce(lead(r.at) OVER (PARTITION BY r.id ORDER BY r.at), r.scheduled_at), NULL,
            format('reminder %s before', r.amount), format('vani:%s:remind:%s:%s', r.id, r.moves, r.amount), false,
            r.since, r.leave, r.looked_at
        FROM (
            SELECT DISTINCT ON (j.id, b.at) j.id, j.moves, j.scheduled_at, b.at, j.since, j.leave, j.looked_at,
                replace(o.amount::text, ':00:00', ' h') AS amount
            FROM job AS j
            CROSS JOIN LATERAL unnest(j.offsets) AS o (amount)
            CROSS JOIN LATERAL (SELECT jtd.before(j.scheduled_at, o.amount, j.zone) AS at) AS b
            WHERE j.category = 'scheduling' AND b.at >= j.at_since AND b.at < j.scheduled_at
                AND j.status_code IN ('created', 'scheduled', 'rescheduled', 'reminded', 'confirmed')
            ORDER BY j.id, b.at, o.amount) AS r
        UNION ALL
        SELECT j.id, 'tell', j.person_since, NULL, NULL, 'it has a person, who is told',
            format('vani:%s:tell:%s', j.id, j.recipient_id), false, j.since, j.leave, j.looked_at
        FROM job AS j
        WHERE j.category = 'action' AND j.recipient_id IS NOT NULL AND j.status_code IN ('created', 'pending', 'assigned')
    )
    SELECT s.id, s.step, s.at, s.until, s.to_status, format('%s (%s)', s.rule, s.leave), s.key, s.since IS NOT NULL,
        CASE
            WHEN s.key IN (SELECT m.key FROM made AS m) THEN 'done'  -- a key names its work
            WHEN s.at > now() THEN 'ahead'
            WHEN s.since IS NULL OR (s.at < s.since AND NOT s.is_timeless) OR (s.at <= s.looked_at AND s.key IS NOT NULL)
                THEN 'off'
            WHEN s.until <= now() THEN 'late'
            ELSE 'due'
        END
    FROM step AS s
$$;
REVOKE ALL ON FUNCTION jtd.vani_steps(uuid[]) FROM PUBLIC;
