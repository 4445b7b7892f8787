-- Counts the jobs by place; sound is false for jobs that are nowhere, of which there must be none.
-- Called by: operators and tests.  Locks: nothing.  Reads every job.
CREATE OR REPLACE FUNCTION jtd.conservation()
RETURNS TABLE (place text, status_code text, jobs bigint, sound boolean)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT w.place, w.status_code, count(*), w.place <> 'lost'
    FROM jtd.whereabouts() AS w
    GROUP BY w.place, w.status_code
    ORDER BY w.place, w.status_code
$$;
REVOKE ALL ON FUNCTION jtd.conservation() FROM PUBLIC;
