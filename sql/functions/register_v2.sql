-- Enters a worker with its lease; registering again is starting again.
-- Called by: the worker at its start.  Locks: the worker's own row.
-- p_outbox_channels: those of its channels whose messages all go to the outbox.
CREATE OR REPLACE FUNCTION jtd.register_v2(
    p_worker uuid, p_name text, p_channels text[], p_outbox_channels text[], p_lease_seconds integer) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    INSERT INTO jtd.workers AS w (id, name, channels, outbox_channels, lease_seconds, lease_until)
    VALUES (p_worker, p_name, p_channels, p_outbox_channels, p_lease_seconds,
        clock_timestamp() + make_interval(secs => p_lease_seconds))
    ON CONFLICT (id) DO UPDATE
    SET name = excluded.name, channels = excluded.channels, outbox_channels = excluded.outbox_channels,
        lease_seconds = excluded.lease_seconds, started_at = excluded.started_at, lease_until = excluded.lease_until
$$;
REVOKE ALL ON FUNCTION jtd.register_v2(uuid, text, text[], text[], integer) FROM PUBLIC;
