-- Keeps the list of work in step with a change of jobs, whoever made it.
-- Called by: AFTER UPDATE statement trigger on public.n_jtd.  Locks: list rows of jobs that the statement holds.
-- Claims and settles change messages alone, and pass through after one look at their event types.
CREATE OR REPLACE FUNCTION jtd.list_work_updated() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    ids uuid[] := ARRAY(
        SELECT n.id FROM new_rows AS n
        JOIN public.n_jtd_event_types AS e ON e.code = n.event_type_code AND NOT e.is_message);
BEGIN
    IF ids <> '{}' THEN
        PERFORM jtd.list_work(ARRAY(
            SELECT n.id FROM new_rows AS n
            LEFT JOIN jtd.work AS w ON w.jtd_id = n.id
            WHERE n.id = ANY (ids) AND (
                n.tenant_id, n.is_live, n.event_type_code::text, n.source_type_code::text, n.status_code::text,
                coalesce(n.scheduled_at, '9999-12-31 00:00+00'), n.recipient_id)
                IS DISTINCT FROM (
                w.tenant_id, w.is_live, w.event_type_code, w.source_type_code, w.status_code, w.at, w.person_id)));
    END IF;
    RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION jtd.list_work_updated() FROM PUBLIC;
