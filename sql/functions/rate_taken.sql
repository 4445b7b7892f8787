-- What still counts, at p_now, of what was taken of a credential's limit, second by second, and until which second.
-- Called by: jtd.rate_room, jtd.reserve_v1.  Locks: nothing.  All in seconds since 1970.
-- A minute, one second since each is counted as a whole, and one in which a worker may use what it took: so at most
-- the limit is handed over in any minute, whenever in its second it was taken, and used.
-- Seconds to come, after a clock was put back, are taken to be the present one: they would count for too long.
CREATE OR REPLACE FUNCTION jtd.rate_taken(p_seconds bigint[], p_counts integer[], p_now bigint)
RETURNS TABLE (second bigint, count integer, ends bigint)
LANGUAGE sql IMMUTABLE
AS $$
    SELECT least(t.second, p_now), sum(t.count)::integer, least(t.second, p_now) + 62
    FROM unnest(p_seconds, p_counts) AS t (second, count)
    WHERE t.second + 62 > p_now AND t.count > 0
    GROUP BY least(t.second, p_now)
$$;
REVOKE ALL ON FUNCTION jtd.rate_taken(bigint[], integer[], bigint) FROM PUBLIC;
