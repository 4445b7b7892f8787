-- Where the text of a job was cut at its first hand-off, so that a retry sends the same; in characters before the mark.
-- Called by: the worker, for each claimed job that is not at its first attempt.  Locks: nothing.
-- NULL when it was never handed off: the rule of its channel decides. A number no text has when it went whole.
-- VOLATILE, so that it sees what was settled just before its claim.
CREATE OR REPLACE FUNCTION jtd.kept_v1(p_id uuid) RETURNS integer
LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN j.executed_at IS NOT NULL
        THEN coalesce(substring(j.execution_result ->> 'kept' FROM '^[0-9]{1,9}$')::integer, 2147483647) END
    FROM public.n_jtd AS j
    WHERE j.id = p_id
$$;
REVOKE ALL ON FUNCTION jtd.kept_v1(uuid) FROM PUBLIC;
