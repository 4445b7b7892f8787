-- What is left of a result that the database would not take: how it ended, by whom, and why the rest is missing.
-- Called by: jtd.settle_v1.  Locks: nothing.
-- A delivery that was to be written here and cannot be has not taken place, so the job has failed. An outcome that
-- this version does not know is held as unknown.
CREATE OR REPLACE FUNCTION jtd.strip_result(p_result jsonb, p_error text) RETURNS jsonb
LANGUAGE sql IMMUTABLE
AS $$
    SELECT jsonb_build_object(
        'id', p_result -> 'id',
        'attempt', p_result -> 'attempt',
        'rule', p_result -> 'rule',
        'provider', left(p_result ->> 'provider', 100),
        'provider_message_id', CASE WHEN length(p_result ->> 'provider_message_id') <= 2000
            THEN p_result ->> 'provider_message_id' END,
        'outcome', CASE
            WHEN p_result ->> 'delivery' IS NOT NULL THEN 'failed'
            WHEN p_result ->> 'outcome' IN ('sent', 'retry', 'snooze', 'failed', 'blocked', 'unknown', 'release')
                THEN p_result ->> 'outcome'
            ELSE 'unknown' END,
        'code', 'result_not_stored',
        'reason', left('the database refused a part of the result: ' || p_error, 500))
$$;
REVOKE ALL ON FUNCTION jtd.strip_result(jsonb, text) FROM PUBLIC;
