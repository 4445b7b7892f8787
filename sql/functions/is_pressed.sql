-- Whether jobs wait for room in a queue from which messages are being read: then a second is long until the next tick.
-- Called by: jtd.tick_v1.  Locks: nothing.  Not so where nobody reads: admission would look in vain.
CREATE OR REPLACE FUNCTION jtd.is_pressed() RETURNS boolean
LANGUAGE sql STABLE
AS $$
    SELECT EXISTS (
        SELECT FROM jtd.queues AS q
        WHERE q.measured_at > clock_timestamp() - interval '2 s' AND EXISTS (
            SELECT FROM jtd.ready_tenants(q.channel_code, q.lane, q.next_tenant, 1)))
$$;
REVOKE ALL ON FUNCTION jtd.is_pressed() FROM PUBLIC;
