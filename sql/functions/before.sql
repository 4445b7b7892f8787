-- The moment that lies an offset before another: years, months and days by the calendar of a zone, the rest by the clock.
-- Called by: jtd.vani_steps.  Locks: nothing.
-- So a day before nine o'clock is nine o'clock, also when the clocks change between them; two hours are always 7,200 s.
-- One expression, so that the planner can inline it. NULL where a calendar ends: times and offsets are foreign.
CREATE OR REPLACE FUNCTION jtd.before(p_at timestamptz, p_offset interval, p_zone text) RETURNS timestamptz
LANGUAGE sql STABLE
AS $$
    SELECT CASE WHEN p_at BETWEEN '1000-01-01 00:00+00' AND '9999-12-30 00:00+00'
        AND p_offset BETWEEN '-100 years' AND '100 years' THEN
            ((p_at AT TIME ZONE p_zone) - (date_trunc('day', p_offset))) AT TIME ZONE p_zone
            - (p_offset - date_trunc('day', p_offset)) END
$$;
REVOKE ALL ON FUNCTION jtd.before(timestamptz, interval, text) FROM PUBLIC;
