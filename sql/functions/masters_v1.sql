-- What is attached or checked by the master data, and what is wrong with it.
-- Called by: jtd-worker check.  Locks: nothing.  mistake is NULL where all is well; nothing in use, no rows.
-- subject is source (name: the source type) or schema (name: the event type).
CREATE OR REPLACE FUNCTION jtd.masters_v1()
RETURNS TABLE (subject text, name text, mistake text)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT 'source', coalesce(s.code, a.source_type_code), CASE
        WHEN a.relation IS NULL THEN format('its trigger is gone: %s was dropped, or the trigger was',
            coalesce(s.source_table, 'the table'))
        WHEN NOT a.is_enabled THEN format('its trigger on %s is disabled', a.relation)
        WHEN s.source_table IS NOT NULL AND jtd.source_relation(s.source_table) IS DISTINCT FROM a.relation
            THEN format('it is attached to %s, but source_table says %s', a.relation, s.source_table)
        ELSE jtd.source_mistake(a.source_type_code, a.relation) END
    FROM (SELECT t.code, t.source_table FROM public.n_jtd_source_types AS t WHERE t.attached_at IS NOT NULL) AS s
    FULL JOIN jtd.attached_sources() AS a ON a.source_type_code = s.code
    UNION ALL
    SELECT 'schema', e.code, nullif(array_to_string(jtd.schema_mistakes(e.payload_schema), '; '), '')
    FROM public.n_jtd_event_types AS e
    WHERE e.payload_schema IS NOT NULL
    ORDER BY 1 DESC, 2
$$;
REVOKE ALL ON FUNCTION jtd.masters_v1() FROM PUBLIC;
