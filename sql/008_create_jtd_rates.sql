-- Creates the rates of credentials: how many messages a minute each may be handed, and how many it was.

CREATE TABLE IF NOT EXISTS public.n_jtd_rate_limits (
    channel_code varchar(50) NOT NULL REFERENCES public.n_jtd_channels (code),
    provider varchar(50) NOT NULL,
    per_minute integer CHECK (per_minute > 0),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    created_by uuid,
    updated_by uuid,
    PRIMARY KEY (channel_code, provider)
);
COMMENT ON TABLE public.n_jtd_rate_limits IS 'Credentials with a limit of their own, instead of rate_limit_per_minute of their channel; set by the owner.';
COMMENT ON COLUMN public.n_jtd_rate_limits.provider IS 'As in JTD_PROVIDERS without the channel: smtp, or smtp.backup with a credential of its own.';
COMMENT ON COLUMN public.n_jtd_rate_limits.per_minute IS 'The most messages in any minute; NULL is no limit, whatever the channel has.';
COMMENT ON COLUMN public.n_jtd_channels.rate_limit_per_minute IS 'The most messages in any minute that are handed to one credential; NULL is no limit. n_jtd_rate_limits overrides it.';

-- See 001: hosts that publish the schema public grant every new table to their web roles.
DO $rights$
DECLARE
    web_role text;
BEGIN
    FOR web_role IN SELECT rolname FROM pg_catalog.pg_roles WHERE rolname IN ('anon', 'authenticated') LOOP
        EXECUTE pg_catalog.format('REVOKE ALL ON public.n_jtd_rate_limits FROM %I', web_role);
    END LOOP;
END
$rights$;

CREATE TABLE IF NOT EXISTS jtd.rates (
    channel_code text NOT NULL,
    provider text NOT NULL,
    seconds bigint[] NOT NULL DEFAULT '{}',
    counts integer[] NOT NULL DEFAULT '{}',
    PRIMARY KEY (channel_code, provider),
    CHECK (cardinality(seconds) = cardinality(counts))
) WITH (fillfactor = 50);
COMMENT ON TABLE jtd.rates IS 'What was taken of the limit of each credential lately; workers take before they claim, and give back what they did not use.';
COMMENT ON COLUMN jtd.rates.seconds IS 'Seconds since 1970 in which something was taken, in order.';
COMMENT ON COLUMN jtd.rates.counts IS 'How many messages were taken in each of these seconds.';

INSERT INTO jtd.migrations (name) VALUES ('008_create_jtd_rates') ON CONFLICT DO NOTHING;
