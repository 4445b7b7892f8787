-- Looks at the work whose moment has come, and lets VaNi take her steps about it.
-- Called by: jtd.tick_v1.  Locks: rows of jtd.work, SKIP LOCKED; their jobs by id, SKIP LOCKED.
-- Returns at how much work it looked, at most p_limit by time and as much by wakes. Where VaNi is off she looks too, and does
-- nothing: so switching costs nothing, and nothing is done twice.
CREATE OR REPLACE FUNCTION jtd.vani_tick(p_limit integer) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    acting_before CONSTANT text := coalesce(current_setting('jtd.actor', true), '');
    due uuid[];
    held uuid[];
    woken uuid[];
    gone uuid[];
BEGIN
    due := ARRAY(
        SELECT w.jtd_id FROM jtd.work AS w WHERE w.next_at <= now()
        ORDER BY w.next_at LIMIT p_limit FOR NO KEY UPDATE SKIP LOCKED);
    IF cardinality(due) < p_limit THEN  -- what changed settings bring comes after what is due
        PERFORM jtd.vani_switched(20 * p_limit);
    END IF;
    woken := ARRAY(SELECT k.jtd_id FROM jtd.vani_wakes AS k LIMIT 20 * p_limit);
    IF due || woken = '{}' THEN
        RETURN 0;
    END IF;
    due := due || ARRAY(  -- by an array, since a join with so few would still read all work
        SELECT w.jtd_id FROM jtd.work AS w
        WHERE w.jtd_id = ANY (woken) AND w.jtd_id <> ALL (due)
        LIMIT p_limit FOR NO KEY UPDATE SKIP LOCKED);
    held := ARRAY(
        SELECT j.id FROM public.n_jtd AS j WHERE j.id = ANY (due) ORDER BY j.id FOR NO KEY UPDATE SKIP LOCKED);
    DELETE FROM jtd.work AS w
    WHERE w.jtd_id = ANY (due) AND NOT EXISTS (SELECT FROM public.n_jtd AS j WHERE j.id = w.jtd_id);
    gone := ARRAY(
        SELECT u.id FROM unnest(due || woken[:p_limit]) AS u (id)
        WHERE NOT EXISTS (SELECT FROM jtd.work AS w WHERE w.jtd_id = u.id));
    IF due || gone = '{}' THEN
        RETURN 0;
    END IF;
    DELETE FROM jtd.vani_wakes AS k WHERE k.jtd_id = ANY (due || gone);
    UPDATE jtd.work AS w SET next_at = now() + interval '1 s'  -- somebody holds the job; others have their turn
    WHERE w.jtd_id = ANY (due) AND w.jtd_id <> ALL (held);

    PERFORM set_config('jtd.actor', 'vani', true);
    PERFORM jtd.vani_take(held || gone);
    PERFORM set_config('jtd.actor', acting_before, true);
    RETURN cardinality(due || gone);
END
$$;
REVOKE ALL ON FUNCTION jtd.vani_tick(integer) FROM PUBLIC;
