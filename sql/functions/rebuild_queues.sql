-- Makes the queues and lists complete again from n_jtd alone, a step at a time.
-- Called by: jtd-worker rebuild-queues, until it says that it is done.  Locks: as jtd.sweep.
-- p_begin: true for the first step, which makes missing queues and begins with the newest job. What is there stays:
-- a message too many is harmless. found counts the jobs that were on no list.
CREATE OR REPLACE FUNCTION jtd.rebuild_queues(p_begin boolean) RETURNS TABLE (found bigint, is_done boolean)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF p_begin THEN
        PERFORM jtd.make_queues();
        UPDATE jtd.sweeps AS s SET is_running = true, below = NULL, found = 0, began_at = clock_timestamp();
    END IF;
    PERFORM jtd.sweep(5000);
    RETURN QUERY SELECT s.found, NOT s.is_running FROM jtd.sweeps AS s;
END
$$;
REVOKE ALL ON FUNCTION jtd.rebuild_queues(boolean) FROM PUBLIC;
