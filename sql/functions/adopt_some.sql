-- Adopts those of some jobs that are not over.
-- Called by: jtd.adopt_jobs.  Locks: the jobs, by id, and waits for them.  Returns how many are held and go on.
-- What was due before p_since may have been sent elsewhere, and so may what was executing: it is held as failed,
-- outcome_unknown, for a person. The rest goes on from where it stood. One that takes no change (SQLSTATE 22, 23) gets
-- a note and rests.
CREATE OR REPLACE FUNCTION jtd.adopt_some(
    p_since timestamptz, p_ids uuid[], OUT held integer, OUT taken integer)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    unfinished uuid[] := ARRAY(
        SELECT j.id
        FROM public.n_jtd AS j
        JOIN public.n_jtd_event_types AS e ON e.code = j.event_type_code AND e.is_message
        WHERE j.id = ANY (p_ids) AND j.status_code IN ('created', 'pending', 'scheduled', 'queued', 'executing')
        ORDER BY j.id FOR NO KEY UPDATE OF j);
    doubtful uuid[] := ARRAY(
        SELECT j.id FROM public.n_jtd AS j
        WHERE j.id = ANY (unfinished)
            AND (j.status_code = 'executing' OR greatest(j.created_at, j.scheduled_at, j.next_retry_at) < p_since));
    going uuid[] := ARRAY(SELECT u.id FROM unnest(unfinished) AS u (id) WHERE u.id <> ALL (doubtful));
    half integer := cardinality(unfinished) / 2;
    refusal text;
BEGIN
    BEGIN
        UPDATE public.n_jtd AS j
        SET error_code = 'outcome_unknown',
            error_message = 'it was due before this database was adopted, and may have been sent elsewhere',
            execution_result = jsonb_build_object('outcome', 'unknown', 'attempt', j.attempt)
                || jtd.content(j.execution_result, NULL, NULL, NULL)
        WHERE j.id = ANY (doubtful);
        PERFORM jtd.step(ARRAY(
            SELECT j.id FROM public.n_jtd AS j
            WHERE j.id = ANY (doubtful) AND j.status_code IN ('created', 'scheduled')), 'pending');
        PERFORM jtd.step(doubtful, 'failed', 'adopted');
        UPDATE public.n_jtd AS j SET completed_at = now() WHERE j.id = ANY (doubtful);
        DELETE FROM jtd.inflight AS f WHERE f.jtd_id = ANY (doubtful);
        PERFORM jtd.remark(u.id, 'adopted', NULL, NULL) FROM unnest(going) AS u (id);
        PERFORM jtd.mend(going);
        held := cardinality(doubtful);
        taken := cardinality(going);
        RETURN;
    EXCEPTION WHEN data_exception OR integrity_constraint_violation THEN
        refusal := left('it cannot be adopted: ' || SQLERRM, 500);
    END;
    IF cardinality(unfinished) > 1 THEN
        SELECT sum(s.held), sum(s.taken) INTO held, taken
        FROM (VALUES (unfinished[: half]), (unfinished[half + 1 :])) AS part (ids)
        CROSS JOIN LATERAL jtd.adopt_some(p_since, part.ids) AS s;
    ELSE
        PERFORM jtd.remark(unfinished[1], 'note', refusal, NULL);
        held := 0;
        taken := 0;
    END IF;
END
$$;
REVOKE ALL ON FUNCTION jtd.adopt_some(timestamptz, uuid[]) FROM PUBLIC;
