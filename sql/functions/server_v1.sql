-- Which life of the server this is: the timeline of its log, and how far that is on disk, in bytes.
-- Called by: the worker, when it has connected to a server that was started anew.  Locks: nothing.
-- Another timeline or a smaller number tells that what was written last may be lost. What a host hides is 0.
CREATE OR REPLACE FUNCTION jtd.server_v1(OUT timeline integer, OUT flushed bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    timeline := (SELECT h.timeline FROM jtd.here() AS h);
    flushed := pg_wal_lsn_diff(pg_current_wal_flush_lsn(), '0/0');
EXCEPTION WHEN insufficient_privilege OR object_not_in_prerequisite_state THEN
    flushed := 0;
END
$$;
REVOKE ALL ON FUNCTION jtd.server_v1() FROM PUBLIC;
