-- Stores receipts and lists them as due; an event that is there already is left as it is.
-- Called by: jtd.accept_receipts_v1.  Locks: nothing.  A time that is none raises SQLSTATE 22.
-- Foreign text is bounded; the recipient's address is taken out of the reason, which goes into audit trails.
CREATE OR REPLACE FUNCTION jtd.store_receipts(p_channel text, p_provider text, p_receipts jsonb)
RETURNS TABLE (accepted integer, known integer)
LANGUAGE sql VOLATILE
AS $$
    WITH told AS MATERIALIZED (
        SELECT r.i, r.value ->> 'kind' AS kind, left(r.value ->> 'provider_message_id', 2000) AS provider_message_id,
            CASE WHEN length(r.value ->> 'event_key') <= 200 THEN r.value ->> 'event_key'
                ELSE left(r.value ->> 'event_key', 167) || '-' || md5(r.value ->> 'event_key') END AS event_key,
            jtd.message_id(jsonb_build_object('jtd_id', r.value -> 'reference')) AS reference,
            nullif(left(r.value ->> 'recipient', 500), '') AS recipient,
            CASE WHEN r.value ->> 'at' ~ '^[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}[T ][0-9:.]{5,20}(Z|[+-][0-9]{2}(:?[0-9]{2})?)$'
                THEN (r.value ->> 'at')::timestamptz END AS occurred_at,
            left(r.value ->> 'code', 100) AS code, left(r.value ->> 'reason', 2000) AS reason,
            CASE WHEN jsonb_typeof(r.value -> 'details') = 'object' AND pg_column_size(r.value -> 'details') <= 100000
                THEN r.value -> 'details' ELSE '{}' END AS details
        FROM jsonb_array_elements(p_receipts) WITH ORDINALITY AS r (value, i)
        WHERE jsonb_typeof(r.value) = 'object' AND r.value ->> 'event_key' <> '' AND r.value ->> 'kind' IN ('sent',
            'delivered', 'read', 'bounced', 'soft_bounced', 'failed', 'complained', 'unsubscribed', 'deferred')
    ), stored AS (
        INSERT INTO public.n_jtd_receipts (
            channel_code, provider, event_key, kind, provider_message_id, message_key, reference, recipient, occurred_at,
            code, reason, details)
        SELECT p_channel, substring(p_provider FROM '^[^.@]*'), t.event_key, t.kind, t.provider_message_id,
            jtd.message_key(p_channel, p_provider, t.provider_message_id), t.reference, t.recipient, t.occurred_at,
            t.code, coalesce(replace(t.reason, t.recipient, '(recipient)'), t.reason), t.details
        FROM (SELECT DISTINCT ON (x.event_key) x.* FROM told AS x ORDER BY x.event_key, x.i) AS t
        ORDER BY t.event_key  -- who brings the same events meanwhile takes them in the same order
        ON CONFLICT ON CONSTRAINT n_jtd_receipts_key DO NOTHING
        RETURNING id
    ), listed AS (
        INSERT INTO jtd.receipts_due (receipt_id) SELECT s.id FROM stored AS s
    )
    SELECT (SELECT count(*) FROM stored)::integer,
        (SELECT count(*) FROM told)::integer - (SELECT count(*) FROM stored)::integer
$$;
REVOKE ALL ON FUNCTION jtd.store_receipts(text, text, jsonb) FROM PUBLIC;
