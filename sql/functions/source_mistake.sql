-- Why a source type cannot make jobs of the rows of a table; NULL when it can.
-- Called by: jtd.attach_source, jtd.keep_source, jtd.source_inserted, jtd.masters_v1.  Locks: nothing.
-- Whether a value can be cast is asked of Postgres itself, without reading the table.
CREATE OR REPLACE FUNCTION jtd.source_mistake(p_source_type text, p_relation regclass) RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    source public.n_jtd_source_types;
    item record;
BEGIN
    SELECT * INTO source FROM public.n_jtd_source_types AS s WHERE s.code = p_source_type;
    IF NOT FOUND THEN
        RETURN 'n_jtd_source_types has no such row';
    ELSIF jsonb_typeof(source.payload_mapping) = 'object' IS NOT TRUE THEN
        RETURN 'payload_mapping is not a JSON object';
    ELSIF NOT source.payload_mapping ? 'tenant_id' THEN
        RETURN 'payload_mapping does not say where tenant_id comes from';
    ELSIF source.default_event_type IS NULL AND NOT source.payload_mapping ? 'event_type_code' THEN
        RETURN 'there is neither default_event_type nor event_type_code in payload_mapping';
    ELSIF NOT EXISTS (
        SELECT FROM pg_catalog.pg_attribute AS a
        WHERE a.attrelid = p_relation AND a.attname = source.source_id_field AND a.attnum > 0 AND NOT a.attisdropped)
    THEN
        RETURN format('source_id_field is %L, which %s does not have', source.source_id_field, p_relation);
    END IF;

    FOR item IN
        SELECT m.*, concat_ws('.', m.target, m.key) AS name, a.atttypid, a.attnotnull,
            format_type(a.atttypid, a.atttypmod) AS given_type
        FROM jtd.mapped(source.payload_mapping) AS m
        LEFT JOIN pg_catalog.pg_attribute AS a ON a.attrelid = p_relation AND a.attname = m.source_column
            AND a.attnum > 0 AND NOT a.attisdropped
        ORDER BY m.target, m.key
    LOOP
        IF item.type IS NULL THEN
            RETURN format('%s cannot be mapped', item.name);
        ELSIF item.type = 'jsonb' AND item.key IS NULL THEN
            RETURN format('%s is not an object of keys', item.name);
        ELSIF item.source_column IS NULL AND item.constant IS NULL THEN
            RETURN format('%s is neither the name of a column nor {"value": ...}', item.name);
        ELSIF item.source_column IS NOT NULL AND item.given_type IS NULL THEN
            RETURN format('%s comes from column %L, which %s does not have', item.name, item.source_column, p_relation);
        ELSIF item.target = 'when' AND item.atttypid = 'boolean'::regtype IS NOT TRUE THEN
            RETURN 'when is not the name of a boolean column';
        ELSIF item.target = 'tenant_id' AND item.source_column IS NOT NULL
            AND (item.atttypid <> 'uuid'::regtype OR NOT item.attnotnull)
        THEN
            RETURN format('tenant_id comes from column %L, which is not a uuid and NOT NULL', item.source_column);
        ELSIF item.target = 'tenant_id' AND item.constant = 'null' THEN
            RETURN 'tenant_id is null';
        ELSIF item.key IS NULL AND jsonb_typeof(item.constant) IN ('object', 'array') THEN
            RETURN format('%s takes no object and no array', item.name);
        ELSIF item.key IS NULL THEN
            BEGIN
                EXECUTE CASE WHEN item.constant IS NULL
                    THEN format('SELECT CASE WHEN false THEN NULL::%s::%s END', item.given_type, item.type)
                    ELSE format('SELECT %L::%s', item.constant #>> '{}', item.type) END;
            EXCEPTION WHEN cannot_coerce OR data_exception THEN
                RETURN format('%s is %s, and %s cannot be cast to it', item.name, item.type,
                    CASE WHEN item.constant IS NULL THEN format('column %L of type %s', item.source_column,
                        item.given_type) ELSE 'its value' END);
            END;
        END IF;
    END LOOP;
    RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION jtd.source_mistake(text, regclass) FROM PUBLIC;
