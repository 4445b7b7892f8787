-- Creates the devices that users have registered for push.

CREATE TABLE IF NOT EXISTS public.n_push_devices (
    id uuid PRIMARY KEY DEFAULT jtd.uuid7(),
    tenant_id uuid NOT NULL,
    user_id uuid NOT NULL,
    family varchar(50) NOT NULL,
    token text NOT NULL CONSTRAINT n_push_devices_token_key UNIQUE,
    keys jsonb NOT NULL DEFAULT '{}',
    platform varchar(50),
    label varchar(200),
    last_registered_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX IF NOT EXISTS n_push_devices_user_idx ON public.n_push_devices (user_id, tenant_id);
COMMENT ON TABLE public.n_push_devices IS 'Where pushes to a user go: written by jtd.register_device and jtd.forget_device; settling deletes what a provider says is gone.';
COMMENT ON COLUMN public.n_push_devices.family IS 'fcm or webpush: providers of this family reach it.';
COMMENT ON COLUMN public.n_push_devices.token IS 'The registration token (fcm) or the endpoint of the subscription (webpush); it belongs to one user of one tenant, who registered it last.';
COMMENT ON COLUMN public.n_push_devices.keys IS 'Of webpush p256dh and auth of the subscription, base64url; with them anyone can write to it.';
COMMENT ON COLUMN public.n_push_devices.platform IS 'Describes only: android, ios, web ...';
COMMENT ON COLUMN public.n_push_devices.label IS 'Describes only; for screens.';
COMMENT ON COLUMN public.n_push_devices.last_registered_at IS 'Changes with each registration: a device that was registered again since is not gone.';

-- See 001: hosts that publish the schema public grant every new table to their web roles.
DO $rights$
DECLARE
    web_role text;
BEGIN
    FOR web_role IN SELECT rolname FROM pg_catalog.pg_roles WHERE rolname IN ('anon', 'authenticated') LOOP
        EXECUTE pg_catalog.format('REVOKE ALL ON public.n_push_devices FROM %I', web_role);
    END LOOP;
END
$rights$;

INSERT INTO jtd.migrations (name) VALUES ('017_create_push_devices') ON CONFLICT DO NOTHING;
