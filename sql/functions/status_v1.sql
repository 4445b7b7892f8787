-- What an operator looks at first, as one document; also read for /metrics.
-- Called by: jtd-worker status, the worker's metrics.  Locks: nothing.  Counts stop at 100,000.
-- {"is_adopted": bool, "adopted_by": name or null, "queues": [{queue, channel, lane, messages, ready, target, is_paused, pause_reason, oldest_seconds}],
--  "jobs": {status: n}, "attention": {reason: n}, "waiting": {reason: n}, "in_flight": n, "dead_letters": n, "oldest_snapshot_seconds": n,
--  "breakers": [{channel, provider, code, opened_at, retry_at, is_paused, pause_reason}],
--  "pauses": [{scope: tenant or source_type, code, reason, since, paused_by}], "holds": {reason: tenants},
--  "limits": [{channel, provider or null for all, per_minute or null}],
--  "rates": [{channel, provider, per_minute, used, free_at and urgent_free_at or null for now}],
--  "workers": [{id, name, channels, is_alive, started_at}], "unserved": [channel], "discards": {reason: n}}
CREATE OR REPLACE FUNCTION jtd.status_v1() RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    most CONSTANT integer := 100000;
    queue record;
    messages integer;
    oldest double precision;
    ready integer;
    queues jsonb := '[]';
    unserved jsonb := '[]';
BEGIN
    FOR queue IN
        SELECT q.queue_name, q.channel_code, q.lane, q.target_depth, q.floor, c.is_paused, c.pause_reason
        FROM jtd.queues AS q JOIN public.n_jtd_channels AS c ON c.code = q.channel_code
        ORDER BY c.display_order, q.lane
    LOOP
        EXECUTE format('SELECT count(*), extract(epoch FROM clock_timestamp() - min(m.vt) '
            'FILTER (WHERE m.vt <= clock_timestamp())) FROM (SELECT q.vt FROM pgmq.%I AS q WHERE q.msg_id >= $1 '
            'ORDER BY q.msg_id LIMIT $2) AS m', 'q_' || queue.queue_name) INTO messages, oldest
            USING queue.floor, most;
        SELECT count(*) INTO ready FROM (
            SELECT FROM jtd.ready AS r
            WHERE r.channel_code = queue.channel_code AND r.lane = queue.lane LIMIT most) AS r;
        queues := queues || jsonb_build_object(
            'queue', queue.queue_name, 'channel', queue.channel_code, 'lane', queue.lane, 'messages', messages,
            'ready', ready, 'target', queue.target_depth, 'is_paused', queue.is_paused,
            'pause_reason', queue.pause_reason, 'oldest_seconds', coalesce(oldest, 0));
        IF messages + ready > 0 AND NOT unserved ? queue.channel_code AND NOT EXISTS (
            SELECT FROM jtd.workers AS w
            WHERE queue.channel_code = ANY (w.channels) AND w.lease_until > clock_timestamp())
        THEN
            unserved := unserved || to_jsonb(queue.channel_code);
        END IF;
    END LOOP;
    RETURN jsonb_build_object(
        'is_adopted', jtd.is_adopted(),
        'adopted_by', (SELECT i.adopted_by FROM jtd.instance AS i),
        'queues', queues,
        'unserved', unserved,
        'waiting', (SELECT coalesce(jsonb_object_agg(w.reason, w.n), '{}') FROM (
            SELECT x.reason, count(*) AS n FROM (SELECT y.reason FROM jtd.waiting AS y LIMIT most) AS x
            GROUP BY x.reason) AS w),
        'jobs', (SELECT coalesce(jsonb_object_agg(c.status_code, c.n), '{}') FROM (
            SELECT x.status_code, sum(x.jobs) AS n FROM jtd.counts AS x
            GROUP BY x.status_code HAVING sum(x.jobs) <> 0) AS c),
        'attention', (SELECT coalesce(jsonb_object_agg(a.reason, a.n), '{}') FROM (
            SELECT x.reason, count(*) AS n FROM (SELECT y.reason FROM jtd.attention AS y LIMIT most) AS x
            GROUP BY x.reason) AS a),
        'breakers', (SELECT coalesce(jsonb_agg(jsonb_build_object('channel', b.channel_code, 'provider', b.provider,
            'code', b.code, 'opened_at', b.opened_at, 'retry_at', b.retry_at,
            'is_paused', b.is_paused, 'pause_reason', b.pause_reason) ORDER BY b.opened_at), '[]')
            FROM jtd.breakers AS b),
        'pauses', (SELECT coalesce(jsonb_agg(to_jsonb(p) ORDER BY p.since, p.scope, p.code), '[]') FROM jtd.pauses AS p),
        'holds', (SELECT coalesce(jsonb_object_agg(h.reason, h.n), '{}') FROM (
            SELECT x.reason, count(*) AS n FROM jtd.holds AS x WHERE x.until > now() AND x.reason <> 'admitted' GROUP BY x.reason) AS h),
        'oldest_snapshot_seconds', jtd.oldest_snapshot(),
        'limits', (SELECT coalesce(jsonb_agg(jsonb_build_object('channel', l.channel_code, 'provider', l.provider,
            'per_minute', l.per_minute) ORDER BY l.channel_code, l.provider NULLS FIRST), '[]')
            FROM jtd.rate_limits() AS l),
        'rates', (SELECT coalesce(jsonb_agg(jsonb_build_object('channel', r.channel_code, 'provider', r.provider,
            'per_minute', r.per_minute, 'used', r.used, 'free_at', r.free_at, 'urgent_free_at', r.urgent_free_at)
            ORDER BY r.channel_code, r.provider), '[]')
            FROM jtd.rate_states() AS r),
        'in_flight', (SELECT count(*) FROM jtd.inflight),
        'dead_letters', (SELECT count(*) FROM (SELECT FROM pgmq.q_jtd_dlq LIMIT most) AS d),
        'workers', (SELECT coalesce(jsonb_agg(jsonb_build_object(
            'id', w.id, 'name', w.name, 'channels', w.channels,
            'is_alive', w.lease_until > clock_timestamp(), 'started_at', w.started_at) ORDER BY w.started_at), '[]')
            FROM jtd.workers AS w),
        'discards', (SELECT coalesce(jsonb_object_agg(d.reason, d.n), '{}') FROM (
            SELECT x.reason, sum(x.count) AS n FROM jtd.discards AS x GROUP BY x.reason) AS d));
END
$$;
REVOKE ALL ON FUNCTION jtd.status_v1() FROM PUBLIC;
