-- The INSERT that makes jobs of rows of a service's table, as its source type says now.
-- Called by: jtd.source_inserted.  Locks: nothing.  NULL when there is no such source type.
-- p_from is the FROM item that yields the rows, under the alias r. With p_refused it keeps rows that cannot become
-- jobs as failed ones: no more than what fits for certain, cut where it is too long; $3 is the reason.
-- NULLs stay out of JSON columns. The idempotency key is <source type>:<id of the row>, so one row makes one job.
CREATE OR REPLACE FUNCTION jtd.source_insert(
    p_source_type text, p_relation regclass, p_from text, p_refused boolean DEFAULT false) RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT format('INSERT INTO public.n_jtd (source_type_code, idempotency_key, %s, %s) '
            'SELECT %L, %s, %s, %s FROM %s%s ON CONFLICT DO NOTHING RETURNING id',
        CASE WHEN id.is_uuid THEN 'source_id' ELSE 'source_ref' END,
        string_agg(quote_ident(c.target), ', ' ORDER BY c.target),
        s.code,
        format(CASE WHEN id.is_uuid THEN '%L || r.%I' ELSE
            '%L || CASE WHEN length(r.%2$I::text) > 140 THEN md5(r.%2$I::text) ELSE r.%2$I::text END' END,
            s.code || ':', s.source_id_field),
        format(CASE WHEN id.is_uuid THEN 'r.%I' ELSE 'left(r.%I::text, 200)' END, s.source_id_field),
        string_agg(c.expression, ', ' ORDER BY c.target),
        p_from,
        CASE WHEN s.payload_mapping ? 'when' THEN format(' WHERE r.%I', s.payload_mapping ->> 'when') END)
    FROM public.n_jtd_source_types AS s
    LEFT JOIN public.n_jtd_event_types AS e ON e.code = s.default_event_type
    CROSS JOIN LATERAL (
        SELECT coalesce((
            SELECT a.atttypid = 'uuid'::regtype FROM pg_catalog.pg_attribute AS a
            WHERE a.attrelid = p_relation AND a.attname = s.source_id_field), false) AS is_uuid) AS id
    CROSS JOIN LATERAL (
        SELECT m.target, CASE WHEN m.type = 'jsonb' THEN format(
                '(SELECT coalesce(jsonb_object_agg(o.key, o.value) FILTER (WHERE o.value IS NOT NULL), ''{}'') '
                'FROM (VALUES %s) AS o (key, value))',
                string_agg(format('(%L, %s)', m.key, CASE WHEN m.constant IS NULL
                    THEN format('to_jsonb(r.%I)', m.source_column) ELSE format('%L::jsonb', m.constant) END), ', '))
            ELSE format(CASE m.target WHEN 'is_live' THEN 'coalesce(%s, true)'
                    WHEN 'event_type_code' THEN 'coalesce(%s, ' || quote_nullable(s.default_event_type) || ')'
                    ELSE '%s' END,
                min(format(
                    CASE WHEN p_refused AND m.length IS NOT NULL THEN 'left(%s::text, %s)' ELSE '%s::%3$s' END,
                    CASE WHEN m.constant IS NULL THEN format('r.%I', m.source_column)
                        ELSE quote_nullable(m.constant #>> '{}') END, m.length, m.type)))
            END AS expression
        FROM jtd.mapped(s.payload_mapping) AS m
        WHERE m.target <> 'when' AND (NOT p_refused OR m.target IN (
            'tenant_id', 'event_type_code', 'channel_code', 'recipient_name', 'recipient_contact', 'payload'))
        GROUP BY m.target, m.type
        UNION ALL
        SELECT 'event_type_code', quote_nullable(s.default_event_type)
        WHERE NOT s.payload_mapping ? 'event_type_code'
        UNION ALL
        SELECT 'channel_code', quote_nullable(s.default_channels[1])
        WHERE p_refused AND NOT s.payload_mapping ? 'channel_code'
        UNION ALL
        SELECT f.target, f.expression
        FROM (VALUES ('status_code', '''failed'''), ('error_code', '''source_refused'''), ('error_message', '$3'),
            ('completed_at', 'now()'), ('priority', e.default_priority::text),
            ('max_retries', e.default_max_retries::text)) AS f (target, expression)
        WHERE p_refused AND f.expression IS NOT NULL) AS c
    WHERE s.code = p_source_type AND jsonb_typeof(s.payload_mapping) = 'object'
    GROUP BY s.code, id.is_uuid
$$;
REVOKE ALL ON FUNCTION jtd.source_insert(text, regclass, text, boolean) FROM PUBLIC;
