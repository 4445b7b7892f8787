-- Lets jobs of unknown outcome wait for a receipt of their provider, who echoes our id, before they are held.
-- Called by: jtd.apply_unsent, jtd.note_late.  Locks: nothing; the caller holds the rows.
-- They rest in jtd.waiting with the reason receipt, and are never sent from there: after 15 minutes jtd.release_due holds
-- them as failed, outcome_unknown.
CREATE OR REPLACE FUNCTION jtd.await_receipts(p_ids uuid[]) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    UPDATE public.n_jtd AS j
    SET next_retry_at = now() + interval '15 min',
        transition_note = CASE WHEN j.status_code = 'pending' THEN 'receipt' ELSE j.transition_note END
    WHERE j.id = ANY (p_ids);
    PERFORM jtd.step(ARRAY(
        SELECT j.id FROM public.n_jtd AS j WHERE j.id = ANY (p_ids) AND j.status_code <> 'pending'), 'pending', 'receipt');
END
$$;
REVOKE ALL ON FUNCTION jtd.await_receipts(uuid[]) FROM PUBLIC;
