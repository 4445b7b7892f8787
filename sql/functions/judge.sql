-- What jtd.gate says of some jobs now, by a plan that is made once for a session: planning it takes longer than asking.
-- Called by: jtd.claim_v1, jtd.pass_gate, jtd.load_carriers.  Locks: nothing.
CREATE OR REPLACE FUNCTION jtd.judge(p_ids uuid[]) RETURNS TABLE (id uuid, verdict text, reason text, until timestamptz)
LANGUAGE plpgsql STABLE
SET plan_cache_mode = force_generic_plan
AS $$
BEGIN
    RETURN QUERY SELECT g.id, g.verdict, g.reason, g.until FROM jtd.gate(p_ids) AS g;
END
$$;
REVOKE ALL ON FUNCTION jtd.judge(uuid[]) FROM PUBLIC;
