-- Refuses a change of an attached source type with which the INSERTs of its service would fail.
-- Called by: AFTER UPDATE OR DELETE row trigger on public.n_jtd_source_types.  Locks: nothing.
CREATE OR REPLACE FUNCTION jtd.keep_source() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    attached record;
BEGIN
    FOR attached IN
        SELECT a.relation, jtd.source_mistake(a.source_type_code, a.relation) AS mistake
        FROM jtd.attached_sources() AS a
        WHERE a.source_type_code = OLD.code
    LOOP
        IF attached.mistake IS NOT NULL THEN
            RAISE EXCEPTION 'source type % is attached to %: %', OLD.code, attached.relation, attached.mistake
                USING ERRCODE = 'JT061', HINT = format('Correct it, or SELECT jtd.detach_source(%L) first.', OLD.code);
        END IF;
    END LOOP;
    RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION jtd.keep_source() FROM PUBLIC;
