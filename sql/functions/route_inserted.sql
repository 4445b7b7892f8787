-- Makes the siblings of inserted jobs that were routed to several channels, one for each other channel.
-- Called by: AFTER INSERT statement trigger on public.n_jtd.  Locks: nothing.
-- A sibling points at its parent, and its idempotency key is the parent's, or his id, with the channel: so the same job
-- twice makes no second one. It names the parent's template only if there is one of that key for its channel. A channel
-- on which the recipient cannot be reached gets a note in the parent's audit trail instead.
CREATE OR REPLACE FUNCTION jtd.route_inserted() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM new_rows AS n WHERE n.route IS NOT NULL AND n.status_changed_at = now()) THEN
        RETURN NULL;
    END IF;
    INSERT INTO public.n_jtd (
        tenant_id, jtd_number, event_type_code, channel_code, source_type_code, source_id, source_ref, recipient_type,
        recipient_id, recipient_name, recipient_contact, scheduled_at, priority, max_retries, payload, template_key,
        template_variables, business_context, performed_by_type, performed_by_id, performed_by_name, metadata, tags,
        is_live, expires_at, idempotency_key, parent_id, locale, created_by)
    SELECT n.tenant_id, n.jtd_number, n.event_type_code, c.code, n.source_type_code, n.source_id, n.source_ref,
        n.recipient_type, n.recipient_id, n.recipient_name,
        CASE WHEN c.recipient_key = 'user' THEN n.recipient_contact ELSE r.value ->> 'recipient' END,
        n.scheduled_at, n.priority, n.max_retries, n.payload,
        (SELECT t.template_key FROM public.n_jtd_templates AS t
            WHERE t.template_key = n.template_key AND t.channel_code = c.code AND t.is_active
                AND (t.tenant_id IS NULL OR t.tenant_id = n.tenant_id) LIMIT 1),
        n.template_variables, n.business_context, n.performed_by_type, n.performed_by_id, n.performed_by_name,
        n.metadata, n.tags, n.is_live, n.expires_at,
        CASE WHEN length(n.idempotency_key) + length(c.code) < 200 THEN n.idempotency_key ELSE n.id::text END
            || ':' || c.code,
        n.id, n.locale, n.created_by
    FROM new_rows AS n
    CROSS JOIN LATERAL jsonb_array_elements(n.route) AS r
    JOIN public.n_jtd_channels AS c ON c.code = r.value ->> 'channel'
    WHERE n.status_changed_at = now() AND r.value ->> 'recipient' IS NOT NULL
    ORDER BY n.id, c.code
    ON CONFLICT DO NOTHING;
    PERFORM jtd.remark(n.id, 'note', format('not sent by %s as well: no usable recipient', r.value ->> 'channel'), NULL)
    FROM new_rows AS n
    CROSS JOIN LATERAL jsonb_array_elements(n.route) AS r
    WHERE n.status_changed_at = now() AND r.value ->> 'recipient' IS NULL;
    RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION jtd.route_inserted() FROM PUBLIC;
