-- What is new for each of these streams since the snapshot that it names; one row: the present snapshot, and
-- [[place of the stream from 1, transaction that wrote it, entry as jtd.feed_entry], ...], those of a stream by id.
-- Called by: jtd-worker serve.  Locks: its row of jtd.feed_watchers.
-- p_since NULL for a stream: nothing is old, so nothing is new. Of a stream at most p_limit + 1 rows: more than p_limit says that there may
-- be more. For p_seconds the caller is told who marked something, and if it is asleep of what is new as well.
CREATE OR REPLACE FUNCTION jtd.feed_look_v1(
    p_process uuid, p_asleep boolean, p_seconds integer, p_tenants uuid[], p_users uuid[], p_since text[], p_limit integer)
RETURNS TABLE (snapshot text, entries jsonb)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO jtd.feed_watchers AS w (process_id, is_asleep, until)
    VALUES (p_process, p_asleep, now() + make_interval(secs => p_seconds))
    ON CONFLICT (process_id) DO UPDATE SET is_asleep = excluded.is_asleep, until = excluded.until
        WHERE w.is_asleep <> excluded.is_asleep OR w.until < now() + make_interval(secs => p_seconds / 2);
    RETURN QUERY SELECT pg_current_snapshot()::text, (
        SELECT coalesce(jsonb_agg(jsonb_build_array(k.place, n.written_in::text, n.entry) ORDER BY k.place, n.id), '[]')
        FROM unnest(p_tenants, p_users, p_since) WITH ORDINALITY AS k (tenant_id, user_id, since, place)
        CROSS JOIN LATERAL (
            SELECT x.id, x.written_in, jtd.feed_entry(to_jsonb(x)) AS entry
            FROM public.n_inapp_notifications AS x
            WHERE x.tenant_id = k.tenant_id AND x.user_id = k.user_id
                AND x.written_in >= pg_snapshot_xmin(k.since::pg_snapshot)
                AND NOT pg_visible_in_snapshot(x.written_in, k.since::pg_snapshot)
                AND (x.expires_at IS NULL OR x.expires_at > now())
            ORDER BY x.written_in LIMIT p_limit + 1
        ) AS n
        WHERE k.since IS NOT NULL);
END
$$;
REVOKE ALL ON FUNCTION jtd.feed_look_v1(uuid, boolean, integer, uuid[], uuid[], text[], integer) FROM PUBLIC;
