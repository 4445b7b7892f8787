-- How many seconds the oldest transaction has held back vacuum, as far as the asking role may see; 0 for none.
-- Called by: jtd.status_v1.  Locks: nothing.  Its own session does not count. While one is open for long, what is deleted
-- from queues stays in them, and every read walks past it.
CREATE OR REPLACE FUNCTION jtd.oldest_snapshot() RETURNS double precision
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(extract(epoch FROM greatest(interval '0', clock_timestamp() - least(
        (SELECT min(a.xact_start) FROM pg_stat_activity AS a
            WHERE a.backend_xmin IS NOT NULL AND a.datname = current_database() AND a.pid <> pg_backend_pid()),
        (SELECT min(p.prepared) FROM pg_prepared_xacts AS p WHERE p.database = current_database())))), 0)
$$;
REVOKE ALL ON FUNCTION jtd.oldest_snapshot() FROM PUBLIC;
