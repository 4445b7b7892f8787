-- What of a payload_schema is wrong or not supported, each with its place; an empty array when nothing is.
-- Called by: jtd.keep_schema, jtd.masters_v1.  Locks: nothing.  Any JSON at all is allowed; at most 10 are named.
CREATE OR REPLACE FUNCTION jtd.schema_mistakes(p_schema jsonb) RETURNS text[]
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
    WITH RECURSIVE node (path, schema, depth) AS (
        SELECT 'payload', p_schema, 0
        UNION ALL
        SELECT c.path, c.schema, n.depth + 1
        FROM node AS n
        CROSS JOIN LATERAL (
            SELECT n.path || '.' || left(p.key, 50), p.value
            FROM jsonb_each(CASE WHEN jsonb_typeof(n.schema -> 'properties') = 'object'
                THEN n.schema -> 'properties' ELSE '{}' END) AS p
            UNION ALL
            SELECT n.path || '[]', n.schema -> 'items' WHERE n.schema -> 'items' IS NOT NULL) AS c (path, schema)
        WHERE n.depth <= 8
    )
    SELECT ARRAY(
        SELECT format('%s: %s', n.path, m.mistake)
        FROM node AS n
        CROSS JOIN LATERAL (
            SELECT 'the schema is not an object' AS mistake WHERE jsonb_typeof(n.schema) <> 'object'
            UNION ALL
            SELECT 'it lies deeper than 8 levels' WHERE n.depth > 8
            UNION ALL
            SELECT CASE
                WHEN k.key = 'type' THEN CASE WHEN (
                    SELECT count(*) = 0 OR count(*) > count(*) FILTER (WHERE t.value IN (
                        '"string"', '"number"', '"integer"', '"boolean"', '"object"', '"array"', '"null"'))
                    FROM jsonb_array_elements(CASE WHEN k.is = 'array' THEN k.value ELSE jsonb_build_array(k.value) END)
                        AS t (value))
                    THEN 'type is not one of string, number, integer, boolean, object, array, null, or a list of these'
                    END
                WHEN k.key = 'required' THEN CASE WHEN k.is <> 'array' OR EXISTS (
                    SELECT FROM jsonb_array_elements(CASE WHEN k.is = 'array' THEN k.value ELSE '[]' END) AS r (value)
                    WHERE jsonb_typeof(r.value) <> 'string') THEN 'required is not a list of names' END
                WHEN k.key = 'properties' THEN CASE WHEN k.is <> 'object' THEN 'properties is not an object' END
                WHEN k.key = 'enum' THEN CASE WHEN k.is <> 'array' THEN 'enum is not a list' END
                WHEN k.key IN ('minLength', 'maxLength', 'minimum', 'maximum') THEN
                    CASE WHEN k.is <> 'number' THEN format('%s is not a number', k.key) END
                WHEN k.key = 'additionalProperties' THEN
                    CASE WHEN k.is <> 'boolean' THEN 'additionalProperties is neither true nor false' END
                WHEN k.key NOT IN ('items', 'title', 'description', 'default', 'examples', '$schema', '$id', '$comment')
                    THEN format('keyword %L is not supported', left(k.key, 50))
            END
            FROM (
                SELECT e.key, e.value, jsonb_typeof(e.value) AS "is"
                FROM jsonb_each(CASE WHEN jsonb_typeof(n.schema) = 'object' THEN n.schema ELSE '{}' END) AS e) AS k
        ) AS m
        WHERE m.mistake IS NOT NULL
        LIMIT 10)
$$;
REVOKE ALL ON FUNCTION jtd.schema_mistakes(jsonb) FROM PUBLIC;
