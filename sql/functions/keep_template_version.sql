-- A changed text is a new version, and so is another approved template: the former one is kept for rows rendered from it.
-- Called by: the trigger of an UPDATE of n_jtd_templates, before each row that it changes so.  Locks: nothing.
CREATE OR REPLACE FUNCTION jtd.keep_template_version() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM jtd.keep_version(OLD, jtd.layouts(OLD.tenant_id, OLD.channel_code, OLD.locale));
    NEW.version := OLD.version + 1;
    NEW.updated_at := now();
    RETURN NEW;
END
$$;
REVOKE ALL ON FUNCTION jtd.keep_template_version() FROM PUBLIC;
