-- A person's one verb: takes work one step on, with who did it and why.
-- Called by: services, jtd-worker act.  Locks: the row, and waits for it.
-- Returns done; flagged (done, but its flow has no such step, as the audit trail says too); unchanged (it is there already);
-- or, with nothing changed, absent, or not_work (it is a message: jtd.cancel, jtd.retry). p_actor NULL leaves the actor to
-- the setting jtd.actor. p_scheduled_at is the new time: rescheduled needs one, scheduled may have one. Refuses an unknown
-- status with JT012, a step that requires a reason without one with JT013, and a time that is missing or has no place
-- with JT014.
CREATE OR REPLACE FUNCTION jtd.act(
    p_id uuid, p_to_status text, p_actor uuid DEFAULT NULL, p_reason text DEFAULT NULL,
    p_scheduled_at timestamptz DEFAULT NULL, p_actor_name text DEFAULT NULL) RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    job public.n_jtd;
    acting_before CONSTANT text := coalesce(current_setting('jtd.actor', true), '');
    reason CONSTANT text := nullif(btrim(p_reason), '');
    is_moved boolean;
BEGIN
    SELECT * INTO job FROM public.n_jtd AS j WHERE j.id = p_id FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN 'absent';
    ELSIF EXISTS (SELECT FROM public.n_jtd_event_types AS e WHERE e.code = job.event_type_code AND e.is_message) THEN
        RETURN 'not_work';
    END IF;
    IF jtd.status_id(job.event_type_code, p_to_status) IS NULL THEN
        PERFORM jtd.refuse('JT012', 'status of event type ' || job.event_type_code, p_to_status, ARRAY(
            SELECT s.code FROM public.n_jtd_statuses AS s WHERE s.event_type_code = job.event_type_code
            ORDER BY s.display_order, s.code));
    END IF;
    is_moved := p_scheduled_at IS DISTINCT FROM job.scheduled_at AND p_scheduled_at IS NOT NULL;
    IF p_scheduled_at IS NULL AND p_to_status = 'rescheduled' THEN
        RAISE EXCEPTION 'the new time is missing'
            USING ERRCODE = 'JT014', HINT = 'Give p_scheduled_at, or --at TIME.';
    ELSIF p_scheduled_at IS NOT NULL AND p_to_status NOT IN ('rescheduled', 'scheduled') THEN
        RAISE EXCEPTION 'a time has no place with status %', p_to_status
            USING ERRCODE = 'JT014', HINT = 'Only rescheduled and scheduled take one.';
    ELSIF NOT isfinite(p_scheduled_at) THEN
        RAISE EXCEPTION 'the new time is not one' USING ERRCODE = 'JT014', HINT = 'Give a time that comes.';
    END IF;
    IF job.status_code = p_to_status AND NOT is_moved THEN
        RETURN 'unchanged';
    END IF;
    IF reason IS NULL AND job.status_code <> p_to_status AND EXISTS (
        SELECT FROM public.n_jtd_status_flows AS f
        JOIN public.n_jtd_statuses AS a ON a.id = f.from_status_id AND a.code = job.status_code
        JOIN public.n_jtd_statuses AS b ON b.id = f.to_status_id AND b.code = p_to_status
        WHERE f.event_type_code = job.event_type_code AND f.is_active AND f.requires_reason)
    THEN
        RAISE EXCEPTION 'the step from % to % needs a reason', job.status_code, p_to_status
            USING ERRCODE = 'JT013', HINT = 'Give p_reason, or --reason TEXT.';
    END IF;
    IF p_actor IS NOT NULL THEN
        PERFORM set_config('jtd.actor', format('user:%s:%s', p_actor, p_actor_name), true);
    END IF;
    IF job.status_code <> p_to_status THEN
        PERFORM jtd.step(ARRAY[p_id], p_to_status, left(reason, 2000));
    END IF;
    IF is_moved THEN
        UPDATE public.n_jtd AS j SET scheduled_at = p_scheduled_at, updated_at = now() WHERE j.id = p_id;
        PERFORM jtd.remark(p_id, 'note', left(coalesce(reason, 'moved'), 2000),
            jsonb_build_object('moved_from', job.scheduled_at, 'moved_to', p_scheduled_at));
    END IF;
    PERFORM set_config('jtd.actor', acting_before, true);
    RETURN CASE WHEN job.status_code = p_to_status OR jtd.is_valid_step(job.event_type_code, job.status_code, p_to_status)
        THEN 'done' ELSE 'flagged' END;
END
$$;
REVOKE ALL ON FUNCTION jtd.act(uuid, text, uuid, text, timestamptz, text) FROM PUBLIC;
