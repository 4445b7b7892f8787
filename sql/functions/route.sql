-- The channels that a message without one goes to, with the recipient on each; its own comes first.
-- Called by: jtd.enqueue_row.  Locks: nothing.  None that fits, no rows; nobody to be reached, a NULL recipient.
-- They are those of the tenant's settings for the source, else the source type's, as far as the event type allows them. What
-- the tenant has switched off is left out, unless that is all of them. Channels on which there is a usable recipient
-- come first, in the order given.
CREATE OR REPLACE FUNCTION jtd.route(
    p_event text, p_source text, p_tenant uuid, p_is_live boolean, p_contact text, p_recipient_id uuid, p_payload jsonb)
RETURNS TABLE (channel_code text, recipient text)
LANGUAGE sql STABLE
AS $$
    WITH candidate AS (
        SELECT c.code, min(d.place) AS place, c.recipient_key, c.recipient_pattern,
            s.bypasses_gates OR t.id IS NULL OR coalesce(t.channels_enabled -> c.code, 'false') = 'true' AS is_on
        FROM public.n_jtd_source_types AS s
        JOIN public.n_jtd_event_types AS e ON e.code = p_event
        LEFT JOIN public.n_jtd_tenant_source_config AS ts
            ON ts.tenant_id = p_tenant AND ts.source_type_code = s.code AND ts.is_live = p_is_live AND ts.is_active
        LEFT JOIN public.n_jtd_tenant_config AS t
            ON t.tenant_id = p_tenant AND t.is_live = p_is_live AND t.is_active
        CROSS JOIN LATERAL unnest(coalesce(ts.channels_enabled, s.default_channels)) WITH ORDINALITY AS d (code, place)
        JOIN public.n_jtd_channels AS c ON c.code = d.code AND c.is_active
        WHERE s.code = p_source AND c.code = ANY (e.allowed_channels)
        GROUP BY c.code, c.recipient_key, c.recipient_pattern, s.bypasses_gates, t.id, t.channels_enabled
    )
    SELECT c.code, reach.recipient
    FROM candidate AS c
    LEFT JOIN LATERAL (
        SELECT r.recipient
        FROM (VALUES
            (1, jtd.recipient(c.recipient_key, p_contact, p_recipient_id, p_payload)),
            (2, jtd.recipient(c.recipient_key, NULL, p_recipient_id, p_payload))) AS r (turn, recipient)
        WHERE length(r.recipient) <= 500 AND r.recipient ~ c.recipient_pattern
        ORDER BY r.turn LIMIT 1) AS reach ON true
    WHERE c.is_on OR NOT EXISTS (SELECT FROM candidate AS o WHERE o.is_on)
    ORDER BY reach.recipient IS NULL, c.place
$$;
REVOKE ALL ON FUNCTION jtd.route(text, text, uuid, boolean, text, uuid, jsonb) FROM PUBLIC;
