-- Takes the trigger of a source type off the table that it is attached to; jobs that were made stay.
-- Called by: the owner, operators.  Locks: the table for a moment; waits at most 5 s for that.
-- false when it was not attached. The owner of this function must own the table, or be one of its owner's members.
CREATE OR REPLACE FUNCTION jtd.detach_source(p_source_type text) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
DECLARE
    attached record;
BEGIN
    FOR attached IN SELECT * FROM jtd.attached_sources() AS a WHERE a.source_type_code = p_source_type LOOP
        EXECUTE format('DROP TRIGGER %I ON %s', attached.trigger_name, attached.relation);
    END LOOP;
    UPDATE public.n_jtd_source_types AS s SET attached_at = NULL, updated_at = now()
    WHERE s.code = p_source_type AND s.attached_at IS NOT NULL;
    RETURN FOUND;
END
$$;
REVOKE ALL ON FUNCTION jtd.detach_source(text) FROM PUBLIC;
