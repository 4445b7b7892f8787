-- Carries out the verdicts of jtd.gate that stop a job, and returns the jobs that may go on.
-- Called by: jtd.dispose, jtd.admit.  Locks: nothing; the caller holds the rows.
-- A paused channel defers nothing here: its reader and its admission stand still instead.
CREATE OR REPLACE FUNCTION jtd.pass_gate(p_ids uuid[]) RETURNS uuid[]
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    passed uuid[];
    stopped record;
BEGIN
    passed := ARRAY(SELECT g.id FROM jtd.gate(p_ids) AS g WHERE g.verdict = 'send');
    FOR stopped IN
        SELECT g.verdict, g.reason, array_agg(g.id) AS ids
        FROM jtd.gate(p_ids) AS g
        WHERE g.verdict IN ('block', 'expire')
        GROUP BY g.verdict, g.reason
    LOOP
        UPDATE public.n_jtd AS j SET error_code = stopped.reason WHERE j.id = ANY (stopped.ids);
        PERFORM jtd.step(
            stopped.ids, CASE stopped.verdict WHEN 'expire' THEN 'expired' ELSE 'cancelled' END, stopped.reason);
    END LOOP;
    RETURN passed;
END
$$;
REVOKE ALL ON FUNCTION jtd.pass_gate(uuid[]) FROM PUBLIC;
