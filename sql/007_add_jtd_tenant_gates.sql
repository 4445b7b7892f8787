-- Adds what tenants, recipients and operators may set: quiet hours, limits, test recipients, preferences, pauses.

ALTER TABLE public.n_jtd_tenant_config ADD COLUMN IF NOT EXISTS quiet_hours_exempt text[] NOT NULL
    DEFAULT '{urgent,identity}' CHECK (quiet_hours_exempt <@ '{urgent,identity}');
ALTER TABLE public.n_jtd_tenant_config ADD COLUMN IF NOT EXISTS limit_action text NOT NULL
    DEFAULT 'defer' CHECK (limit_action IN ('defer', 'block'));
ALTER TABLE public.n_jtd_tenant_config ADD COLUMN IF NOT EXISTS test_recipients text[] NOT NULL DEFAULT '{}';
ALTER TABLE public.n_jtd_tenant_config ADD COLUMN IF NOT EXISTS rate_limits jsonb NOT NULL DEFAULT '{}';
COMMENT ON COLUMN public.n_jtd_tenant_config.quiet_hours_exempt IS 'What quiet hours do not hold back: urgent (its lane), identity (source types that bypass gates).';
COMMENT ON COLUMN public.n_jtd_tenant_config.limit_action IS 'What happens at daily_limit and monthly_limit: defer waits for the next day or month, block cancels.';
COMMENT ON COLUMN public.n_jtd_tenant_config.test_recipients IS 'Whom test rows may really reach: addresses, numbers, user ids, or @domain for all of one mail domain. Read from the row with is_live = false.';
COMMENT ON COLUMN public.n_jtd_tenant_config.rate_limits IS '{channel: messages a minute} of this tenant; a channel that is not named has no limit of the tenant''s.';
COMMENT ON COLUMN public.n_jtd_tenant_config.daily_limit IS 'The most messages of a day of the tenant''s calendar; identity messages pass and do not count. NULL is no limit.';
COMMENT ON COLUMN public.n_jtd_tenant_config.monthly_limit IS 'The same for a month.';
COMMENT ON COLUMN public.n_jtd_tenant_config.daily_used IS 'Messages taken by workers on last_reset_date, while there is a limit; written by the scheduler, a moment behind.';
COMMENT ON COLUMN public.n_jtd_tenant_config.monthly_used IS 'The same in the month of last_reset_date.';
COMMENT ON COLUMN public.n_jtd_tenant_config.last_reset_date IS 'The day, in the tenant''s calendar, that daily_used counts.';
COMMENT ON COLUMN public.n_jtd_tenant_config.default_priority IS 'Priority of rows that name none; 5 leaves it to the event type.';
COMMENT ON COLUMN public.n_jtd_tenant_config.timezone IS 'Of quiet hours and of the days and months of limits.';
COMMENT ON COLUMN public.n_jtd_tenant_config.quiet_hours_start IS 'From this local time on messages wait for quiet_hours_end, which may be on the next day; equal times are none.';
COMMENT ON COLUMN public.n_jtd_tenant_config.quiet_hours_end IS 'When they go on, spread over ten minutes.';
COMMENT ON COLUMN public.n_jtd_tenant_source_config.channels_enabled IS 'The channels of this source for the tenant, in order; NULL leaves them to the source type.';
COMMENT ON COLUMN public.n_jtd_tenant_source_config.templates IS '{channel: template_key}; stands in for the key that a row names.';
COMMENT ON COLUMN public.n_jtd_tenant_source_config.priority_override IS 'Stands in for the priority that a row names.';
COMMENT ON COLUMN public.n_jtd_tenant_source_config.delay_seconds IS 'A new row waits this long, or until its scheduled_at if that is later.';

ALTER TABLE public.n_jtd ADD COLUMN IF NOT EXISTS route jsonb;
COMMENT ON COLUMN public.n_jtd.route IS '[{channel, recipient}]: the other channels that a row without one was routed to; a sibling goes to each.';
COMMENT ON COLUMN public.n_jtd.parent_id IS 'The job that this one was made for: of a sibling on another channel, the row that the producer wrote.';

ALTER TABLE jtd.ready ADD COLUMN IF NOT EXISTS is_exempt boolean NOT NULL DEFAULT false;
CREATE INDEX IF NOT EXISTS ready_exempt_idx
    ON jtd.ready (channel_code, lane, tenant_id, priority DESC, arrived_at) INCLUDE (jtd_id) WHERE is_exempt;
COMMENT ON COLUMN jtd.ready.is_exempt IS 'Goes on while its tenant is at a limit: identity messages, retries, which were counted before, and test rows, which have limits of their own.';

CREATE TABLE IF NOT EXISTS public.n_jtd_suppressions (
    id uuid PRIMARY KEY DEFAULT jtd.uuid7(),
    tenant_id uuid NOT NULL,
    recipient varchar(500) NOT NULL,
    channel_code varchar(50),
    source_type_code varchar(50),
    kind varchar(20) NOT NULL CHECK (kind IN ('bounce', 'complaint', 'opt_out', 'opt_in')),
    since timestamptz NOT NULL DEFAULT now(),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    created_by uuid,
    updated_by uuid,
    CONSTRAINT n_jtd_suppressions_key
        UNIQUE NULLS NOT DISTINCT (tenant_id, recipient, channel_code, source_type_code, kind)
);
COMMENT ON TABLE public.n_jtd_suppressions IS 'Recipients that a tenant''s messages do not go to. Of opt_out and opt_in the closest wins; a bounce or complaint always stands.';
COMMENT ON COLUMN public.n_jtd_suppressions.recipient IS 'Address, number or user id, brought into one form by trigger.';
COMMENT ON COLUMN public.n_jtd_suppressions.channel_code IS 'NULL is every channel.';
COMMENT ON COLUMN public.n_jtd_suppressions.source_type_code IS 'NULL is every source type.';
COMMENT ON COLUMN public.n_jtd_suppressions.kind IS 'bounce, complaint, opt_out; opt_in is an exception from a wider opt_out.';
COMMENT ON COLUMN public.n_jtd_suppressions.since IS 'Describes only; for screens.';

CREATE TABLE IF NOT EXISTS jtd.pauses (
    scope text NOT NULL CHECK (scope IN ('tenant', 'source_type')),
    code text NOT NULL,
    reason text,
    since timestamptz NOT NULL DEFAULT now(),
    paused_by text NOT NULL DEFAULT session_user,
    PRIMARY KEY (scope, code)
);
COMMENT ON TABLE jtd.pauses IS 'Tenants and source types of which nothing is sent; channels have is_paused, providers an entry in jtd.breakers.';

CREATE TABLE IF NOT EXISTS jtd.usage (
    tenant_id uuid NOT NULL,
    is_live boolean NOT NULL,
    period text NOT NULL CHECK (period IN ('day', 'month')),
    begins date NOT NULL,
    used integer NOT NULL DEFAULT 0,
    is_shown boolean NOT NULL DEFAULT false,
    PRIMARY KEY (tenant_id, is_live, period, begins)
) WITH (fillfactor = 50);
CREATE INDEX IF NOT EXISTS usage_unshown_idx ON jtd.usage (tenant_id) WHERE NOT is_shown;
COMMENT ON TABLE jtd.usage IS 'Messages of tenants with a limit, by day and month of their calendar; counted when a worker first takes one.';
COMMENT ON COLUMN jtd.usage.is_shown IS 'Whether the tenant''s settings show this count.';

CREATE TABLE IF NOT EXISTS jtd.tenant_rates (
    tenant_id uuid NOT NULL,
    is_live boolean NOT NULL,
    channel_code text NOT NULL,
    seconds bigint[] NOT NULL DEFAULT '{}',
    counts integer[] NOT NULL DEFAULT '{}',
    PRIMARY KEY (tenant_id, is_live, channel_code)
) WITH (fillfactor = 50);
COMMENT ON TABLE jtd.tenant_rates IS 'What was taken lately of the rate limits of tenants: in which seconds since 1970, and how many messages in each.';

CREATE TABLE IF NOT EXISTS jtd.holds (
    tenant_id uuid NOT NULL,
    is_live boolean NOT NULL,
    channel_code text NOT NULL DEFAULT '',
    reason text NOT NULL CHECK (reason IN ('daily_limit', 'monthly_limit', 'tenant_rate', 'admitted')),
    until timestamptz NOT NULL,
    limits text NOT NULL,
    PRIMARY KEY (tenant_id, is_live, channel_code, reason)
);
COMMENT ON TABLE jtd.holds IS 'Tenants that have used up a limit: nothing of theirs is admitted until then.';
COMMENT ON COLUMN jtd.holds.limits IS 'What the tenant had set then: with other limits it does not count.';
CREATE INDEX IF NOT EXISTS waiting_paused_idx ON jtd.waiting (due) WHERE reason = 'source_paused';
COMMENT ON COLUMN jtd.holds.reason IS 'admitted: a minute''s worth of a rate limit is on its way; what is queued goes on.';
COMMENT ON COLUMN jtd.holds.channel_code IS 'Empty is every channel.';

ALTER TABLE jtd.breakers ADD COLUMN IF NOT EXISTS is_paused boolean NOT NULL DEFAULT false;
ALTER TABLE jtd.breakers ADD COLUMN IF NOT EXISTS pause_reason text;
COMMENT ON COLUMN jtd.breakers.is_paused IS 'A person keeps it open, until jtd.resume_provider.';

DROP FUNCTION IF EXISTS jtd.gate(uuid[]);  -- asks about a moment now

INSERT INTO jtd.migrations (name) VALUES ('007_add_jtd_tenant_gates') ON CONFLICT DO NOTHING;
