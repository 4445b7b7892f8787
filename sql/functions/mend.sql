-- Puts jobs that are on no list back where their status says that they are.
-- Called by: jtd.sweep, jtd.adopt_some.  Locks: those that need it, by id, SKIP LOCKED.  Returns how many it put right.
-- What was brought from elsewhere with its status is left to rest. An executing job that nobody holds follows
-- jtd.reclaim. A job that takes no change (SQLSTATE 22, 23) gets a note, and the others go on.
CREATE OR REPLACE FUNCTION jtd.mend(p_ids uuid[]) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    lost uuid[];
    resting uuid[];
    held uuid[];
    refusal text;
BEGIN
    -- read without a lock first: a lock on every queued job would keep claims from them
    lost := jtd.lost(p_ids);
    resting := jtd.imported(lost);
    lost := ARRAY(SELECT u.id FROM unnest(lost) AS u (id) WHERE u.id <> ALL (resting));
    IF lost = '{}' THEN
        RETURN 0;
    END IF;
    held := ARRAY(
        SELECT j.id FROM public.n_jtd AS j WHERE j.id = ANY (lost) ORDER BY j.id FOR NO KEY UPDATE SKIP LOCKED);
    held := jtd.lost(held);
    BEGIN
        PERFORM jtd.unlist(held);
        INSERT INTO public.n_jtd_history (  -- a job that was made while triggers were off has no beginning
            jtd_id, tenant_id, channel_code, event_type_code, action, to_status_code, performed_by_type,
            performed_by_name, reason, is_live)
        SELECT j.id, j.tenant_id, j.channel_code, j.event_type_code, 'created', j.status_code, 'system', session_user,
            'made while triggers were off', j.is_live
        FROM public.n_jtd AS j
        WHERE j.id = ANY (held) AND NOT EXISTS (SELECT FROM public.n_jtd_history AS h WHERE h.jtd_id = j.id);
        PERFORM jtd.remark(u.id, 'note', 'it was on no list, and was put back', NULL) FROM unnest(held) AS u (id);
        UPDATE public.n_jtd AS j  -- what the trigger would have chosen
        SET channel_code = (
            SELECT d.code FROM unnest(s.default_channels) WITH ORDINALITY AS d (code, place)
            WHERE d.code = ANY (e.allowed_channels) ORDER BY d.place LIMIT 1)
        FROM public.n_jtd_source_types AS s, public.n_jtd_event_types AS e
        WHERE j.id = ANY (held) AND j.channel_code IS NULL AND s.code = j.source_type_code
            AND e.code = j.event_type_code;
        UPDATE public.n_jtd AS j SET error_code = 'channel_missing', error_message = 'it names no channel, and none fits'
        WHERE j.id = ANY (held) AND j.channel_code IS NULL AND j.status_code IN ('created', 'pending', 'scheduled');
        PERFORM jtd.step(ARRAY(
            SELECT j.id FROM public.n_jtd AS j
            WHERE j.id = ANY (held) AND j.channel_code IS NULL AND j.status_code IN ('created', 'scheduled')), 'pending');
        PERFORM jtd.step(ARRAY(
            SELECT j.id FROM public.n_jtd AS j
            WHERE j.id = ANY (held) AND j.channel_code IS NULL AND j.status_code = 'pending'), 'failed');
        PERFORM jtd.reclaim(ARRAY(
            SELECT j.id FROM public.n_jtd AS j WHERE j.id = ANY (held) AND j.status_code = 'executing'));
        UPDATE public.n_jtd AS j SET completed_at = now()
        WHERE j.id = ANY (held) AND j.status_code = 'failed' AND j.completed_at IS NULL;
        PERFORM jtd.place(ARRAY(
            SELECT j.id FROM public.n_jtd AS j
            WHERE j.id = ANY (held) AND j.status_code IN ('pending', 'scheduled', 'queued')));
        PERFORM jtd.hasten(ARRAY(
            SELECT j.id FROM public.n_jtd AS j WHERE j.id = ANY (held) AND j.status_code = 'created'));
        RETURN cardinality(held);
    EXCEPTION WHEN data_exception OR integrity_constraint_violation THEN
        refusal := left('it cannot be put back: ' || SQLERRM, 500);
    END;
    IF cardinality(held) > 1 THEN
        RETURN jtd.mend(held[: cardinality(held) / 2]) + jtd.mend(held[cardinality(held) / 2 + 1 :]);
    END IF;
    PERFORM jtd.remark(held[1], 'note', refusal, NULL)
    WHERE refusal IS DISTINCT FROM (
        SELECT h.reason FROM public.n_jtd_history AS h WHERE h.jtd_id = held[1] ORDER BY h.id DESC LIMIT 1);
    RETURN 0;
END
$$;
REVOKE ALL ON FUNCTION jtd.mend(uuid[]) FROM PUBLIC;
