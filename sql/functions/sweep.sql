-- Takes one step of the sweep that runs, the newest jobs first.
-- Called by: jtd.tick_v1, jtd.rebuild_queues.  Locks: the row of jtd.sweeps; lost jobs by id, SKIP LOCKED.
-- Looks at p_limit jobs by their primary key. Returns how many it put back on their lists; 0 when none runs.
CREATE OR REPLACE FUNCTION jtd.sweep(p_limit integer) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    sweep jtd.sweeps;
    ids uuid[];
    mended integer;
BEGIN
    SELECT * INTO sweep FROM jtd.sweeps AS s WHERE s.is_running FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN 0;
    END IF;
    IF sweep.below IS NULL THEN
        ids := ARRAY(SELECT j.id FROM public.n_jtd AS j ORDER BY j.id DESC LIMIT p_limit);
    ELSE
        ids := ARRAY(SELECT j.id FROM public.n_jtd AS j WHERE j.id < sweep.below ORDER BY j.id DESC LIMIT p_limit);
    END IF;
    mended := jtd.mend(ids);
    PERFORM jtd.list_work(ARRAY(  -- work that was made while triggers were off
        SELECT u.id FROM unnest(ids) AS u (id) WHERE NOT EXISTS (SELECT FROM jtd.work AS w WHERE w.jtd_id = u.id)));
    IF cardinality(ids) = p_limit THEN
        UPDATE jtd.sweeps AS s SET below = ids[p_limit], found = s.found + mended;
    ELSE
        UPDATE jtd.sweeps AS s
        SET is_running = false, below = NULL, found = s.found + mended, ended_at = clock_timestamp(), differed = 0,
            fruitless = CASE WHEN s.found + mended > 0 THEN 0 WHEN s.differed >= 3 THEN least(s.fruitless + 1, 20)
                ELSE s.fruitless END;
    END IF;
    RETURN mended;
END
$$;
REVOKE ALL ON FUNCTION jtd.sweep(integer) FROM PUBLIC;
