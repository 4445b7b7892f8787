-- Whether a job may be what ends its workers: it lost an attempt with one, or two workers before a hand-off.
-- Called by: jtd.claim_v1.  Locks: nothing.  p_result is n_jtd.execution_result, which anybody may have written.
CREATE OR REPLACE FUNCTION jtd.is_suspect(p_result jsonb) RETURNS boolean
LANGUAGE sql IMMUTABLE
AS $$
    SELECT p_result ->> 'code' = 'worker_lost'
        AND (p_result ->> 'outcome' = 'unknown' OR p_result ->> 'lost' ~ '^([2-9]|[1-9][0-9]+)$') IS TRUE
$$;
REVOKE ALL ON FUNCTION jtd.is_suspect(jsonb) FROM PUBLIC;
