-- Where a payload does not fit its schema, without quoting any value; an empty array when it fits.
-- Called by: jtd.flag_payload.  Locks: nothing.  Any JSON at all is allowed for both: a producer's INSERT must not fail
-- for a bad schema, so a keyword of another shape than JSON Schema's is passed over. Looks at the first 1,000 values
-- and 8 levels down, and names at most 10 places. Keys that the schema does not know may be data: only one that looks
-- like a name is named.
CREATE OR REPLACE FUNCTION jtd.misfits(p_schema jsonb, p_payload jsonb) RETURNS text[]
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
    WITH RECURSIVE node (path, schema, value, depth) AS (
        SELECT 'payload', p_schema, p_payload, 0
        UNION ALL
        SELECT c.path, c.schema, c.value, n.depth + 1
        FROM node AS n
        CROSS JOIN LATERAL (
            SELECT n.path || '.' || left(p.key, 50), p.value, n.value -> p.key
            FROM jsonb_each(CASE WHEN jsonb_typeof(n.schema -> 'properties') = 'object'
                THEN n.schema -> 'properties' ELSE '{}' END) AS p
            WHERE jsonb_typeof(n.value) = 'object' AND n.value ? p.key
            UNION ALL
            SELECT format('%s[%s]', n.path, i.place - 1), n.schema -> 'items', i.value
            FROM jsonb_array_elements(CASE WHEN jsonb_typeof(n.value) = 'array' AND n.schema -> 'items' IS NOT NULL
                THEN n.value ELSE '[]' END) WITH ORDINALITY AS i (value, place)) AS c (path, schema, value)
        WHERE n.depth < 8
    )
    SELECT ARRAY(
        SELECT n.path || m.misfit
        FROM (
            SELECT l.*, jsonb_typeof(l.value) AS "is" FROM node AS l WHERE jsonb_typeof(l.schema) = 'object' LIMIT 1000
            ) AS n
        CROSS JOIN LATERAL (
            SELECT format(' is %s, not %s', n.is, (
                SELECT string_agg(left(t.value, 20), ' or ')
                FROM (SELECT e.value FROM jsonb_array_elements_text(y.types) AS e (value) LIMIT 7) AS t)) AS misfit
            FROM (SELECT CASE jsonb_typeof(n.schema -> 'type') WHEN 'array' THEN n.schema -> 'type'
                WHEN 'string' THEN jsonb_build_array(n.schema -> 'type') END AS types) AS y
            WHERE NOT (y.types ? n.is OR (y.types ? 'integer' AND CASE n.is WHEN 'number'
                THEN (n.value #>> '{}')::numeric = trunc((n.value #>> '{}')::numeric) ELSE false END))
            UNION ALL
            SELECT format('.%s is missing', left(r.value #>> '{}', 50))
            FROM jsonb_array_elements(CASE WHEN n.is = 'object' AND jsonb_typeof(n.schema -> 'required') = 'array'
                THEN n.schema -> 'required' ELSE '[]' END) AS r (value)
            WHERE jsonb_typeof(r.value) = 'string' AND NOT n.value ? (r.value #>> '{}')
            UNION ALL
            SELECT CASE WHEN k.key ~ '^[A-Za-z_][A-Za-z0-9_]{0,49}$' THEN format('.%s is not known', k.key)
                ELSE ' has a key that is not known' END
            FROM jsonb_each(CASE WHEN n.is = 'object' AND n.schema -> 'additionalProperties' = 'false'
                THEN n.value ELSE '{}' END) AS k
            WHERE coalesce(NOT n.schema -> 'properties' ? k.key, true)
            UNION ALL
            SELECT ' is not one of those allowed'
            WHERE jsonb_typeof(n.schema -> 'enum') = 'array' AND NOT EXISTS (
                SELECT FROM jsonb_array_elements(CASE WHEN jsonb_typeof(n.schema -> 'enum') = 'array'
                    THEN n.schema -> 'enum' ELSE '[]' END) AS e (value)
                WHERE e.value = n.value)
            UNION ALL
            SELECT format(b.text, b.bound)
            FROM (
                SELECT x.*, CASE WHEN jsonb_typeof(n.schema -> x.keyword) = 'number'
                    THEN (n.schema ->> x.keyword)::numeric END AS bound
                FROM (VALUES
                    ('minLength', 'string', 1, ' is shorter than %s'),
                    ('maxLength', 'string', -1, ' is longer than %s'),
                    ('minimum', 'number', 1, ' is less than %s'),
                    ('maximum', 'number', -1, ' is more than %s')) AS x (keyword, "is", sign, text)) AS b
            CROSS JOIN LATERAL (SELECT CASE n.is WHEN 'string' THEN length(n.value #>> '{}')::numeric
                WHEN 'number' THEN (n.value #>> '{}')::numeric END AS size) AS z
            WHERE b.is = n.is AND (b.bound - z.size) * b.sign > 0
        ) AS m
        LIMIT 10)
$$;
REVOKE ALL ON FUNCTION jtd.misfits(jsonb, jsonb) FROM PUBLIC;
