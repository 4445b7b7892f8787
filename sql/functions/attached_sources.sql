-- The source types that have a trigger on a service's table, by the catalog.
-- Called by: jtd.attach_source, jtd.detach_source, jtd.keep_source, jtd.masters_v1.  Locks: nothing.  None, no rows.
CREATE OR REPLACE FUNCTION jtd.attached_sources()
RETURNS TABLE (source_type_code text, relation regclass, trigger_name text, is_enabled boolean)
LANGUAGE sql STABLE
AS $$
    SELECT convert_from(substring(t.tgargs FROM 1 FOR length(t.tgargs) - 1), getdatabaseencoding()),  -- ends in NUL
        t.tgrelid::regclass, t.tgname::text, t.tgenabled <> 'D'
    FROM pg_catalog.pg_trigger AS t
    WHERE t.tgfoid = 'jtd.source_inserted()'::regprocedure AND t.tgnargs = 1
$$;
REVOKE ALL ON FUNCTION jtd.attached_sources() FROM PUBLIC;
