-- Lets each row inserted into a service's own table make a job: puts the trigger of a source type on its source_table.
-- Called by: the owner, operators.  Locks: the table against writes for a moment; waits at most 5 s for that.
-- Again is allowed, and moves the trigger when source_table names another table. Returns the table. Refused with JT060
-- (no such source type or table) or JT061 (the mapping does not fit the table). The owner of this function needs the
-- right TRIGGER on the table; reading a column runs the casts of its type with his rights, so trust the table's owner.
CREATE OR REPLACE FUNCTION jtd.attach_source(p_source_type text) RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
DECLARE
    wanted regclass;
    mistake text;
    former record;
BEGIN
    SELECT jtd.source_relation(s.source_table) INTO wanted
    FROM public.n_jtd_source_types AS s WHERE s.code = p_source_type;
    IF NOT EXISTS (
        SELECT FROM pg_catalog.pg_class AS c
        WHERE c.oid = wanted AND c.relkind IN ('r', 'p') AND c.relnamespace <> ALL (
            ARRAY['jtd', 'pgmq', 'pg_catalog']::regnamespace[])
            AND (c.relnamespace <> 'public'::regnamespace OR c.relname !~ '^n_(jtd|inapp_|system_)'))
    THEN
        RAISE EXCEPTION 'source type % has no table of a service to attach to', quote_literal(p_source_type)
            USING ERRCODE = 'JT060', HINT = 'Set n_jtd_source_types.source_table to one that is there, with its '
                'schema unless that is public.';
    END IF;
    mistake := jtd.source_mistake(p_source_type, wanted);
    IF mistake IS NOT NULL THEN
        RAISE EXCEPTION 'source type % cannot be attached to %: %', p_source_type, wanted, mistake
            USING ERRCODE = 'JT061', HINT = 'Correct the row of n_jtd_source_types; docs/sources.md tells what '
                'payload_mapping may hold.';
    END IF;
    FOR former IN
        SELECT * FROM jtd.attached_sources() AS a WHERE a.source_type_code = p_source_type AND a.relation <> wanted
    LOOP
        EXECUTE format('DROP TRIGGER %I ON %s', former.trigger_name, former.relation);
    END LOOP;
    EXECUTE format('CREATE OR REPLACE TRIGGER %I AFTER INSERT ON %s REFERENCING NEW TABLE AS new_rows '
        'FOR EACH STATEMENT EXECUTE FUNCTION jtd.source_inserted(%L)',
        'jtd_source_' || CASE WHEN octet_length(p_source_type) > 50 THEN md5(p_source_type) ELSE p_source_type END,
        wanted, p_source_type);
    UPDATE public.n_jtd_source_types AS s SET attached_at = now(), updated_at = now() WHERE s.code = p_source_type;
    RETURN wanted::text;
END
$$;
REVOKE ALL ON FUNCTION jtd.attach_source(text) FROM PUBLIC;
