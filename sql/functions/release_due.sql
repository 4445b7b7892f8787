-- Places waiting jobs whose time has come; scheduled ones take their step to pending, and of those that waited for a
-- receipt in vain nobody knows whether they were sent.
-- Called by: jtd.tick_v1.  Locks: rows of n_jtd as they come due, SKIP LOCKED.  Returns how many it placed.
-- Jobs that somebody holds are passed over, however many. One that takes no change (SQLSTATE 22, 23) waits another
-- hour, with a note in its audit trail.
CREATE OR REPLACE FUNCTION jtd.release_due(p_limit integer) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    held uuid[];
    unreported uuid[];  -- whose provider has sent no receipt
    taken_along uuid[];  -- whose window is over with that of the oldest of them
BEGIN
    held := ARRAY(
        SELECT j.id
        FROM (
            SELECT w.jtd_id FROM jtd.waiting AS w WHERE w.due <= now() ORDER BY w.due LIMIT p_limit + 50000) AS d
        CROSS JOIN LATERAL (
            SELECT j.id FROM public.n_jtd AS j WHERE j.id = d.jtd_id FOR NO KEY UPDATE SKIP LOCKED) AS j
        LIMIT p_limit);
    IF held <> '{}' THEN
        taken_along := jtd.close_batches(held);
        held := ARRAY(  -- what exceeded a batch's bound has its turn with the next tick
            SELECT j.id FROM public.n_jtd AS j LEFT JOIN jtd.waiting AS w ON w.jtd_id = j.id
            WHERE j.id = ANY (held) AND (w.batch_key IS NULL OR j.carrier_id IS NOT NULL));
        unreported := ARRAY(
            SELECT j.id FROM public.n_jtd AS j
            WHERE j.id = ANY (held) AND j.status_code = 'pending' AND j.transition_note = 'receipt'
                AND coalesce(j.next_retry_at <= now(), true));
        IF unreported <> '{}' THEN
            PERFORM jtd.step(unreported, 'failed', 'no_receipt');
            UPDATE public.n_jtd AS j SET completed_at = now() WHERE j.id = ANY (unreported);
        END IF;
        PERFORM jtd.follow_carriers(held);
        PERFORM jtd.unlist(held || taken_along);
        PERFORM jtd.step(ARRAY(
            SELECT j.id FROM public.n_jtd AS j WHERE j.id = ANY (held || taken_along) AND j.status_code = 'scheduled'), 'pending');
        PERFORM jtd.place(ARRAY(
            SELECT j.id FROM public.n_jtd AS j
            WHERE j.id = ANY (held || taken_along) AND j.status_code = 'pending'));
    END IF;
    IF cardinality(held) < p_limit THEN  -- what is left is locked, or names no job
        PERFORM jtd.unlist(ARRAY(
            SELECT d.jtd_id
            FROM (SELECT w.jtd_id FROM jtd.waiting AS w WHERE w.due <= now() ORDER BY w.due LIMIT p_limit) AS d
            LEFT JOIN LATERAL (SELECT j.id FROM public.n_jtd AS j WHERE j.id = d.jtd_id OFFSET 0) AS j ON true
            WHERE j.id IS NULL));
    END IF;
    RETURN cardinality(held);
EXCEPTION WHEN data_exception OR integrity_constraint_violation THEN
    IF cardinality(held) > 1 THEN
        RETURN jtd.release_due(cardinality(held) / 2);
    ELSIF cardinality(held) = 1 IS NOT TRUE THEN
        RAISE;
    END IF;
    PERFORM jtd.remark(held[1], 'note', left('it cannot be released: ' || SQLERRM, 500), NULL);
    UPDATE jtd.waiting AS w SET due = now() + interval '1 hour', reason = 'refused' WHERE w.jtd_id = held[1];
    RETURN 1;
END
$$;
REVOKE ALL ON FUNCTION jtd.release_due(integer) FROM PUBLIC;
