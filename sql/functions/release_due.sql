-- Places waiting jobs whose time has come; scheduled ones take their step to pending.
-- Called by: jtd.tick_v1.  Locks: rows of n_jtd by id, SKIP LOCKED.  Returns how many it looked at.
CREATE OR REPLACE FUNCTION jtd.release_due(p_limit integer) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    due uuid[] := ARRAY(SELECT w.jtd_id FROM jtd.waiting AS w WHERE w.due <= now() ORDER BY w.due LIMIT p_limit);
    held uuid[];
BEGIN
    IF due = '{}' THEN
        RETURN 0;
    END IF;
    held := ARRAY(
        SELECT j.id FROM public.n_jtd AS j WHERE j.id = ANY (due) ORDER BY j.id FOR NO KEY UPDATE SKIP LOCKED);
    PERFORM jtd.unlist(held || ARRAY(
        SELECT d.id FROM unnest(due) AS d (id) WHERE NOT EXISTS (SELECT FROM public.n_jtd AS j WHERE j.id = d.id)));
    PERFORM jtd.step(ARRAY(
        SELECT j.id FROM public.n_jtd AS j WHERE j.id = ANY (held) AND j.status_code = 'scheduled'), 'pending');
    PERFORM jtd.place(ARRAY(
        SELECT j.id FROM public.n_jtd AS j WHERE j.id = ANY (held) AND j.status_code = 'pending'));
    RETURN cardinality(due);
END
$$;
REVOKE ALL ON FUNCTION jtd.release_due(integer) FROM PUBLIC;
