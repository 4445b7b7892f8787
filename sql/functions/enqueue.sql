-- Enqueues a job by named arguments; the same idempotency key again gives the job that is there.
-- Called by: producers, as SELECT * FROM jtd.enqueue(tenant_id => ..., ...).  Locks: nothing.
-- Returns (id, created). A key that exists with another content is refused with JT006. Runs with the
-- owner's rights, because a producer may write jobs but not read those of others.
CREATE OR REPLACE FUNCTION jtd.enqueue(
    tenant_id uuid,
    event_type text,
    source_type text,
    channel text DEFAULT NULL,
    recipient text DEFAULT NULL,
    recipient_name text DEFAULT NULL,
    recipient_id uuid DEFAULT NULL,
    payload jsonb DEFAULT '{}',
    template_key text DEFAULT NULL,
    template_variables jsonb DEFAULT '{}',
    scheduled_at timestamptz DEFAULT NULL,
    expires_at timestamptz DEFAULT NULL,
    priority integer DEFAULT NULL,
    max_retries integer DEFAULT NULL,
    idempotency_key text DEFAULT NULL,
    source_id uuid DEFAULT NULL,
    metadata jsonb DEFAULT '{}',
    locale text DEFAULT NULL,
    is_live boolean DEFAULT true)
RETURNS TABLE (id uuid, created boolean)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    existing public.n_jtd;
    different text[];
BEGIN
    INSERT INTO public.n_jtd AS j (
        tenant_id, event_type_code, source_type_code, channel_code, recipient_contact, recipient_name,
        recipient_id, payload, template_key, template_variables, scheduled_at, expires_at, priority, max_retries,
        idempotency_key, source_id, metadata, locale, is_live)
    VALUES (
        enqueue.tenant_id, event_type, source_type, channel, recipient, enqueue.recipient_name,
        enqueue.recipient_id, coalesce(enqueue.payload, '{}'), enqueue.template_key,
        coalesce(enqueue.template_variables, '{}'), enqueue.scheduled_at, enqueue.expires_at, enqueue.priority,
        enqueue.max_retries, enqueue.idempotency_key, enqueue.source_id, coalesce(enqueue.metadata, '{}'),
        enqueue.locale, coalesce(enqueue.is_live, true))
    ON CONFLICT DO NOTHING
    RETURNING j.id INTO id;
    IF FOUND THEN
        created := true;
        RETURN NEXT;
        RETURN;
    END IF;

    SELECT * INTO STRICT existing FROM public.n_jtd AS j
    WHERE j.tenant_id = enqueue.tenant_id AND j.idempotency_key = enqueue.idempotency_key;
    different := ARRAY(SELECT d.name FROM (VALUES
        ('event_type', existing.event_type_code IS DISTINCT FROM event_type),
        ('source_type', existing.source_type_code IS DISTINCT FROM source_type),
        ('channel', channel IS NOT NULL AND existing.channel_code IS DISTINCT FROM channel),
        ('recipient', jtd.trimmed(recipient) IS NOT NULL
            AND existing.recipient_contact IS DISTINCT FROM jtd.trimmed(recipient)
            AND NOT coalesce(  -- it may be the address on a channel that a sibling took
                existing.route @> jsonb_build_array(jsonb_build_object('recipient', jtd.trimmed(recipient))), false)),
        ('recipient_name', existing.recipient_name IS DISTINCT FROM enqueue.recipient_name),
        ('recipient_id', existing.recipient_id IS DISTINCT FROM enqueue.recipient_id),
        ('payload', existing.payload IS DISTINCT FROM coalesce(enqueue.payload, '{}')),
        ('template_key', existing.template_key IS DISTINCT FROM enqueue.template_key),
        ('template_variables', existing.template_variables IS DISTINCT FROM
            coalesce(enqueue.template_variables, '{}')),
        ('scheduled_at', existing.scheduled_at IS DISTINCT FROM enqueue.scheduled_at),
        ('source_id', existing.source_id IS DISTINCT FROM enqueue.source_id),
        ('is_live', existing.is_live IS DISTINCT FROM coalesce(enqueue.is_live, true))
    ) AS d (name, differs) WHERE d.differs);
    IF different <> '{}' THEN
        RAISE EXCEPTION 'idempotency key % is taken by job %, which has another %',
            quote_literal(enqueue.idempotency_key), existing.id, array_to_string(different, ', ')
            USING ERRCODE = 'JT006', HINT = 'Use one key for one job; a changed job needs a key of its own.';
    END IF;
    id := existing.id;
    created := false;
    RETURN NEXT;
END
$$;
REVOKE ALL ON FUNCTION jtd.enqueue(
    uuid, text, text, text, text, text, uuid, jsonb, text, jsonb, timestamptz, timestamptz, integer, integer, text,
    uuid, jsonb, text, boolean) FROM PUBLIC;
