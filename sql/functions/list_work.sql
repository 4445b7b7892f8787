-- Enters work into jtd.work as it stands; messages are left out. VaNi looks at it with the next tick.
-- Another time is a move, and so is another person of an appointment. Work that was brought here as it is counts as
-- looked at: who brings an old calendar tells nobody of it. Of one statement a thousand are looked at at once, the rest
-- one by one after them, half as fast as ticks can: what others have due meanwhile does not wait behind them.
-- Called by: the triggers on public.n_jtd, jtd.sweep.  Locks: list rows of jobs that the caller holds.
CREATE OR REPLACE FUNCTION jtd.list_work(p_ids uuid[]) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    INSERT INTO jtd.work AS w (
        jtd_id, tenant_id, is_live, category, event_type_code, source_type_code, status_code, at, person_id, looked_at,
        next_at)
    SELECT j.id, j.tenant_id, j.is_live, e.category, j.event_type_code, j.source_type_code, j.status_code,
        coalesce(j.scheduled_at, '9999-12-31 00:00+00'), j.recipient_id,
        CASE WHEN j.status_changed_at = now() THEN '-infinity' ELSE now() END,
        now() + greatest(row_number() OVER (ORDER BY j.id) - 1000, 0) * interval '2 ms'
    FROM public.n_jtd AS j
    JOIN public.n_jtd_event_types AS e ON e.code = j.event_type_code AND NOT e.is_message
    WHERE j.id = ANY (p_ids)
    ON CONFLICT (jtd_id) DO UPDATE
    SET tenant_id = excluded.tenant_id, is_live = excluded.is_live, category = excluded.category,
        event_type_code = excluded.event_type_code, source_type_code = excluded.source_type_code,
        status_code = excluded.status_code, at = excluded.at, person_id = excluded.person_id, next_at = excluded.next_at,
        moves = w.moves + (w.at <> excluded.at OR (excluded.category = 'scheduling' AND w.person_id <> excluded.person_id)
            IS TRUE)::integer,
        at_since = CASE WHEN w.at <> excluded.at OR (excluded.category = 'scheduling' AND w.person_id <> excluded.person_id)
            THEN now() ELSE w.at_since END,
        person_since = CASE WHEN w.person_id IS DISTINCT FROM excluded.person_id THEN now() ELSE w.person_since END,
        looked_at = CASE WHEN (w.at, w.person_id) IS DISTINCT FROM (excluded.at, excluded.person_id)
            THEN '-infinity' ELSE w.looked_at END
$$;
REVOKE ALL ON FUNCTION jtd.list_work(uuid[]) FROM PUBLIC;
