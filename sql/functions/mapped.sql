-- What a payload_mapping says, one row for each value: where it goes, and the column or constant that it comes from.
-- Called by: jtd.source_insert, jtd.source_mistake.  Locks: nothing.  Any JSON at all is allowed; no object, no rows.
-- target is a column of n_jtd (or "when"), key one inside it for columns that are JSON. type is NULL for a target that
-- may not be mapped; length is how many characters it holds, if that is bounded. One that is neither a column's name
-- nor {"value": ...} has neither source_column nor constant.
CREATE OR REPLACE FUNCTION jtd.mapped(p_mapping jsonb)
RETURNS TABLE (target text, key text, source_column text, constant jsonb, type text, length integer)
LANGUAGE sql STABLE
AS $$
    SELECT v.target, v.key,
        CASE WHEN jsonb_typeof(v.value) = 'string' THEN v.value #>> '{}' END,
        CASE WHEN jsonb_typeof(v.value) = 'object' AND v.value - 'value' = '{}' THEN v.value -> 'value' END,
        CASE WHEN v.target = 'when' THEN 'boolean' ELSE format_type(a.atttypid, NULL) END,
        CASE WHEN a.atttypid = 'varchar'::regtype THEN a.atttypmod - 4 END  -- a typmod counts its own four bytes
    FROM (
        SELECT o.key AS target, i.key, CASE WHEN i.key IS NULL THEN o.value ELSE i.value END AS value
        FROM jsonb_each(CASE WHEN jsonb_typeof(p_mapping) = 'object' THEN p_mapping ELSE '{}' END) AS o
        CROSS JOIN LATERAL (
            SELECT o.key IN ('payload', 'template_variables', 'metadata', 'business_context')
                AND jsonb_typeof(o.value) = 'object' AS has_keys) AS h
        LEFT JOIN LATERAL jsonb_each(CASE WHEN h.has_keys THEN o.value ELSE '{}' END) AS i ON true
        WHERE NOT h.has_keys OR i.key IS NOT NULL) AS v
    LEFT JOIN pg_catalog.pg_attribute AS a ON a.attrelid = 'public.n_jtd'::regclass AND a.attname = v.target
        AND v.target IN (
            'tenant_id', 'event_type_code', 'channel_code', 'jtd_number', 'recipient_type', 'recipient_id',
            'recipient_name', 'recipient_contact', 'scheduled_at', 'expires_at', 'priority', 'max_retries',
            'template_id', 'template_key', 'locale', 'is_live', 'payload', 'template_variables', 'metadata', 'business_context')
$$;
REVOKE ALL ON FUNCTION jtd.mapped(jsonb) FROM PUBLIC;
