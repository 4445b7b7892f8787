-- Lets VaNi look at the work of every tenant when the masters tell other steps or other reminders.
-- Called by: AFTER UPDATE statement triggers on public.n_jtd_source_types and public.n_jtd_status_flows.  Locks: nothing.
CREATE OR REPLACE FUNCTION jtd.vani_masters_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO jtd.vani_switches (tenant_id, is_live) SELECT DISTINCT w.tenant_id, w.is_live FROM jtd.work AS w;
    RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION jtd.vani_masters_changed() FROM PUBLIC;
