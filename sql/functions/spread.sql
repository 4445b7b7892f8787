-- How long after a common moment a job goes, so that not all go at once: up to ten minutes, by its id.
-- Called by: jtd.gate.  Locks: nothing.  p_room: what must not be exceeded.
CREATE OR REPLACE FUNCTION jtd.spread(p_id uuid, p_room interval) RETURNS interval
LANGUAGE sql IMMUTABLE
AS $$
    SELECT least(interval '10 min', p_room) * (('x' || right(p_id::text, 4))::bit(16)::integer / 65536.0)
$$;
REVOKE ALL ON FUNCTION jtd.spread(uuid, interval) FROM PUBLIC;
