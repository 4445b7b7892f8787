-- Takes the steps of VaNi that are due about some work: edges of the flow, then messages.
-- Called by: jtd.vani_tick, which has set the actor.  Locks: nothing; the caller holds the work.
-- Returns the work that takes no change (SQLSTATE 22, 23, JT): it is left as it is, with a remark, and the others go on.
CREATE OR REPLACE FUNCTION jtd.vani_take(p_ids uuid[]) RETURNS uuid[]
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    n CONSTANT integer := cardinality(p_ids);
    edge record;
    refusal text;
BEGIN
    BEGIN
        FOR edge IN
            SELECT s.to_status, s.rule, array_agg(s.jtd_id) AS ids
            FROM jtd.vani_steps(p_ids) AS s
            WHERE s.state = 'due' AND s.to_status IS NOT NULL
            GROUP BY s.to_status, s.rule ORDER BY s.to_status, s.rule
        LOOP
            PERFORM jtd.step(edge.ids, edge.to_status, edge.rule);
        END LOOP;
        PERFORM jtd.vani_messages(p_ids);
        RETURN '{}';
    EXCEPTION WHEN OTHERS THEN
        IF left(SQLSTATE, 2) NOT IN ('22', '23', 'JT') THEN
            RAISE;
        END IF;
        refusal := left('VaNi cannot take her step: ' || SQLERRM, 500);
    END;
    IF n > 1 THEN
        RETURN jtd.vani_take(p_ids[: n / 2]) || jtd.vani_take(p_ids[n / 2 + 1 :]);
    END IF;
    PERFORM jtd.remark(p_ids[1], 'note', refusal, NULL)
    WHERE refusal IS DISTINCT FROM (
        SELECT h.reason FROM public.n_jtd_history AS h WHERE h.jtd_id = p_ids[1] ORDER BY h.id DESC LIMIT 1);
    RETURN p_ids;
END
$$;
REVOKE ALL ON FUNCTION jtd.vani_take(uuid[]) FROM PUBLIC;
