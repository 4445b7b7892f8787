-- Carries out the verdicts of jtd.gate that stop a job, and returns the jobs that may go on.
-- Called by: jtd.dispose, jtd.hasten, jtd.admit_queue.  Locks: nothing; the caller holds the rows.
-- A paused channel defers nothing here: its reader and its admission stand still instead. What a tenant's pause or limit
-- holds back goes to jtd.ready, where admission passes his jobs over; other causes have a time of their own.
-- The same cause twice leaves one remark.
CREATE OR REPLACE FUNCTION jtd.pass_gate(p_ids uuid[]) RETURNS uuid[]
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    passed uuid[] := '{}';
    judged record;
BEGIN
    FOR judged IN  -- asked once: a switch that is thrown meanwhile must not stop what has passed
        SELECT g.verdict, CASE WHEN g.verdict <> 'send' THEN g.reason END AS reason, array_agg(g.id) AS ids,
            array_agg(g.until) AS untils
        FROM jtd.judge(p_ids) AS g
        GROUP BY 1, 2
    LOOP
        IF judged.verdict = 'send' THEN
            passed := judged.ids;
        ELSIF judged.verdict IN ('block', 'expire') THEN
            UPDATE public.n_jtd AS j SET error_code = judged.reason WHERE j.id = ANY (judged.ids);
            PERFORM jtd.step(
                judged.ids, CASE judged.verdict WHEN 'expire' THEN 'expired' ELSE 'cancelled' END, judged.reason);
        ELSIF judged.reason <> 'channel_paused' THEN
            PERFORM jtd.defer(judged.ids, judged.untils, judged.reason);
        END IF;
    END LOOP;
    RETURN passed;
END
$$;
REVOKE ALL ON FUNCTION jtd.pass_gate(uuid[]) FROM PUBLIC;
