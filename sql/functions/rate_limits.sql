-- The limits that are set, a line each: of a channel for each of its credentials (provider NULL), or of one credential.
-- Called by: jtd.rate_limit, jtd.tick_v1, jtd.status_v1.  Locks: nothing.  per_minute NULL is no limit.
CREATE OR REPLACE FUNCTION jtd.rate_limits() RETURNS TABLE (channel_code text, provider text, per_minute integer)
LANGUAGE sql STABLE
AS $$
    SELECT c.code::text, NULL::text, c.rate_limit_per_minute FROM public.n_jtd_channels AS c
    UNION ALL
    SELECT l.channel_code::text, l.provider::text, l.per_minute FROM public.n_jtd_rate_limits AS l
$$;
REVOKE ALL ON FUNCTION jtd.rate_limits() FROM PUBLIC;
