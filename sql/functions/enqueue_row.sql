-- Decides, in the producer's own transaction, in which state an inserted job is stored.
-- Called by: BEFORE INSERT row trigger on public.n_jtd.  Locks: nothing.
-- A structural mistake is refused with a SQLSTATE of class JT; a bad recipient is stored as failed,
-- so that a stray blank does not roll back the producer's invoice.
CREATE OR REPLACE FUNCTION jtd.enqueue_row() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    straight_to_queue CONSTANT integer := 1000;  -- of one statement; the rest waits for admission
    longest_recipient CONSTANT integer := 500;  -- recipient_contact holds no more
    event public.n_jtd_event_types;
    channel public.n_jtd_channels;
    source public.n_jtd_source_types;
    own record;  -- what the tenant sets differently
    route jsonb;
    recipient text;
    rows_so_far integer;
BEGIN
    NEW.status_code := coalesce(NEW.status_code, 'created');
    NEW.performed_by_type := coalesce(
        NEW.performed_by_type, CASE WHEN NEW.performed_by_id IS NULL THEN 'system' ELSE 'user' END);
    IF NEW.performed_by_type = 'user' AND NEW.performed_by_id IS NULL THEN
        NEW.performed_by_name := coalesce(NEW.performed_by_name, session_user::text);
    END IF;
    SELECT * INTO event FROM public.n_jtd_event_types AS e WHERE e.code = NEW.event_type_code;

    -- an import or a restore: kept as given, never sent again; a new task too may have had a life elsewhere
    IF NEW.status_code <> 'created' OR (NOT event.is_message AND NEW.status_changed_at IS NOT NULL) THEN
        NEW.status_id := coalesce(NEW.status_id, jtd.status_id(NEW.event_type_code, NEW.status_code));
        IF NEW.status_changed_at = now() THEN  -- would tell the other triggers that the steps were taken here
            NEW.status_changed_at := now() - interval '1 microsecond';
        END IF;
        IF NEW.completed_at IS NULL AND EXISTS (
            SELECT FROM public.n_jtd_statuses AS s
            WHERE s.event_type_code = NEW.event_type_code AND s.code = NEW.status_code
                AND (s.is_terminal OR s.is_failure))
        THEN
            NEW.completed_at := coalesce(NEW.status_changed_at, NEW.updated_at, now());
        END IF;
        RETURN NEW;
    END IF;

    IF event.is_active IS NOT TRUE THEN
        PERFORM jtd.refuse('JT001', 'event type', NEW.event_type_code, ARRAY(
            SELECT e.code FROM public.n_jtd_event_types AS e WHERE e.is_active ORDER BY e.display_order, e.code));
    END IF;
    SELECT * INTO source FROM public.n_jtd_source_types AS s WHERE s.code = NEW.source_type_code AND s.is_active;
    IF NOT FOUND THEN
        PERFORM jtd.refuse('JT003', 'source type', NEW.source_type_code, ARRAY(
            SELECT s.code FROM public.n_jtd_source_types AS s WHERE s.is_active ORDER BY s.code));
    END IF;
    NEW.attempt := 0;
    NEW.route := NULL;
    IF NEW.channel_code IS NULL AND event.is_message THEN
        route := (
            SELECT jsonb_agg(jsonb_build_object('channel', r.channel_code, 'recipient', r.recipient))
            FROM jtd.route(event.code, source.code, NEW.tenant_id, NEW.is_live, jtd.trimmed(NEW.recipient_contact),
                NEW.recipient_id, NEW.payload) AS r);
        IF route IS NULL THEN
            PERFORM jtd.refuse('JT008', 'channel', NULL, event.allowed_channels);
        END IF;
        NEW.channel_code := route -> 0 ->> 'channel';
        NEW.route := nullif(route - 0, '[]');
    END IF;
    IF NEW.channel_code IS NOT NULL THEN
        SELECT * INTO channel FROM public.n_jtd_channels AS c WHERE c.code = NEW.channel_code AND c.is_active;
        IF NOT FOUND THEN
            PERFORM jtd.refuse('JT002', 'channel', NEW.channel_code, ARRAY(
                SELECT c.code FROM public.n_jtd_channels AS c WHERE c.is_active ORDER BY c.display_order, c.code));
        END IF;
        IF NEW.channel_code <> ALL (event.allowed_channels) THEN
            PERFORM jtd.refuse(
                'JT004', 'channel of event type ' || event.code, NEW.channel_code, event.allowed_channels);
        END IF;
    END IF;
    SELECT ts.priority_override, ts.delay_seconds, ts.batch_window_seconds, nullif(t.default_priority, 5) AS default_priority INTO own
    FROM (SELECT) AS one
    LEFT JOIN public.n_jtd_tenant_source_config AS ts
        ON ts.tenant_id = NEW.tenant_id AND ts.source_type_code = source.code AND ts.is_live = NEW.is_live AND ts.is_active
    LEFT JOIN public.n_jtd_tenant_config AS t
        ON t.tenant_id = NEW.tenant_id AND t.is_live = NEW.is_live AND t.is_active;
    NEW.priority := coalesce(own.priority_override, NEW.priority, own.default_priority, event.default_priority);
    IF NEW.priority NOT BETWEEN 1 AND 10 THEN
        PERFORM jtd.refuse('JT005', 'priority', NEW.priority::text, ARRAY['1 to 10, 10 the most urgent']);
    END IF;
    IF NEW.performed_by_type NOT IN ('user', 'vani', 'system', 'webhook') THEN
        PERFORM jtd.refuse('JT009', 'performed_by_type', NEW.performed_by_type,
            ARRAY['user', 'vani', 'system', 'webhook']);
    END IF;
    NEW.recipient_contact := jtd.trimmed(NEW.recipient_contact);
    NEW.expires_at := nullif(NEW.expires_at, 'infinity');
    NEW.max_retries := coalesce(NEW.max_retries, event.default_max_retries);
    NEW.execution_result := NULL;  -- how attempts ended, which there were none of yet
    NEW.status_changed_at := now();  -- tells the audit trail that the steps were taken here
    NEW.is_valid_transition := true;

    IF event.is_message AND own.delay_seconds > 0 THEN
        NEW.next_retry_at := greatest(NEW.next_retry_at, now() + make_interval(secs => own.delay_seconds));
        NEW.transition_note := 'delay';
    END IF;
    NEW.carrier_id := NULL;
    NEW.carries := NULL;
    IF own.batch_window_seconds IS NOT NULL AND event.is_message AND event.supports_batch
        AND NOT source.bypasses_gates AND jtd.lane(NEW.priority, source.is_urgent) = 'normal'
        AND coalesce(NEW.scheduled_at <= now(), true) AND coalesce(NEW.expires_at
            > greatest(NEW.next_retry_at, now()) + make_interval(secs => own.batch_window_seconds), true)
    THEN
        NEW.next_retry_at := greatest(NEW.next_retry_at, now()) + make_interval(secs => own.batch_window_seconds);
        NEW.transition_note := 'batch';
    END IF;
    IF event.is_message THEN
        recipient := coalesce(route -> 0 ->> 'recipient',
            jtd.recipient(channel.recipient_key, NEW.recipient_contact, NEW.recipient_id, NEW.payload));
        IF channel.recipient_key <> 'user' AND length(recipient) <= longest_recipient THEN
            NEW.recipient_contact := recipient;
        END IF;
        IF recipient IS NULL OR length(recipient) > longest_recipient OR recipient !~ channel.recipient_pattern THEN
            IF current_setting('jtd.strict_recipients', true) = 'on' THEN
                RAISE EXCEPTION 'the recipient is % for channel %',
                    CASE WHEN recipient IS NULL THEN 'missing' ELSE 'not usable' END, channel.code
                    USING ERRCODE = 'JT007',
                    HINT = 'Set recipient_contact, or payload.recipient_data.' || channel.recipient_key || '.';
            END IF;
            NEW.status_code := 'failed';
            NEW.error_code := 'invalid_recipient';
            NEW.error_message := format('the recipient is %s for channel %s',
                CASE WHEN recipient IS NULL THEN 'missing' ELSE 'not usable' END, channel.code);
            NEW.transition_note := 'invalid_recipient';
            NEW.completed_at := now();
        ELSIF greatest(NEW.scheduled_at, NEW.next_retry_at) > now() THEN
            NEW.status_code := CASE
                WHEN jtd.status_id(event.code, 'scheduled') IS NOT NULL THEN 'scheduled' ELSE 'pending' END;
        ELSE
            rows_so_far := coalesce(nullif(current_setting('jtd.statement_rows', true), ''), '0')::integer + 1;
            PERFORM set_config('jtd.statement_rows', rows_so_far::text, true);
            NEW.status_code := CASE
                WHEN rows_so_far > straight_to_queue
                    OR jtd.window_closed(NEW.tenant_id, NEW.channel_code, jtd.lane(NEW.priority, source.is_urgent))
                    THEN 'pending'
                ELSE 'queued' END;
        END IF;
        NEW.previous_status_code := CASE NEW.status_code
            WHEN 'queued' THEN 'pending' WHEN 'failed' THEN 'pending' ELSE 'created' END;
    END IF;
    NEW.status_id := jtd.status_id(NEW.event_type_code, NEW.status_code);
    RETURN NEW;
END
$$;
REVOKE ALL ON FUNCTION jtd.enqueue_row() FROM PUBLIC;
