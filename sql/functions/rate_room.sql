-- How much of a credential's limit is used up, how much a lane may take, and if nothing, from which second on.
-- Called by: jtd.reserve_v1, jtd.rate_states.  Locks: nothing.  All times in seconds since 1970.
-- The normal lane leaves a tenth of the limit to the urgent one, and at least one message. free_at is NULL while free > 0.
CREATE OR REPLACE FUNCTION jtd.rate_room(
    p_seconds bigint[], p_counts integer[], p_per_minute integer, p_lane text, p_now bigint)
RETURNS TABLE (used integer, free integer, free_at bigint)
LANGUAGE sql IMMUTABLE
AS $$
    WITH taken AS (
        SELECT t.ends, sum(t.count) OVER (ORDER BY t.ends)::integer AS until_then
        FROM jtd.rate_taken(p_seconds, p_counts, p_now) AS t
    ), share AS (
        SELECT coalesce((SELECT max(t.until_then) FROM taken AS t), 0) AS used,
            p_per_minute - CASE WHEN p_lane = 'urgent' OR p_per_minute < 2 THEN 0
                ELSE greatest(1, p_per_minute / 10) END AS most
    )
    SELECT s.used, greatest(0, s.most - s.used),
        CASE WHEN s.used >= s.most THEN (SELECT min(t.ends) FROM taken AS t WHERE t.until_then > s.used - s.most) END
    FROM share AS s
$$;
REVOKE ALL ON FUNCTION jtd.rate_room(bigint[], integer[], integer, text, bigint) FROM PUBLIC;
