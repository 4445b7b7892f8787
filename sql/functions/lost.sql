-- Those of some jobs that are not where their status says that they are: no list, queue or worker will move them.
-- Called by: jtd.mend.  Locks: nothing.  None, an empty array.
-- One snapshot for the jobs and all that holds them, so that a job on its way from one to the other is not taken
-- for lost. The queues are read only if some job should be in one.
CREATE OR REPLACE FUNCTION jtd.lost(p_ids uuid[]) RETURNS uuid[]
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    WITH job AS MATERIALIZED (
        SELECT j.id, j.status_code, j.attempt, j.completed_at
        FROM public.n_jtd AS j
        JOIN public.n_jtd_event_types AS e ON e.code = j.event_type_code AND e.is_message
        WHERE j.id = ANY (p_ids)
    ), message AS MATERIALIZED (
        SELECT DISTINCT m.jtd_id
        FROM (SELECT FROM job WHERE status_code = 'queued' LIMIT 1) AS q
        CROSS JOIN jtd.queue_messages() AS m
    )
    SELECT ARRAY(
        SELECT j.id
        FROM job AS j
        LEFT JOIN jtd.waiting AS w ON w.jtd_id = j.id
        LEFT JOIN jtd.ready AS r ON r.jtd_id = j.id
        LEFT JOIN jtd.inflight AS f ON f.jtd_id = j.id
        LEFT JOIN message AS m ON m.jtd_id = j.id
        WHERE CASE
            WHEN j.status_code IN ('pending', 'scheduled') THEN (w.jtd_id IS NULL) = (r.jtd_id IS NULL)
            WHEN j.status_code = 'queued' THEN m.jtd_id IS NULL
            WHEN j.status_code = 'executing' THEN f.attempt IS DISTINCT FROM j.attempt
            WHEN j.status_code = 'created' OR (j.status_code = 'failed' AND j.completed_at IS NULL) THEN true
            ELSE w.jtd_id IS NOT NULL OR r.jtd_id IS NOT NULL END
        ORDER BY j.id)
$$;
REVOKE ALL ON FUNCTION jtd.lost(uuid[]) FROM PUBLIC;
