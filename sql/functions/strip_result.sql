-- What is left of a result that the database would not take: its outcome, and why the rest is missing.
-- Called by: jtd.settle_v1.  Locks: nothing.
-- A delivery that was to be written here and cannot be has not taken place, so the job has failed.
CREATE OR REPLACE FUNCTION jtd.strip_result(p_result jsonb, p_error text) RETURNS jsonb
LANGUAGE sql IMMUTABLE
AS $$
    SELECT jsonb_build_object(
        'id', p_result -> 'id',
        'attempt', p_result -> 'attempt',
        'rule', p_result -> 'rule',
        'outcome', CASE WHEN p_result -> 'delivery' IS NOT NULL AND p_result ->> 'delivery' IS NOT NULL
            THEN 'failed' ELSE p_result ->> 'outcome' END,
        'code', 'result_not_stored',
        'reason', left('the database refused a part of the result: ' || p_error, 500))
$$;
REVOKE ALL ON FUNCTION jtd.strip_result(jsonb, text) FROM PUBLIC;
