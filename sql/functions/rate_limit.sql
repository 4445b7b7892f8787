-- The most messages in any minute that are handed to a credential; NULL is no limit.
-- Called by: jtd.reserve_v1, jtd.rate_states.  Locks: nothing.  A limit of its own goes before that of its channel.
CREATE OR REPLACE FUNCTION jtd.rate_limit(p_channel text, p_provider text) RETURNS integer
LANGUAGE sql STABLE
AS $$
    SELECT l.per_minute FROM jtd.rate_limits() AS l
    WHERE l.channel_code = p_channel AND (l.provider = p_provider OR l.provider IS NULL)
    ORDER BY l.provider NULLS LAST LIMIT 1
$$;
REVOKE ALL ON FUNCTION jtd.rate_limit(text, text) FROM PUBLIC;
