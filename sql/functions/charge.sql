-- The cost of a job after one more attempt that was sent or may have been.
-- Called by: jtd.apply_results, jtd.apply_unsent, jtd.note_late.  Locks: nothing.
-- p_price NULL (the channel is gone) adds nothing; p_units NULL is 1: a worker of an earlier release. Stops at what the column holds.
CREATE OR REPLACE FUNCTION jtd.charge(p_cost numeric, p_price numeric, p_units integer) RETURNS numeric
LANGUAGE sql IMMUTABLE
AS $$
    SELECT least(p_cost + coalesce(p_price, 0) * greatest(coalesce(p_units, 1), 0), 99999999.9999)
$$;
REVOKE ALL ON FUNCTION jtd.charge(numeric, numeric, integer) FROM PUBLIC;
