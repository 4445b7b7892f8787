-- The devices of the users whom jobs go to, with the priority of each job.
-- Called by: the worker, once for each claimed batch of a channel whose provider sends to devices.  Locks: nothing.
-- A job without devices, or whose recipient is no user id, has no row. Of a user's devices the 50 registered last count.
CREATE OR REPLACE FUNCTION jtd.devices_v1(p_ids uuid[])
RETURNS TABLE (jtd_id uuid, priority integer, id uuid, family text, token text, keys jsonb, registered_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT j.id, j.priority::integer, d.id, d.family::text, d.token, d.keys, d.last_registered_at
    FROM public.n_jtd AS j
    JOIN public.n_jtd_channels AS c ON c.code = j.channel_code
    CROSS JOIN LATERAL (
        SELECT n.*
        FROM public.n_push_devices AS n
        WHERE n.tenant_id = j.tenant_id AND n.user_id = jtd.message_id(jsonb_build_object(
            'jtd_id', jtd.recipient(c.recipient_key, j.recipient_contact, j.recipient_id, j.payload)))
        ORDER BY n.last_registered_at DESC, n.id
        LIMIT 50) AS d
    WHERE j.id = ANY (p_ids)
    ORDER BY j.id, d.last_registered_at DESC, d.id
$$;
REVOKE ALL ON FUNCTION jtd.devices_v1(uuid[]) FROM PUBLIC;
