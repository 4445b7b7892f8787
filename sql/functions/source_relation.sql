-- The table that n_jtd_source_types.source_table names: of schema public, unless it names another.
-- Called by: jtd.attach_source, jtd.masters_v1.  Locks: nothing.  NULL when there is none, or it is no name.
CREATE OR REPLACE FUNCTION jtd.source_relation(p_name text) RETURNS regclass
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    parts text[];
BEGIN
    parts := parse_ident(p_name);
    RETURN to_regclass(CASE cardinality(parts)
        WHEN 1 THEN format('public.%I', parts[1]) WHEN 2 THEN format('%I.%I', parts[1], parts[2]) END);
EXCEPTION WHEN data_exception THEN
    RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION jtd.source_relation(text) FROM PUBLIC;
