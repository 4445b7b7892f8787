-- Keeps the list of work in step with a change of jobs, whoever made it.
-- Called by: AFTER UPDATE statement trigger on public.n_jtd.  Locks: list rows of jobs that the statement holds.
-- Claims and settles change messages alone, and pass through after one look at their event types. A message of VaNi that
-- is sent wakes its work, and one that is to be sent again, which may be about an earlier time: by a row of its own, so
-- that nobody waits for the work.
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
    INSERT INTO jtd.vani_wakes (jtd_id)
    SELECT w.jtd_id
    FROM new_rows AS n
    JOIN jtd.work AS w ON w.jtd_id = jtd.message_id(jsonb_build_object('jtd_id', n.metadata #> '{vani,for}'))
    WHERE (n.status_code IN ('sent', 'delivered', 'read') OR (n.status_code = 'pending' AND n.attempt > 0))
        AND n.performed_by_type = 'vani' AND n.parent_id IS NOT NULL;
    RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION jtd.list_work_updated() FROM PUBLIC;
