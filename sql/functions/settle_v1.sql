-- Records how attempts ended: status, result, history and queue in one transaction.
-- Called by: the worker.  Locks: the rows, by id, SKIP LOCKED; a locked one is answered as such.
-- Returns an answer per result: applied, already, late, locked or gone. An empty array gives no rows.
-- p_results: [{id, attempt, outcome, code, reason, delay, rule, provider, provider_message_id, response,
--   delivery: {kind, row}, units, kept, characters, gone_devices: [{id, registered_at}]}],
--   outcome one of sent, retry, snooze, failed, blocked, unknown, release; delay in seconds; units for the cost, NULL is 1; kept of how many characters, if the text was
--   cut. One result that cannot be stored is stripped of foreign text; the others stand. If the job takes no change at
--   all, the answer is locked, and a warning says why.
CREATE OR REPLACE FUNCTION jtd.settle_v1(p_worker uuid, p_results jsonb)
RETURNS TABLE (id uuid, attempt integer, answer text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    n CONSTANT integer := jsonb_array_length(p_results);
    refusal text;
BEGIN
    BEGIN
        RETURN QUERY SELECT a.id, a.attempt, a.answer FROM jtd.apply_results(p_worker, p_results) AS a;
        RETURN;
    EXCEPTION WHEN data_exception OR integrity_constraint_violation THEN
        refusal := SQLERRM;
    END;
    IF n = 1 THEN
        BEGIN
            RETURN QUERY SELECT a.id, a.attempt, a.answer
            FROM jtd.apply_results(p_worker, jsonb_build_array(jtd.strip_result(p_results -> 0, refusal))) AS a;
        EXCEPTION WHEN data_exception OR integrity_constraint_violation THEN
            RAISE WARNING 'the result of job % cannot be recorded: %', p_results -> 0 ->> 'id', SQLERRM;
            RETURN QUERY SELECT jtd.message_id(jsonb_build_object('jtd_id', p_results -> 0 -> 'id')),
                substring(p_results -> 0 ->> 'attempt' FROM '^[0-9]{1,9}$')::integer, 'locked';
        END;
        RETURN;
    END IF;
    RETURN QUERY SELECT a.id, a.attempt, a.answer FROM jtd.settle_v1(
        p_worker, (SELECT jsonb_agg(r.value) FROM jsonb_array_elements(p_results) WITH ORDINALITY AS r (value, i)
            WHERE r.i <= n / 2)) AS a;
    RETURN QUERY SELECT a.id, a.attempt, a.answer FROM jtd.settle_v1(
        p_worker, (SELECT jsonb_agg(r.value) FROM jsonb_array_elements(p_results) WITH ORDINALITY AS r (value, i)
            WHERE r.i > n / 2)) AS a;
END
$$;
REVOKE ALL ON FUNCTION jtd.settle_v1(uuid, jsonb) FROM PUBLIC;
