-- Moves on what only time can move: due jobs, dead workers' jobs, admission to the queues.
-- Called by: every worker, about once a second; one at a time does the work.
-- Locks: an advisory lock of its own, then rows of n_jtd by id, SKIP LOCKED.
-- Returns {"leader", "due", "admitted", "reclaimed", "more", "is_partitioned", "wake": [queue, ...]}: wake names those of the
-- caller's queues in which a message can be read now; more says that work is left over for a tick soon.
CREATE OR REPLACE FUNCTION jtd.tick_v1(p_worker uuid, p_queues text[]) RETURNS jsonb
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    batch CONSTANT integer := 5000;
    leader boolean := pg_try_advisory_xact_lock(hashtextextended('jtd.tick', 0));
    due integer := 0;
    admitted integer := 0;
    reclaimed integer := 0;
BEGIN
    IF leader THEN
        PERFORM jtd.make_partitions();
        reclaimed := jtd.reclaim_dead(p_worker, batch);
        due := jtd.release_due(batch);
        admitted := jtd.admit(batch);
        PERFORM jtd.fold_counts();
    END IF;
    RETURN jsonb_build_object(
        'leader', leader, 'due', due, 'admitted', admitted, 'reclaimed', reclaimed,
        'more', greatest(due, reclaimed) >= batch OR (admitted > 0 AND EXISTS (SELECT FROM jtd.ready)),
        'is_partitioned', to_regclass('public.n_jtd_history_'
            || to_char((now() AT TIME ZONE 'UTC') + interval '1 month', 'YYYY_MM')) IS NOT NULL,
        'wake', to_jsonb(jtd.readable_queues(p_queues)));
END
$$;
REVOKE ALL ON FUNCTION jtd.tick_v1(uuid, text[]) FROM PUBLIC;
