-- Takes the steps of VaNi that are due about some work: edges of the flow, one of each, then messages; clears up her
-- messages, and finds the next moment.
-- Called by: jtd.vani_tick, which has set the actor.  Locks: see jtd.vani_tidy; the caller holds the work.
-- Work that takes no change (SQLSTATE 22, 23, JT) is left as it is for an hour, with a remark, and the others go on. Of work
-- that is gone only its messages are cleared up.
CREATE OR REPLACE FUNCTION jtd.vani_take(p_ids uuid[]) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    n CONSTANT integer := cardinality(p_ids);
    edge record;
    again uuid[];
    refusal text;
BEGIN
    BEGIN
        FOR edge IN
            SELECT e.to_status, e.rule, array_agg(e.jtd_id) AS ids
            FROM (
                SELECT DISTINCT ON (s.jtd_id) s.jtd_id, s.to_status, s.rule  -- the next leads on from where this one ends
                FROM jtd.vani_steps(p_ids) AS s
                WHERE s.state = 'due' AND s.to_status IS NOT NULL
                ORDER BY s.jtd_id, s.at, s.to_status) AS e
            GROUP BY e.to_status, e.rule ORDER BY e.to_status, e.rule
        LOOP
            PERFORM jtd.step(edge.ids, edge.to_status, edge.rule);
        END LOOP;
        PERFORM jtd.vani_messages(p_ids);
        again := jtd.vani_tidy(p_ids);
        UPDATE jtd.work AS w
        SET looked_at = now(),
            next_at = CASE WHEN w.jtd_id = ANY (again) THEN now() + interval '1 s' ELSE a.next_at END
        FROM unnest(p_ids) AS h (id)
        LEFT JOIN (
            SELECT s.jtd_id, min(CASE s.state WHEN 'due' THEN now() + interval '1 min' ELSE s.at END) AS next_at
            FROM jtd.vani_steps(p_ids) AS s
            WHERE s.state = 'ahead' OR (s.state = 'due' AND s.to_status IS NOT NULL)
            GROUP BY s.jtd_id) AS a ON a.jtd_id = h.id
        WHERE w.jtd_id = h.id;
        INSERT INTO jtd.vani_wakes (jtd_id)  -- nothing else would look at work that is gone
        SELECT g.id FROM unnest(again) AS g (id) WHERE NOT EXISTS (SELECT FROM jtd.work AS w WHERE w.jtd_id = g.id);
        RETURN;
    EXCEPTION WHEN OTHERS THEN
        IF left(SQLSTATE, 2) NOT IN ('22', '23', 'JT') THEN
            RAISE;
        END IF;
        refusal := left('VaNi cannot take her step: ' || SQLERRM, 500);
    END;
    IF n > 1 THEN
        PERFORM jtd.vani_take(p_ids[: n / 2]);
        PERFORM jtd.vani_take(p_ids[n / 2 + 1 :]);
        RETURN;
    END IF;
    PERFORM jtd.remark(p_ids[1], 'note', refusal, NULL)
    WHERE refusal IS DISTINCT FROM (
        SELECT h.reason FROM public.n_jtd_history AS h WHERE h.jtd_id = p_ids[1] ORDER BY h.id DESC LIMIT 1);
    UPDATE jtd.work AS w SET next_at = now() + interval '1 h' WHERE w.jtd_id = p_ids[1];
END
$$;
REVOKE ALL ON FUNCTION jtd.vani_take(uuid[]) FROM PUBLIC;
