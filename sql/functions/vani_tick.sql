-- Looks at the work whose moment has come: takes VaNi's steps, clears up her messages, and finds the next moment.
-- Called by: jtd.tick_v1.  Locks: rows of jtd.work, SKIP LOCKED; their jobs by id, SKIP LOCKED.
-- Returns at how much work it looked, at most p_limit. Where VaNi is off she looks too, and does nothing: so switching costs
-- nothing, and nothing is done twice.
CREATE OR REPLACE FUNCTION jtd.vani_tick(p_limit integer) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    acting_before CONSTANT text := coalesce(current_setting('jtd.actor', true), '');
    due uuid[];
    held uuid[];
    refused uuid[];
    again uuid[];
BEGIN
    PERFORM jtd.vani_switched(p_limit);
    due := ARRAY(
        SELECT w.jtd_id FROM jtd.work AS w WHERE w.next_at <= now()
        ORDER BY w.next_at LIMIT p_limit FOR NO KEY UPDATE SKIP LOCKED);
    due := due || ARRAY(
        SELECT w.jtd_id FROM jtd.work AS w
        WHERE w.jtd_id IN (SELECT k.jtd_id FROM jtd.vani_wakes AS k LIMIT p_limit) AND w.jtd_id <> ALL (due)
        FOR NO KEY UPDATE SKIP LOCKED);
    IF due = '{}' THEN
        DELETE FROM jtd.vani_wakes AS k WHERE NOT EXISTS (SELECT FROM jtd.work AS w WHERE w.jtd_id = k.jtd_id);
        RETURN 0;
    END IF;
    held := ARRAY(
        SELECT j.id FROM public.n_jtd AS j WHERE j.id = ANY (due) ORDER BY j.id FOR NO KEY UPDATE SKIP LOCKED);
    DELETE FROM jtd.vani_wakes AS k WHERE k.jtd_id = ANY (held);

    PERFORM set_config('jtd.actor', 'vani', true);
    refused := jtd.vani_take(held);
    again := jtd.vani_tidy(held);
    PERFORM set_config('jtd.actor', acting_before, true);

    UPDATE jtd.work AS w
    SET looked_at = now(),
        next_at = CASE
            WHEN w.jtd_id = ANY (again) THEN now() + interval '1 s'
            WHEN w.jtd_id = ANY (refused) THEN now() + interval '1 h'
            ELSE a.next_at END
    FROM unnest(held) AS h (id)
    LEFT JOIN (
        SELECT s.jtd_id, min(CASE s.state WHEN 'due' THEN now() + interval '1 min' ELSE s.at END) AS next_at
        FROM jtd.vani_steps(held) AS s WHERE s.state IN ('ahead', 'due') GROUP BY s.jtd_id) AS a ON a.jtd_id = h.id
    WHERE w.jtd_id = h.id;
    UPDATE jtd.work AS w SET next_at = now() + interval '1 s'  -- somebody holds the job; others have their turn
    WHERE w.jtd_id = ANY (due) AND w.jtd_id <> ALL (held) AND w.next_at <= now();
    RETURN cardinality(due);
END
$$;
REVOKE ALL ON FUNCTION jtd.vani_tick(integer) FROM PUBLIC;
