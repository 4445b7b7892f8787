-- Moves jobs one step, with all that belongs to a status change.
-- Called by: every function of ours off the hot path.  Locks: nothing; the caller holds the rows.
-- Entering a terminal state completes the job; leaving failed takes the completion back.
CREATE OR REPLACE FUNCTION jtd.step(p_ids uuid[], p_to text, p_note text DEFAULT NULL) RETURNS void
LANGUAGE sql VOLATILE
AS $$
    UPDATE public.n_jtd AS j
    SET status_code = p_to,
        status_id = s.id,
        previous_status_code = j.status_code,
        status_changed_at = clock_timestamp(),
        is_valid_transition = jtd.is_valid_step(j.event_type_code, j.status_code, p_to),
        transition_note = p_note,
        completed_at = CASE WHEN s.is_terminal THEN now() END,
        updated_at = now()
    FROM public.n_jtd AS o
    LEFT JOIN public.n_jtd_statuses AS s ON s.event_type_code = o.event_type_code AND s.code = p_to
    WHERE o.id = ANY (p_ids) AND j.id = o.id;
$$;
REVOKE ALL ON FUNCTION jtd.step(uuid[], text, text) FROM PUBLIC;
