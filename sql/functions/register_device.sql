-- Notes that a device shows pushes to a user, and returns its id; again with each start of an app, so that it stays known.
-- Called by: services.  Locks: the row of its token.
-- p_family: fcm, p_token being the registration token; or webpush, p_token being the endpoint of the subscription and
-- p_keys its keys {p256dh, auth}. A token that was another user's, or another tenant's, is his no more. Raises JT070 for
-- what no message could be sent to.
CREATE OR REPLACE FUNCTION jtd.register_device(
    p_tenant uuid, p_user uuid, p_family text, p_token text, p_keys jsonb DEFAULT NULL, p_platform text DEFAULT NULL,
    p_label text DEFAULT NULL) RETURNS uuid
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    token CONSTANT text := jtd.trimmed(p_token);
    device uuid;
BEGIN
    IF p_family IN ('fcm', 'webpush') IS NOT TRUE THEN
        PERFORM jtd.refuse('JT070', 'family of devices', p_family, ARRAY['fcm', 'webpush']);
    END IF;
    IF p_tenant IS NULL OR p_user IS NULL OR (token ~ '^[!-~]+$' AND length(token) <= 2000) IS NOT TRUE THEN
        RAISE EXCEPTION 'a device needs a tenant, a user, and a token'
            USING ERRCODE = 'JT070', HINT = 'A token has up to 2,000 ASCII characters without blanks.';
    END IF;
    IF p_family = 'webpush' AND (
        token ~ '^(https://[^/@]+|http://(localhost|127[.]0[.]0[.]1)(:[0-9]+)?)/'
        AND jsonb_typeof(p_keys) = 'object'
        AND p_keys ->> 'p256dh' ~ '^[A-Za-z0-9_-]{87}=?$' AND p_keys ->> 'auth' ~ '^[A-Za-z0-9_-]{22}(==)?$') IS NOT TRUE
    THEN
        RAISE EXCEPTION 'a subscription needs its https endpoint and its keys'
            USING ERRCODE = 'JT070',
                HINT = 'As PushSubscription.toJSON() has them: endpoint, and keys {"p256dh": ..., "auth": ...} in base64url.';
    END IF;
    INSERT INTO public.n_push_devices AS d (tenant_id, user_id, family, token, keys, platform, label)
    VALUES (p_tenant, p_user, p_family, token, CASE WHEN p_family = 'webpush'
            THEN jsonb_build_object('p256dh', p_keys ->> 'p256dh', 'auth', p_keys ->> 'auth') ELSE '{}' END,
        left(p_platform, 50), left(p_label, 200))
    ON CONFLICT ON CONSTRAINT n_push_devices_token_key DO UPDATE
    SET tenant_id = excluded.tenant_id, user_id = excluded.user_id, family = excluded.family, keys = excluded.keys,
        platform = coalesce(excluded.platform, d.platform), label = coalesce(excluded.label, d.label),
        -- never the same moment twice, whatever the clock does: it tells registrations apart
        last_registered_at = greatest(excluded.last_registered_at, d.last_registered_at + interval '1 microsecond')
    RETURNING d.id INTO device;
    RETURN device;
END
$$;
REVOKE ALL ON FUNCTION jtd.register_device(uuid, uuid, text, text, jsonb, text, text) FROM PUBLIC;
