-- Takes back executing jobs that no live worker holds.
-- Called by: jtd.reclaim_dead, jtd.dispose, jtd.forget_v1, jtd.mend.  Locks: their rows, by id, SKIP LOCKED.
-- Without a hand-off on record the message has not left, and the job is queued again, no attempt used; with
-- one, the rule recorded with it decides. An executing job that nothing is known of is held, and so is one that was
-- claimed before a failover: its hand-off may have been written last, and be lost.
CREATE OR REPLACE FUNCTION jtd.reclaim(p_ids uuid[]) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    -- first the rows, then their hand-offs: one that is being put on record now would else be missed
    held uuid[] := ARRAY(
        SELECT j.id FROM public.n_jtd AS j WHERE j.id = ANY (p_ids) ORDER BY j.id FOR NO KEY UPDATE SKIP LOCKED);
    spent record;
    reclaimed integer;
BEGIN
    UPDATE jtd.breakers AS b SET probing_until = NULL  -- one that died with its worker keeps no other waiting
    FROM jtd.inflight AS f JOIN public.n_jtd AS j ON j.id = f.jtd_id
    WHERE f.jtd_id = ANY (held) AND f.handed_off_at IS NOT NULL AND b.probing_until IS NOT NULL
        AND b.channel_code = j.channel_code AND b.provider = f.provider;
    SELECT count(*) FILTER (WHERE a.answer = 'applied') INTO reclaimed
    FROM jtd.settle_v1(NULL, (
        SELECT coalesce(jsonb_agg(jsonb_build_object(
            'id', j.id,
            'attempt', j.attempt,
            'outcome', CASE WHEN f.handed_off_at IS NULL AND f.claimed_at > i.turned_at THEN 'release'
                ELSE 'unknown' END,
            'rule', coalesce(f.unknown_rule, 'hold'),
            'provider', f.provider,
            'code', 'worker_lost',
            'reason', 'the worker stopped between the hand-off and the result'
        )), '[]')
        FROM public.n_jtd AS j
        CROSS JOIN jtd.instance AS i
        LEFT JOIN jtd.inflight AS f ON f.jtd_id = j.id AND f.attempt = j.attempt
        WHERE j.id = ANY (held) AND j.status_code = 'executing'
    )) AS a;
    -- a job that left executing by another hand, e.g. cancelled, or was deleted, needs its message no more
    FOR spent IN
        WITH ended AS (
            DELETE FROM jtd.inflight AS f
            WHERE f.jtd_id = ANY (p_ids) AND NOT EXISTS (
                SELECT FROM public.n_jtd AS j
                WHERE j.id = f.jtd_id AND (j.status_code = 'executing' OR j.id <> ALL (held)))
            RETURNING f.queue_name, f.msg_id
        )
        SELECT e.queue_name, array_agg(e.msg_id) AS msg_ids FROM ended AS e GROUP BY e.queue_name
    LOOP
        PERFORM FROM pgmq.delete(spent.queue_name, spent.msg_ids);
    END LOOP;
    RETURN reclaimed;
END
$$;
REVOKE ALL ON FUNCTION jtd.reclaim(uuid[]) FROM PUBLIC;
