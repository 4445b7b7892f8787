-- Moves on what only time can move: due jobs, dead workers' jobs, receipts, admission to the queues, lost jobs.
-- Called by: every worker, about once a second; one at a time does the work.
-- Locks: an advisory lock of its own, then rows of n_jtd by id, SKIP LOCKED.
-- Returns {"leader", "due", "admitted", "reclaimed", "found", "worked", "receipts", "is_adopted", "flushed", "recurring", "more", "is_partitioned", "wake": [queue, ...],
-- "breakers": [[channel, provider, seconds until a probe may go], ...], "limits": [[channel, provider or null for all, a minute or null], ...],
-- "full": [[channel, provider, seconds until the normal lane, and until the urgent lane may take more], ...],
-- "content_rules": see jtd.content_rules_v1}: found counts jobs that were on no list; worked the work that VaNi looked at; receipts those that were applied; recurring, up to 100,
-- series of which the caller is to make the next job: jtd.recurrences_due_v1; wake names those of the caller's queues in which a message can be read now;
-- more says that work is left over for a tick soon.
CREATE OR REPLACE FUNCTION jtd.tick_v1(p_worker uuid, p_queues text[]) RETURNS jsonb
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    batch CONSTANT integer := 5000;
    work_batch CONSTANT integer := 50;  -- each of them may be several messages to make
    leader boolean := pg_try_advisory_xact_lock(hashtextextended('jtd.tick', 0));
    due integer := 0;
    admitted integer := 0;
    reclaimed integer := 0;
    found integer := 0;
    receipts integer := 0;
    more_receipts boolean := false;
    worked integer := 0;
    more_expired boolean := false;
    adopted boolean := jtd.is_adopted();
BEGIN
    IF leader THEN
        PERFORM jtd.make_partitions();
        PERFORM jtd.watch_instance();
        DELETE FROM jtd.breakers AS b WHERE b.ctid = ANY (ARRAY(  -- nobody asks any more
            SELECT x.ctid FROM jtd.breakers AS x WHERE x.retry_at < clock_timestamp() - interval '10 min'
            FOR UPDATE SKIP LOCKED));
        IF adopted THEN  -- elsewhere another may be right about what these jobs came to
            reclaimed := jtd.reclaim_dead(p_worker, batch);
        END IF;
        PERFORM jtd.free_unpaused(batch);
        due := jtd.release_due(batch);
        PERFORM jtd.begin_sweep(jtd.fold_counts());
        found := jtd.sweep(batch);
        PERFORM jtd.raise_receipts_floor();
        IF EXISTS (SELECT FROM jtd.receipts_due AS d WHERE d.turn >= jtd.receipts_floor()) THEN  -- for want of a web process, or behind one
            SELECT a.applied, a.more INTO receipts, more_receipts FROM jtd.apply_receipts_v1(1000) AS a;
        END IF;
        PERFORM jtd.prune_receipts(1000);
        IF adopted THEN  -- what she would make in a copy might be sent from it later
            worked := jtd.vani_tick(work_batch);
        END IF;
        more_expired := jtd.tend_feed(1000);
        admitted := jtd.admit(batch);  -- at the end: until the commit its messages are in the way of others, and unread
        PERFORM jtd.show_usage(1000);
    END IF;
    RETURN jsonb_build_object(
        'leader', leader, 'due', due, 'admitted', admitted, 'reclaimed', reclaimed, 'found', found,
        'worked', worked, 'receipts', receipts,
        'is_adopted', adopted,
        'recurring', (SELECT count(*) FROM (  -- elsewhere another goes on with them
            SELECT FROM jtd.recurring AS r
            CROSS JOIN LATERAL (SELECT FROM public.n_jtd AS j WHERE j.id = r.jtd_id OFFSET 0) AS j
            WHERE leader AND adopted AND r.next_look <= now() LIMIT 100) AS x),
        'flushed', (SELECT s.flushed FROM jtd.server_v1() AS s),
        'breakers', (SELECT coalesce(jsonb_agg(jsonb_build_array(b.channel_code, b.provider,
            extract(epoch FROM greatest(b.retry_at, b.probing_until) - clock_timestamp()))), '[]') FROM jtd.breakers AS b),
        'limits', (SELECT jsonb_agg(jsonb_build_array(l.channel_code, l.provider, l.per_minute)) FROM jtd.rate_limits() AS l),
        'full', (SELECT coalesce(jsonb_agg(jsonb_build_array(r.channel_code, r.provider,
            extract(epoch FROM r.free_at - clock_timestamp()),
            coalesce(extract(epoch FROM r.urgent_free_at - clock_timestamp()), 0))), '[]')
            FROM jtd.rate_states() AS r WHERE r.free_at IS NOT NULL),
        'content_rules', jtd.content_rules_v1(),
        'more', greatest(due, reclaimed) >= batch OR more_receipts OR more_expired OR worked >= work_batch
            OR (admitted > 0 AND EXISTS (SELECT FROM jtd.windows))
            OR (leader AND jtd.is_pressed())
            OR (leader AND EXISTS (SELECT FROM jtd.sweeps AS s WHERE s.is_running)),
        'is_partitioned', to_regclass('public.n_jtd_history_'
            || to_char((now() AT TIME ZONE 'UTC') + interval '1 month', 'YYYY_MM')) IS NOT NULL,
        'wake', to_jsonb(jtd.readable_queues(p_queues)));
END
$$;
REVOKE ALL ON FUNCTION jtd.tick_v1(uuid, text[]) FROM PUBLIC;
