-- Takes in jobs that were brought here with a life behind them, a step at a time, the newest first.
-- Called by: jtd-worker adopt, before jtd.adopt, until there is no more.  Locks: as jtd.adopt_some.
-- On a database that is adopted already only imported jobs are taken in. Returns where the next step begins, NULL when
-- there is no more, and how many jobs are held and go on.
CREATE OR REPLACE FUNCTION jtd.adopt_jobs(
    p_since timestamptz, p_below uuid, p_limit integer, OUT below uuid, OUT held integer, OUT taken integer)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    ids uuid[] := ARRAY(
        SELECT j.id FROM public.n_jtd AS j
        WHERE j.id < coalesce(p_below, 'ffffffff-ffff-ffff-ffff-ffffffffffff') ORDER BY j.id DESC LIMIT p_limit);
BEGIN
    SELECT s.held, s.taken INTO held, taken
    FROM jtd.adopt_some(p_since, CASE WHEN jtd.is_adopted() THEN jtd.imported(ids) ELSE ids END) AS s;
    below := CASE WHEN cardinality(ids) = p_limit THEN ids[p_limit] END;
END
$$;
REVOKE ALL ON FUNCTION jtd.adopt_jobs(timestamptz, uuid, integer) FROM PUBLIC;
