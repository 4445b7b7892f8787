-- Keeps since when VaNi carries out work of a source type for a tenant, and lets her look at what waits.
-- Called by: BEFORE INSERT OR UPDATE row trigger on public.n_jtd_tenant_source_config.  Locks: nothing.
CREATE OR REPLACE FUNCTION jtd.vani_source_configured() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    before timestamptz;
BEGIN
    IF TG_OP = 'UPDATE' THEN
        before := OLD.auto_execute_since;
    END IF;
    NEW.auto_execute_since := CASE WHEN NEW.auto_execute AND NEW.is_active THEN coalesce(before, now()) END;
    IF NEW.auto_execute_since IS NOT NULL AND before IS NULL THEN
        INSERT INTO jtd.vani_switches (tenant_id, is_live) VALUES (NEW.tenant_id, NEW.is_live);
    END IF;
    RETURN NEW;
END
$$;
REVOKE ALL ON FUNCTION jtd.vani_source_configured() FROM PUBLIC;
