-- The credentials that have a limit and of which something was ever taken: how much is used up, and until when it is full.
-- Called by: jtd.tick_v1, jtd.status_v1, jtd.explain.  Locks: nothing.
-- free_at: when the normal lane may take something again, urgent_free_at: the urgent lane; NULL means now.
CREATE OR REPLACE FUNCTION jtd.rate_states()
RETURNS TABLE (channel_code text, provider text, per_minute integer, used integer, free_at timestamptz,
    urgent_free_at timestamptz)
LANGUAGE sql STABLE
AS $$
    SELECT r.channel_code, r.provider, l.per_minute, n.used, to_timestamp(n.free_at), to_timestamp(u.free_at)
    FROM jtd.rates AS r
    CROSS JOIN LATERAL (SELECT jtd.rate_limit(r.channel_code, r.provider) AS per_minute) AS l
    CROSS JOIN floor(extract(epoch FROM clock_timestamp())) AS t (this_second)
    CROSS JOIN LATERAL jtd.rate_room(r.seconds, r.counts, l.per_minute, 'normal', t.this_second::bigint) AS n
    CROSS JOIN LATERAL jtd.rate_room(r.seconds, r.counts, l.per_minute, 'urgent', t.this_second::bigint) AS u
    WHERE l.per_minute IS NOT NULL
$$;
REVOKE ALL ON FUNCTION jtd.rate_states() FROM PUBLIC;
