-- The lane of a job: priority 9 and 10, and source types marked urgent, overtake the rest.
-- Called by: every function that chooses a queue.  Locks: nothing.
CREATE OR REPLACE FUNCTION jtd.lane(p_priority integer, p_is_urgent boolean) RETURNS text
LANGUAGE sql IMMUTABLE
AS $$
    SELECT CASE WHEN p_priority >= 9 OR p_is_urgent THEN 'urgent' ELSE 'normal' END
$$;
REVOKE ALL ON FUNCTION jtd.lane(integer, boolean) FROM PUBLIC;
