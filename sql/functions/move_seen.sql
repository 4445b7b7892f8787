-- Moves jobs whose notification was seen or read, one step along their flow; what its flow does not allow stays as it is.
-- Called by: jtd.follow_user, jtd.tend_feed.  Locks: the jobs and their entries in jtd.feed_moves, by id, SKIP LOCKED: what somebody holds
-- stays listed.
-- Returns how many jobs it held. One that takes no change (SQLSTATE 22, 23) is taken off the list, with a note in its audit trail.
CREATE OR REPLACE FUNCTION jtd.move_seen(p_ids uuid[]) RETURNS integer
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    former CONSTANT text := coalesce(current_setting('jtd.actor', true), '');
    held uuid[];
    listed uuid[];
    move record;
BEGIN
    held := ARRAY(SELECT j.id FROM public.n_jtd AS j WHERE j.id = ANY (p_ids) ORDER BY j.id FOR NO KEY UPDATE SKIP LOCKED);
    listed := ARRAY(
        SELECT f.jtd_id FROM jtd.feed_moves AS f
        WHERE f.jtd_id = ANY (held) OR (f.jtd_id = ANY (p_ids)
            AND NOT EXISTS (SELECT FROM public.n_jtd AS j WHERE j.id = f.jtd_id))
        ORDER BY f.jtd_id FOR UPDATE SKIP LOCKED);
    FOR move IN
        WITH taken AS (
            DELETE FROM jtd.feed_moves AS f WHERE f.jtd_id = ANY (listed) RETURNING f.jtd_id, f.status_code, f.user_id
        )
        SELECT t.user_id, t.status_code, array_agg(t.jtd_id) AS ids FROM taken AS t GROUP BY t.user_id, t.status_code
    LOOP
        PERFORM set_config('jtd.actor', 'user:' || move.user_id, true);
        PERFORM jtd.step(ARRAY(
            SELECT j.id FROM public.n_jtd AS j
            WHERE j.id = ANY (move.ids) AND j.status_code IN ('sent', 'delivered')
                AND jtd.is_valid_step(j.event_type_code, j.status_code, move.status_code)), move.status_code);
    END LOOP;
    PERFORM set_config('jtd.actor', former, true);
    RETURN cardinality(held);
EXCEPTION WHEN data_exception OR integrity_constraint_violation THEN
    IF cardinality(held) = 0 THEN
        RAISE;
    ELSIF cardinality(held) > 1 THEN
        RETURN jtd.move_seen(held[:cardinality(held) / 2]) + jtd.move_seen(held[cardinality(held) / 2 + 1:]);
    END IF;
    PERFORM jtd.remark(held[1], 'note', left('it cannot follow its notification: ' || SQLERRM, 500), NULL);
    DELETE FROM jtd.feed_moves AS f WHERE f.jtd_id = held[1];
    RETURN 1;
END
$$;
REVOKE ALL ON FUNCTION jtd.move_seen(uuid[]) FROM PUBLIC;
