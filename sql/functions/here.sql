-- Which database this is: the cluster's system identifier, the database's oid, and the timeline of its log.
-- Called by: jtd.is_adopted, jtd.know_instance, jtd.adopt, jtd.watch_instance, jtd.server_v1.  Locks: nothing.
-- A host that keeps these to itself gives zeros, and so is never found to be another.
CREATE OR REPLACE FUNCTION jtd.here(OUT system_identifier bigint, OUT database_oid oid, OUT timeline integer)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    database_oid := (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database());
    system_identifier := (SELECT s.system_identifier FROM pg_control_system() AS s);
    timeline := ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::integer;
EXCEPTION WHEN insufficient_privilege OR object_not_in_prerequisite_state THEN  -- the latter: a standby
    system_identifier := coalesce(system_identifier, 0);
    timeline := 0;
END
$$;
REVOKE ALL ON FUNCTION jtd.here() FROM PUBLIC;
