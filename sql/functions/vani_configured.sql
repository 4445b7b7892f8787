-- Keeps since when VaNi is on for a tenant, whoever switches, and lets her look at what waits.
-- Called by: BEFORE INSERT OR UPDATE row trigger on public.n_jtd_tenant_config.  Locks: nothing.
CREATE OR REPLACE FUNCTION jtd.vani_configured() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    before jsonb := '{}';
    zone_before text := NEW.timezone;
BEGIN
    IF TG_OP = 'UPDATE' THEN
        before := OLD.vani_since;
        zone_before := OLD.timezone;
    END IF;
    NEW.vani_since := CASE WHEN NEW.vani_enabled AND NEW.is_active THEN (
        SELECT jsonb_object_agg(t.code, coalesce(before -> t.code, to_jsonb(now())))
        FROM unnest(NEW.vani_auto_execute_types || ''::text) AS t (code) WHERE t.code IS NOT NULL)
        ELSE '{}' END;
    IF NEW.vani_since - ARRAY(SELECT jsonb_object_keys(before)) <> '{}' OR NEW.timezone <> zone_before THEN
        INSERT INTO jtd.vani_switches (tenant_id, is_live) VALUES (NEW.tenant_id, NEW.is_live);
    END IF;
    RETURN NEW;
END
$$;
REVOKE ALL ON FUNCTION jtd.vani_configured() FROM PUBLIC;
