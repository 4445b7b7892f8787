-- Keeps since when VaNi carries out work of a source type for a tenant, and lets her look at what waits, and at what lies
-- ahead when it is to be reminded of at other moments.
-- Called by: BEFORE INSERT OR UPDATE OR DELETE row trigger on public.n_jtd_tenant_source_config.  Locks: nothing.
CREATE OR REPLACE FUNCTION jtd.vani_source_configured() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    before timestamptz;
    offsets_before interval[];
BEGIN
    IF TG_OP <> 'INSERT' THEN
        before := OLD.auto_execute_since;
        offsets_before := CASE WHEN OLD.is_active THEN OLD.reminder_offsets END;
    END IF;
    IF TG_OP = 'DELETE' THEN
        IF offsets_before IS NOT NULL THEN
            INSERT INTO jtd.vani_switches (tenant_id, is_live) VALUES (OLD.tenant_id, OLD.is_live);
        END IF;
        RETURN OLD;
    END IF;
    NEW.auto_execute_since := CASE WHEN NEW.auto_execute AND NEW.is_active THEN coalesce(before, now()) END;
    IF (NEW.auto_execute_since IS NOT NULL AND before IS NULL)
        OR offsets_before IS DISTINCT FROM (CASE WHEN NEW.is_active THEN NEW.reminder_offsets END)
    THEN
        INSERT INTO jtd.vani_switches (tenant_id, is_live) VALUES (NEW.tenant_id, NEW.is_live);
    END IF;
    RETURN NEW;
END
$$;
REVOKE ALL ON FUNCTION jtd.vani_source_configured() FROM PUBLIC;
