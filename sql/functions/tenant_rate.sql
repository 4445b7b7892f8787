-- A tenant's own limit of messages a minute on a channel; NULL for none, also where what is written is no number.
-- Called by: jtd.take_allowance, jtd.take_turns, jtd.admit_queue.  Locks: nothing.
CREATE OR REPLACE FUNCTION jtd.tenant_rate(p_rate_limits jsonb, p_channel text) RETURNS integer
LANGUAGE sql IMMUTABLE
AS $$
    SELECT substring(p_rate_limits ->> p_channel FROM '^[1-9][0-9]{0,8}$')::integer
$$;
REVOKE ALL ON FUNCTION jtd.tenant_rate(jsonb, text) FROM PUBLIC;
