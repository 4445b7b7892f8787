-- Enters work into jtd.work as it stands; messages are left out. VaNi looks at it with the next tick.
-- Called by: the triggers on public.n_jtd, jtd.sweep.  Locks: list rows of jobs that the caller holds.
CREATE OR REPLACE FUNCTION jtd.list_work(p_ids uuid[]) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    INSERT INTO jtd.work AS w (
        jtd_id, tenant_id, is_live, category, event_type_code, source_type_code, status_code, at, person_id, next_at)
    SELECT j.id, j.tenant_id, j.is_live, e.category, j.event_type_code, j.source_type_code, j.status_code,
        coalesce(j.scheduled_at, '9999-12-31 00:00+00'), j.recipient_id, now()
    FROM public.n_jtd AS j
    JOIN public.n_jtd_event_types AS e ON e.code = j.event_type_code AND NOT e.is_message
    WHERE j.id = ANY (p_ids)
    ON CONFLICT (jtd_id) DO UPDATE
    SET tenant_id = excluded.tenant_id, is_live = excluded.is_live, category = excluded.category,
        event_type_code = excluded.event_type_code, source_type_code = excluded.source_type_code,
        status_code = excluded.status_code, at = excluded.at, person_id = excluded.person_id, next_at = now(),
        moves = w.moves + (w.at <> excluded.at)::integer,
        at_since = CASE WHEN w.at <> excluded.at THEN now() ELSE w.at_since END,
        person_since = CASE WHEN w.person_id IS DISTINCT FROM excluded.person_id THEN now() ELSE w.person_since END
$$;
REVOKE ALL ON FUNCTION jtd.list_work(uuid[]) FROM PUBLIC;
