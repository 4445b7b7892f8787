-- Whether a local time lies in quiet hours; these may go over midnight, and equal times are none.
-- Called by: jtd.quiet_until.  Locks: nothing.
CREATE OR REPLACE FUNCTION jtd.is_quiet(p_local timestamp, p_start time, p_end time) RETURNS boolean
LANGUAGE sql IMMUTABLE
AS $$
    SELECT CASE
        WHEN p_start < p_end THEN p_local::time >= p_start AND p_local::time < p_end
        WHEN p_start > p_end THEN p_local::time >= p_start OR p_local::time < p_end
        ELSE false
    END
$$;
REVOKE ALL ON FUNCTION jtd.is_quiet(timestamp, time, time) FROM PUBLIC;
