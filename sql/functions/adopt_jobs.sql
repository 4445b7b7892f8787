-- Takes in jobs that were brought here with a life behind them, a step at a time, the newest first.
-- Called by: jtd-worker adopt, before jtd.adopt, until there is no more.  Locks: the jobs, by id, and waits for them.
-- What was due before p_since may have been sent elsewhere: it is held as failed, outcome_unknown, for a person. The
-- rest goes on from where it stood. On a database that is adopted already only imported jobs are taken in.
-- Returns where the next step begins, NULL when there is no more.
CREATE OR REPLACE FUNCTION jtd.adopt_jobs(
    p_since timestamptz, p_below uuid, p_limit integer, OUT below uuid, OUT held integer, OUT taken integer)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    ids uuid[];
    unfinished uuid[];
    doubtful uuid[];
BEGIN
    ids := ARRAY(
        SELECT j.id FROM public.n_jtd AS j
        WHERE j.id < coalesce(p_below, 'ffffffff-ffff-ffff-ffff-ffffffffffff') ORDER BY j.id DESC LIMIT p_limit);
    unfinished := ARRAY(
        SELECT j.id
        FROM public.n_jtd AS j
        JOIN public.n_jtd_event_types AS e ON e.code = j.event_type_code AND e.is_message
        WHERE j.id = ANY (ids) AND j.status_code IN ('created', 'pending', 'scheduled', 'queued', 'executing')
            AND (NOT jtd.is_adopted() OR j.id = ANY (jtd.imported(ids)))
        ORDER BY j.id FOR NO KEY UPDATE OF j);
    doubtful := ARRAY(
        SELECT j.id FROM public.n_jtd AS j
        WHERE j.id = ANY (unfinished)
            AND (j.status_code = 'executing' OR greatest(j.created_at, j.scheduled_at, j.next_retry_at) < p_since));

    UPDATE public.n_jtd AS j
    SET error_code = 'outcome_unknown',
        error_message = 'it was due before this database was adopted, and may have been sent elsewhere',
        execution_result = jsonb_build_object('outcome', 'unknown', 'attempt', j.attempt)
    WHERE j.id = ANY (doubtful);
    PERFORM jtd.step(ARRAY(
        SELECT j.id FROM public.n_jtd AS j
        WHERE j.id = ANY (doubtful) AND j.status_code IN ('created', 'scheduled')), 'pending');
    PERFORM jtd.step(doubtful, 'failed', 'adopted');
    UPDATE public.n_jtd AS j SET completed_at = now() WHERE j.id = ANY (doubtful);
    DELETE FROM jtd.inflight AS f WHERE f.jtd_id = ANY (doubtful);

    unfinished := ARRAY(SELECT u.id FROM unnest(unfinished) AS u (id) WHERE u.id <> ALL (doubtful));
    PERFORM jtd.remark(u.id, 'note', 'adopted', NULL) FROM unnest(unfinished) AS u (id);
    PERFORM jtd.mend(unfinished);
    below := CASE WHEN cardinality(ids) = p_limit THEN ids[p_limit] END;
    held := cardinality(doubtful);
    taken := cardinality(unfinished);
END
$$;
REVOKE ALL ON FUNCTION jtd.adopt_jobs(timestamptz, uuid, integer) FROM PUBLIC;
