-- When quiet hours in which a moment lies are over; NULL outside of them.
-- Called by: jtd.gate.  Locks: nothing.
-- Where the clocks change before their end, it is the first minute that the clock on the wall shows as not quiet.
CREATE OR REPLACE FUNCTION jtd.quiet_until(p_at timestamptz, p_zone text, p_start time, p_end time) RETURNS timestamptz
LANGUAGE plpgsql STABLE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    at_local CONSTANT timestamp := p_at AT TIME ZONE p_zone;
    end_local timestamp;
    ends timestamptz;
BEGIN
    IF NOT jtd.is_quiet(at_local, p_start, p_end) THEN
        RETURN NULL;
    END IF;
    end_local := at_local::date + p_end + CASE WHEN at_local::time < p_end THEN '0 d' ELSE '1 d' END::interval;
    ends := end_local AT TIME ZONE p_zone;
    IF ends - p_at = end_local - at_local AND ends AT TIME ZONE p_zone = end_local THEN
        RETURN ends;
    END IF;
    RETURN coalesce((  -- clocks change on a quarter of an hour, and by a multiple of it
        SELECT min(m.moment)
        FROM (SELECT ends + n * interval '15 min' FROM generate_series(-12, 12) AS s (n)
            UNION ALL
            SELECT (end_local + interval '1 d') AT TIME ZONE p_zone  -- the open minutes may be among those left out
            UNION ALL
            SELECT * FROM generate_series(date_trunc('hour', p_at), ends + interval '3 h', '15 min')) AS m (moment)
        WHERE m.moment > p_at AND NOT jtd.is_quiet(m.moment AT TIME ZONE p_zone, p_start, p_end)), ends);
END
$$;
REVOKE ALL ON FUNCTION jtd.quiet_until(timestamptz, text, time, time) FROM PUBLIC;
