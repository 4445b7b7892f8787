-- Creates every n_* table, and the triggers that keep the audit trail.
--
-- With 002 this is enough to accept, audit and flag jobs by plain SQL; 003 adds the queue.
-- Safe to run again. Nothing here is changed after a release: later migrations add to it.

CREATE SCHEMA IF NOT EXISTS jtd;
COMMENT ON SCHEMA jtd IS 'Everything of jtd-worker that is not a table of jobs: its queue lists, functions and ledger.';

CREATE TABLE IF NOT EXISTS jtd.migrations (
    name text PRIMARY KEY,
    checksum text,
    fingerprint text,
    applied_at timestamptz NOT NULL DEFAULT now(),
    applied_by text NOT NULL DEFAULT session_user
);
COMMENT ON TABLE jtd.migrations IS 'Ledger of the SQL files applied; checksum is NULL for a file run by hand until jtd-worker migrate adopts it.';
COMMENT ON COLUMN jtd.migrations.fingerprint IS 'Digest of the function as it stood after the file was applied; tells an edit by hand.';

-- Roles to grant to logins; they own nothing. Where the owner may not create roles, the grants are skipped.
DO $roles$
DECLARE
    role_name text;
BEGIN
    FOREACH role_name IN ARRAY ARRAY['jtd_producer', 'jtd_worker', 'jtd_operator'] LOOP
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = role_name) THEN
            BEGIN
                EXECUTE pg_catalog.format('CREATE ROLE %I NOLOGIN', role_name);
            EXCEPTION
                WHEN insufficient_privilege THEN
                    RAISE NOTICE 'role % was not created: % may not create roles', role_name, session_user;
                WHEN duplicate_object OR unique_violation THEN
                    NULL;  -- another database of this server is being set up at the same time
            END;
        END IF;
    END LOOP;
END
$roles$;

-- Time-ordered ids keep the primary key's inserts on its last page (RFC 9562, version 7).
CREATE OR REPLACE FUNCTION jtd.uuid7() RETURNS uuid
LANGUAGE sql VOLATILE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT encode(
        set_bit(set_bit(
            overlay(uuid_send(gen_random_uuid())
                PLACING substring(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3)
                FROM 1 FOR 6),
            52, 1), 53, 1),
        'hex')::uuid
$$;
COMMENT ON FUNCTION jtd.uuid7() IS 'A version 7 UUID: 48 bits of milliseconds, then random bits.';

-- ---------------------------------------------------------------- masters

CREATE TABLE IF NOT EXISTS public.n_system_actors (
    id uuid PRIMARY KEY,
    code varchar(50) NOT NULL UNIQUE,
    name varchar(100) NOT NULL,
    description text,
    avatar_url text,
    is_active boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    created_by uuid,
    updated_by uuid
);
COMMENT ON TABLE public.n_system_actors IS 'Actors that are not people: VaNi, System, Webhook.';
COMMENT ON COLUMN public.n_system_actors.avatar_url IS 'Describes only; for screens.';

CREATE TABLE IF NOT EXISTS public.n_jtd_event_types (
    code varchar(50) PRIMARY KEY,
    name varchar(100) NOT NULL,
    description text,
    category varchar(50),
    icon varchar(50),
    color varchar(20),
    allowed_channels text[] NOT NULL DEFAULT '{}',
    supports_scheduling boolean NOT NULL DEFAULT false,
    supports_recurrence boolean NOT NULL DEFAULT false,
    supports_batch boolean NOT NULL DEFAULT false,
    payload_schema jsonb,
    default_priority integer NOT NULL DEFAULT 5 CHECK (default_priority BETWEEN 1 AND 10),
    default_max_retries integer NOT NULL DEFAULT 3 CHECK (default_max_retries >= 0),
    retry_delay_seconds integer NOT NULL DEFAULT 300 CHECK (retry_delay_seconds >= 0),
    display_order integer NOT NULL DEFAULT 0,
    is_message boolean NOT NULL DEFAULT true,
    is_active boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    created_by uuid,
    updated_by uuid
);
COMMENT ON TABLE public.n_jtd_event_types IS 'What kinds of job there are, on which channels, and how they are retried.';
COMMENT ON COLUMN public.n_jtd_event_types.is_message IS 'true: the worker sends it. false: work for people or VaNi, never sent as such.';
COMMENT ON COLUMN public.n_jtd_event_types.retry_delay_seconds IS 'Seconds before the first retry; doubles with each attempt used, at most 6 hours.';
COMMENT ON COLUMN public.n_jtd_event_types.category IS 'Describes only.';
COMMENT ON COLUMN public.n_jtd_event_types.icon IS 'Describes only; for screens.';
COMMENT ON COLUMN public.n_jtd_event_types.color IS 'Describes only; for screens.';
COMMENT ON COLUMN public.n_jtd_event_types.supports_scheduling IS 'Describes only.';
COMMENT ON COLUMN public.n_jtd_event_types.supports_recurrence IS 'Describes only.';
COMMENT ON COLUMN public.n_jtd_event_types.supports_batch IS 'Describes only.';
COMMENT ON COLUMN public.n_jtd_event_types.payload_schema IS 'Describes only.';
COMMENT ON COLUMN public.n_jtd_event_types.display_order IS 'Describes only; for screens.';

CREATE TABLE IF NOT EXISTS public.n_jtd_channels (
    code varchar(50) PRIMARY KEY,
    name varchar(100) NOT NULL,
    description text,
    icon varchar(50),
    color varchar(20),
    default_provider varchar(50),
    default_cost_per_unit numeric(10, 4) NOT NULL DEFAULT 0,
    rate_limit_per_minute integer DEFAULT 100 CHECK (rate_limit_per_minute > 0),
    supports_templates boolean NOT NULL DEFAULT true,
    supports_attachments boolean NOT NULL DEFAULT false,
    supports_rich_content boolean NOT NULL DEFAULT false,
    max_content_length integer,
    has_delivery_confirmation boolean NOT NULL DEFAULT false,
    has_read_receipt boolean NOT NULL DEFAULT false,
    display_order integer NOT NULL DEFAULT 0,
    queue_name varchar(40) NOT NULL UNIQUE
        CHECK (queue_name ~ '^[a-z][a-z0-9_]*$' AND queue_name !~ '_(urgent|dlq)$'),
    is_paused boolean NOT NULL DEFAULT false,
    pause_reason text,
    recipient_key varchar(20) NOT NULL DEFAULT 'user' CHECK (recipient_key IN ('email', 'mobile', 'user')),
    recipient_pattern text NOT NULL DEFAULT '\S' CHECK (('' ~ recipient_pattern) IS NOT NULL),
    is_active boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    created_by uuid,
    updated_by uuid
);
COMMENT ON TABLE public.n_jtd_channels IS 'Ways to reach a recipient; inserting a row makes its queues.';
COMMENT ON COLUMN public.n_jtd_channels.queue_name IS 'Its PGMQ queue; the urgent lane is the same name with _urgent.';
COMMENT ON COLUMN public.n_jtd_channels.is_paused IS 'true: nothing of this channel is claimed; set by jtd.pause.';
COMMENT ON COLUMN public.n_jtd_channels.recipient_key IS 'Which kind of address it takes, and so the key of payload.recipient_data to look under.';
COMMENT ON COLUMN public.n_jtd_channels.recipient_pattern IS 'POSIX expression that a usable recipient matches; one that cannot be compiled is refused here.';
COMMENT ON COLUMN public.n_jtd_channels.rate_limit_per_minute IS 'Describes only, as yet: the most messages a minute for one credential; NULL is no limit.';
COMMENT ON COLUMN public.n_jtd_channels.default_provider IS 'Describes only: the worker''s own settings say who serves a channel.';
COMMENT ON COLUMN public.n_jtd_channels.default_cost_per_unit IS 'Describes only, as yet.';
COMMENT ON COLUMN public.n_jtd_channels.supports_templates IS 'Describes only.';
COMMENT ON COLUMN public.n_jtd_channels.supports_attachments IS 'Describes only.';
COMMENT ON COLUMN public.n_jtd_channels.supports_rich_content IS 'Describes only.';
COMMENT ON COLUMN public.n_jtd_channels.max_content_length IS 'Describes only, as yet.';
COMMENT ON COLUMN public.n_jtd_channels.has_delivery_confirmation IS 'Describes only.';
COMMENT ON COLUMN public.n_jtd_channels.has_read_receipt IS 'Describes only.';
COMMENT ON COLUMN public.n_jtd_channels.icon IS 'Describes only; for screens.';
COMMENT ON COLUMN public.n_jtd_channels.color IS 'Describes only; for screens.';
COMMENT ON COLUMN public.n_jtd_channels.display_order IS 'Describes only; for screens.';

CREATE TABLE IF NOT EXISTS public.n_jtd_statuses (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    event_type_code varchar(50),
    code varchar(50) NOT NULL,
    name varchar(100) NOT NULL,
    description text,
    status_type varchar(20) NOT NULL
        CHECK (status_type IN ('initial', 'progress', 'waiting', 'success', 'failure', 'terminal')),
    icon varchar(50),
    color varchar(20),
    is_initial boolean NOT NULL DEFAULT false,
    is_terminal boolean NOT NULL DEFAULT false,
    is_success boolean NOT NULL DEFAULT false,
    is_failure boolean NOT NULL DEFAULT false,
    allows_retry boolean NOT NULL DEFAULT false,
    display_order integer NOT NULL DEFAULT 0,
    is_active boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    created_by uuid,
    updated_by uuid,
    CONSTRAINT n_jtd_statuses_code_key UNIQUE NULLS NOT DISTINCT (event_type_code, code)
);
COMMENT ON TABLE public.n_jtd_statuses IS 'The states of each event type; event_type_code NULL is a state of all.';
COMMENT ON COLUMN public.n_jtd_statuses.is_terminal IS 'A row in this state is final: nothing moves it any more.';
COMMENT ON COLUMN public.n_jtd_statuses.allows_retry IS 'jtd.retry may take a row from here back to pending.';
COMMENT ON COLUMN public.n_jtd_statuses.icon IS 'Describes only; for screens.';
COMMENT ON COLUMN public.n_jtd_statuses.color IS 'Describes only; for screens.';
COMMENT ON COLUMN public.n_jtd_statuses.display_order IS 'Describes only; for screens.';

CREATE TABLE IF NOT EXISTS public.n_jtd_status_flows (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    event_type_code varchar(50) NOT NULL,
    from_status_id uuid NOT NULL REFERENCES public.n_jtd_statuses (id),
    to_status_id uuid NOT NULL REFERENCES public.n_jtd_statuses (id),
    is_automatic boolean NOT NULL DEFAULT false,
    requires_reason boolean NOT NULL DEFAULT false,
    is_active boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    created_by uuid,
    updated_by uuid,
    CONSTRAINT n_jtd_status_flows_step_key UNIQUE (event_type_code, from_status_id, to_status_id)
);
COMMENT ON TABLE public.n_jtd_status_flows IS 'Valid steps per event type; any other step is done all the same, and flagged.';
COMMENT ON COLUMN public.n_jtd_status_flows.is_automatic IS 'Taken by the system; the others are a person''s.';
COMMENT ON COLUMN public.n_jtd_status_flows.requires_reason IS 'Describes only, as yet: a person taking this step should say why.';

CREATE TABLE IF NOT EXISTS public.n_jtd_source_types (
    code varchar(50) PRIMARY KEY,
    name varchar(100) NOT NULL,
    description text,
    default_event_type varchar(50) REFERENCES public.n_jtd_event_types (code),
    source_table varchar(100),
    source_id_field varchar(100) DEFAULT 'id',
    default_channels text[] NOT NULL DEFAULT '{}',
    payload_mapping jsonb,
    bypasses_gates boolean NOT NULL DEFAULT false,
    is_urgent boolean NOT NULL DEFAULT false,
    reminder_offsets interval[],
    is_active boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    created_by uuid,
    updated_by uuid
);
COMMENT ON TABLE public.n_jtd_source_types IS 'What makes a job arise, and the channels it takes when the producer names none.';
COMMENT ON COLUMN public.n_jtd_source_types.bypasses_gates IS 'Identity messages pass the switches of a tenant; only the owner of the database sets this.';
COMMENT ON COLUMN public.n_jtd_source_types.is_urgent IS 'Its messages take the urgent lane whatever their priority.';
COMMENT ON COLUMN public.n_jtd_source_types.source_table IS 'Describes only.';
COMMENT ON COLUMN public.n_jtd_source_types.source_id_field IS 'Describes only.';
COMMENT ON COLUMN public.n_jtd_source_types.payload_mapping IS 'Describes only.';
COMMENT ON COLUMN public.n_jtd_source_types.reminder_offsets IS 'Describes only, as yet: how long before an appointment its reminders go.';

CREATE TABLE IF NOT EXISTS public.n_jtd_templates (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant_id uuid,
    template_key varchar(100) NOT NULL,
    name varchar(200) NOT NULL,
    description text,
    channel_code varchar(50) NOT NULL,
    source_type_code varchar(50),
    subject text,
    content text NOT NULL,
    content_html text,
    variables jsonb NOT NULL DEFAULT '[]',
    provider_template_id varchar(200),
    version integer NOT NULL DEFAULT 1 CHECK (version > 0),
    is_live boolean,
    locale varchar(35),
    parameter_format varchar(20) CHECK (parameter_format IN ('positional', 'named')),
    language varchar(35),
    dlt_entity_id varchar(50),
    dlt_template_id varchar(50),
    is_active boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    created_by uuid,
    updated_by uuid,
    CONSTRAINT n_jtd_templates_key
        UNIQUE NULLS NOT DISTINCT (tenant_id, template_key, channel_code, is_live, locale, version)
);
CREATE INDEX IF NOT EXISTS n_jtd_templates_lookup_idx ON public.n_jtd_templates (template_key, channel_code);
CREATE INDEX IF NOT EXISTS n_jtd_templates_source_idx ON public.n_jtd_templates (source_type_code, channel_code);
COMMENT ON TABLE public.n_jtd_templates IS 'Jinja2 templates; tenant_id NULL is a system template, is_live NULL serves live and test rows.';
COMMENT ON COLUMN public.n_jtd_templates.version IS 'Raised by trigger when a text changes; the old text is kept in n_jtd_template_versions.';
COMMENT ON COLUMN public.n_jtd_templates.variables IS '["name", ...] or [{"name", "type", "required", "default"}, ...].';
COMMENT ON COLUMN public.n_jtd_templates.provider_template_id IS 'Describes only, as yet: the id under which a provider knows the template.';
COMMENT ON COLUMN public.n_jtd_templates.parameter_format IS 'Describes only, as yet: how a provider''s template takes its parameters.';
COMMENT ON COLUMN public.n_jtd_templates.language IS 'Describes only, as yet: the provider''s language code.';
COMMENT ON COLUMN public.n_jtd_templates.dlt_entity_id IS 'Describes only, as yet: India DLT principal entity.';
COMMENT ON COLUMN public.n_jtd_templates.dlt_template_id IS 'Describes only, as yet: India DLT template.';

CREATE TABLE IF NOT EXISTS public.n_jtd_template_versions (
    template_id uuid NOT NULL,
    version integer NOT NULL,
    subject text,
    content text NOT NULL,
    content_html text,
    variables jsonb NOT NULL,
    layouts jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (template_id, version)
);
COMMENT ON TABLE public.n_jtd_template_versions IS 'Former texts of templates, so that a retry sends what its first attempt sent.';

-- ---------------------------------------------------------------- tenants

CREATE TABLE IF NOT EXISTS public.n_jtd_tenant_config (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant_id uuid NOT NULL,
    vani_enabled boolean NOT NULL DEFAULT false,
    vani_auto_execute_types text[] NOT NULL DEFAULT '{}',
    channels_enabled jsonb NOT NULL
        DEFAULT '{"email": true, "sms": false, "whatsapp": false, "push": false, "inapp": true}',
    provider_config_refs jsonb NOT NULL DEFAULT '{}',
    locale varchar(35),
    daily_limit integer,
    monthly_limit integer,
    daily_used integer NOT NULL DEFAULT 0,
    monthly_used integer NOT NULL DEFAULT 0,
    last_reset_date date,
    default_priority integer NOT NULL DEFAULT 5 CHECK (default_priority BETWEEN 1 AND 10),
    timezone varchar(64) NOT NULL DEFAULT 'UTC',
    quiet_hours_start time,
    quiet_hours_end time,
    is_live boolean NOT NULL DEFAULT true,
    is_active boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    created_by uuid,
    updated_by uuid,
    CONSTRAINT n_jtd_tenant_config_tenant_key UNIQUE (tenant_id, is_live)
);
COMMENT ON TABLE public.n_jtd_tenant_config IS 'Settings of a tenant; without a row every channel is on and nothing is limited.';
COMMENT ON COLUMN public.n_jtd_tenant_config.channels_enabled IS '{channel: boolean}; a channel that is not named is off.';
COMMENT ON COLUMN public.n_jtd_tenant_config.locale IS 'The language of templates for rows that name none.';
COMMENT ON COLUMN public.n_jtd_tenant_config.vani_enabled IS 'Describes only, as yet.';
COMMENT ON COLUMN public.n_jtd_tenant_config.vani_auto_execute_types IS 'Describes only, as yet.';
COMMENT ON COLUMN public.n_jtd_tenant_config.provider_config_refs IS 'Describes only, as yet: references to secrets, never the secrets.';
COMMENT ON COLUMN public.n_jtd_tenant_config.daily_limit IS 'Describes only, as yet.';
COMMENT ON COLUMN public.n_jtd_tenant_config.monthly_limit IS 'Describes only, as yet.';
COMMENT ON COLUMN public.n_jtd_tenant_config.daily_used IS 'Describes only, as yet.';
COMMENT ON COLUMN public.n_jtd_tenant_config.monthly_used IS 'Describes only, as yet.';
COMMENT ON COLUMN public.n_jtd_tenant_config.last_reset_date IS 'Describes only, as yet.';
COMMENT ON COLUMN public.n_jtd_tenant_config.default_priority IS 'Describes only, as yet.';
COMMENT ON COLUMN public.n_jtd_tenant_config.timezone IS 'Describes only, as yet.';
COMMENT ON COLUMN public.n_jtd_tenant_config.quiet_hours_start IS 'Describes only, as yet.';
COMMENT ON COLUMN public.n_jtd_tenant_config.quiet_hours_end IS 'Describes only, as yet.';

CREATE TABLE IF NOT EXISTS public.n_jtd_tenant_source_config (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant_id uuid NOT NULL,
    source_type_code varchar(50) NOT NULL,
    channels_enabled text[],
    templates jsonb NOT NULL DEFAULT '{}',
    is_enabled boolean NOT NULL DEFAULT true,
    auto_execute boolean NOT NULL DEFAULT false,
    priority_override integer CHECK (priority_override BETWEEN 1 AND 10),
    delay_seconds integer NOT NULL DEFAULT 0 CHECK (delay_seconds >= 0),
    batch_window_seconds integer CHECK (batch_window_seconds > 0),
    is_live boolean NOT NULL DEFAULT true,
    is_active boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    created_by uuid,
    updated_by uuid,
    CONSTRAINT n_jtd_tenant_source_config_source_key UNIQUE (tenant_id, source_type_code, is_live)
);
COMMENT ON TABLE public.n_jtd_tenant_source_config IS 'What a tenant sets differently for one source type.';
COMMENT ON COLUMN public.n_jtd_tenant_source_config.is_enabled IS 'false: messages of this source are blocked for the tenant.';
COMMENT ON COLUMN public.n_jtd_tenant_source_config.channels_enabled IS 'Describes only, as yet.';
COMMENT ON COLUMN public.n_jtd_tenant_source_config.templates IS 'Describes only, as yet.';
COMMENT ON COLUMN public.n_jtd_tenant_source_config.auto_execute IS 'Describes only, as yet.';
COMMENT ON COLUMN public.n_jtd_tenant_source_config.priority_override IS 'Describes only, as yet.';
COMMENT ON COLUMN public.n_jtd_tenant_source_config.delay_seconds IS 'Describes only, as yet.';
COMMENT ON COLUMN public.n_jtd_tenant_source_config.batch_window_seconds IS 'Describes only, as yet.';

-- ---------------------------------------------------------------- the jobs

-- No index but those below, and none that mentions a column which claim, settle or tick writes: only so
-- do their updates stay on the page (HOT). fillfactor leaves room for them.
CREATE TABLE IF NOT EXISTS public.n_jtd (
    id uuid PRIMARY KEY DEFAULT jtd.uuid7(),
    tenant_id uuid NOT NULL,
    jtd_number varchar(50),
    event_type_code varchar(50) NOT NULL,
    channel_code varchar(50),
    source_type_code varchar(50) NOT NULL,
    source_id uuid,
    source_ref varchar(200),
    recipient_type varchar(50),
    recipient_id uuid,
    recipient_name varchar(200),
    recipient_contact varchar(500),
    scheduled_at timestamptz,
    executed_at timestamptz,
    completed_at timestamptz,
    status_id uuid,
    status_code varchar(50) NOT NULL DEFAULT 'created',
    previous_status_code varchar(50),
    status_changed_at timestamptz,
    is_valid_transition boolean DEFAULT true,
    transition_note text,
    priority integer CHECK (priority BETWEEN 1 AND 10),
    retry_count integer NOT NULL DEFAULT 0,
    max_retries integer CHECK (max_retries >= 0),
    last_retry_at timestamptz,
    next_retry_at timestamptz,
    payload jsonb NOT NULL DEFAULT '{}',
    template_id uuid,
    template_key varchar(100),
    template_variables jsonb NOT NULL DEFAULT '{}',
    execution_result jsonb,
    error_message text,
    error_code varchar(100),
    provider_code varchar(100),
    provider_message_id text,
    provider_response jsonb,
    cost numeric(12, 4) NOT NULL DEFAULT 0,
    business_context jsonb NOT NULL DEFAULT '{}',
    performed_by_type varchar(20),
    performed_by_id uuid,
    performed_by_name varchar(200),
    metadata jsonb NOT NULL DEFAULT '{}',
    tags text[],
    is_live boolean NOT NULL DEFAULT true,
    attempt integer NOT NULL DEFAULT 0,
    expires_at timestamptz,
    idempotency_key varchar(200),
    parent_id uuid,
    template_version integer,
    locale varchar(35),
    is_active boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    created_by uuid,
    updated_by uuid,
    -- both reach the worker, and dates beyond these cannot be read by it
    CONSTRAINT n_jtd_times_check CHECK (
        created_at BETWEEN '0001-01-02 00:00+00' AND '9999-12-30 00:00+00'
        AND expires_at BETWEEN '0001-01-02 00:00+00' AND '9999-12-30 00:00+00')
) WITH (
    fillfactor = 50,
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_analyze_scale_factor = 0.05,
    autovacuum_vacuum_insert_scale_factor = 0.05
);
CREATE UNIQUE INDEX IF NOT EXISTS n_jtd_idempotency_key_idx
    ON public.n_jtd (tenant_id, idempotency_key) WHERE idempotency_key IS NOT NULL;
COMMENT ON TABLE public.n_jtd IS 'The jobs to do; the row is the truth, queue messages are hints.';
COMMENT ON COLUMN public.n_jtd.attempt IS 'The fence: rises on every claim, never falls. Attempts used up are retry_count.';
COMMENT ON COLUMN public.n_jtd.scheduled_at IS 'Not before this time.';
COMMENT ON COLUMN public.n_jtd.next_retry_at IS 'Not before this time: set by a retry or a deferral, transition_note says which.';
COMMENT ON COLUMN public.n_jtd.expires_at IS 'After this time it is expired, not sent: too late is worse than never.';
COMMENT ON COLUMN public.n_jtd.idempotency_key IS 'Unique per tenant; the same key twice is the same job.';
COMMENT ON COLUMN public.n_jtd.executed_at IS 'When it was handed to the provider.';
COMMENT ON COLUMN public.n_jtd.completed_at IS 'When it reached its final state.';
COMMENT ON COLUMN public.n_jtd.template_version IS 'Chosen with template_id by the first claim, and kept: a retry sends the same text.';
COMMENT ON COLUMN public.n_jtd.performed_by_type IS 'user, vani, system or webhook: who made the row. Gives no right.';
COMMENT ON COLUMN public.n_jtd.jtd_number IS 'Describes only; the producer''s own number.';
COMMENT ON COLUMN public.n_jtd.source_id IS 'Describes only; the row of the service that it came from.';
COMMENT ON COLUMN public.n_jtd.source_ref IS 'Describes only; the same as text.';
COMMENT ON COLUMN public.n_jtd.recipient_type IS 'Describes only.';
COMMENT ON COLUMN public.n_jtd.business_context IS 'Describes only; kept for the producer.';
COMMENT ON COLUMN public.n_jtd.tags IS 'Describes only; kept for the producer.';
COMMENT ON COLUMN public.n_jtd.cost IS 'Describes only, as yet.';
COMMENT ON COLUMN public.n_jtd.parent_id IS 'Describes only, as yet: the job that this one was made for.';

CREATE TABLE IF NOT EXISTS public.n_jtd_history (
    id bigint GENERATED ALWAYS AS IDENTITY,
    jtd_id uuid NOT NULL,
    tenant_id uuid,
    channel_code varchar(50),
    event_type_code varchar(50),
    action varchar(50) NOT NULL,
    from_status_code varchar(50),
    to_status_code varchar(50),
    is_valid_transition boolean NOT NULL DEFAULT true,
    performed_by_type varchar(20) NOT NULL,
    performed_by_id uuid,
    performed_by_name varchar(200),
    reason text,
    field_name varchar(100),
    old_value text,
    new_value text,
    details jsonb,
    is_live boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now(),
    txid bigint NOT NULL DEFAULT pg_current_xact_id()::text::bigint
) PARTITION BY RANGE (created_at);
CREATE TABLE IF NOT EXISTS public.n_jtd_history_default PARTITION OF public.n_jtd_history DEFAULT;
CREATE INDEX IF NOT EXISTS n_jtd_history_jtd_idx ON public.n_jtd_history (jtd_id, id);
CREATE INDEX IF NOT EXISTS n_jtd_history_txid_idx ON public.n_jtd_history (txid);
COMMENT ON COLUMN public.n_jtd_history.txid IS 'The transaction that wrote it: what lies below the oldest running one is complete, and can be counted.';
COMMENT ON TABLE public.n_jtd_history IS 'The audit trail: one row for each status change and each remark; append-only.';
COMMENT ON COLUMN public.n_jtd_history.action IS 'created, imported, status_changed, deleted, deferred, receipt, late_result, possible_duplicate, duplicate_known, resolved, note.';
COMMENT ON COLUMN public.n_jtd_history.field_name IS 'Describes only; for remarks of services about a field.';
COMMENT ON COLUMN public.n_jtd_history.old_value IS 'Describes only; see field_name.';
COMMENT ON COLUMN public.n_jtd_history.new_value IS 'Describes only; see field_name.';

CREATE TABLE IF NOT EXISTS public.n_inapp_notifications (
    id uuid PRIMARY KEY DEFAULT jtd.uuid7(),
    tenant_id uuid NOT NULL,
    user_id uuid NOT NULL,
    title text NOT NULL,
    body text,
    notification_type varchar(20) NOT NULL DEFAULT 'info'
        CHECK (notification_type IN ('info', 'success', 'warning', 'error', 'action')),
    category varchar(50),
    action_url text,
    action_label varchar(200),
    metadata jsonb NOT NULL DEFAULT '{}',
    seen_at timestamptz,
    read_at timestamptz,
    archived_at timestamptz,
    source_jtd_id uuid UNIQUE,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz
);
CREATE INDEX IF NOT EXISTS n_inapp_notifications_user_idx ON public.n_inapp_notifications (tenant_id, user_id, id DESC);
COMMENT ON TABLE public.n_inapp_notifications IS 'The feed that users see in the product; source_jtd_id is unique, so a job shows once.';

CREATE TABLE IF NOT EXISTS public.n_jtd_outbox (
    id uuid PRIMARY KEY DEFAULT jtd.uuid7(),
    jtd_id uuid NOT NULL UNIQUE,
    tenant_id uuid NOT NULL,
    channel_code varchar(50) NOT NULL,
    recipient text,
    recipient_name text,
    subject text,
    content text,
    content_html text,
    metadata jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE public.n_jtd_outbox IS 'What would have been sent: messages of test rows, and of channels served by the outbox.';

-- ---------------------------------------------------------------- the audit trail

-- How a job came to the state in which the enqueue trigger stored it; constant rows, so that a trigger
-- need not derive the steps again for each job.
CREATE TABLE IF NOT EXISTS jtd.walk (
    status_code text NOT NULL,
    step integer NOT NULL,
    from_status_code text,
    to_status_code text NOT NULL,
    PRIMARY KEY (status_code, step)
);
INSERT INTO jtd.walk (status_code, step, from_status_code, to_status_code) VALUES
    ('created',   1, NULL,      'created'),
    ('pending',   1, NULL,      'created'),
    ('pending',   2, 'created', 'pending'),
    ('scheduled', 1, NULL,      'created'),
    ('scheduled', 2, 'created', 'scheduled'),
    ('queued',    1, NULL,      'created'),
    ('queued',    2, 'created', 'pending'),
    ('queued',    3, 'pending', 'queued'),
    ('failed',    1, NULL,      'created'),
    ('failed',    2, 'created', 'pending'),
    ('failed',    3, 'pending', 'failed')
ON CONFLICT DO NOTHING;
COMMENT ON TABLE jtd.walk IS 'The steps of the audit trail for a job that was stored in status_code when it was inserted.';

-- Who acts in this statement: SET LOCAL jtd.actor = 'type', or 'type:uuid:name'; else NULL.
CREATE OR REPLACE FUNCTION jtd.actor(OUT actor_type text, OUT actor_id uuid, OUT actor_name text)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    setting text := nullif(current_setting('jtd.actor', true), '');
BEGIN
    actor_type := split_part(setting, ':', 1);
    IF actor_type NOT IN ('user', 'vani', 'system', 'webhook')
        OR split_part(setting, ':', 2) !~* '^([0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})?$'
    THEN
        RAISE EXCEPTION 'jtd.actor is "%", which names no actor', setting
            USING ERRCODE = 'JT020', HINT = 'Use user, vani, system or webhook, then :uuid:name if there is one.';
    END IF;
    actor_id := nullif(split_part(setting, ':', 2), '')::uuid;
    actor_name := nullif(
        left(substr(setting, length(actor_type) + length(split_part(setting, ':', 2)) + 3), 200), '');
    SELECT coalesce(actor_id, a.id), coalesce(actor_name, a.name)
        INTO actor_id, actor_name
        FROM (VALUES (1)) AS one (n) LEFT JOIN public.n_system_actors AS a ON a.code = actor_type;
END
$$;

-- Fills what a change of status by hand leaves out; functions of ours set all of it and skip this.
CREATE OR REPLACE FUNCTION jtd.fill_transition() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    NEW.previous_status_code := OLD.status_code;
    IF NEW.status_changed_at IS NOT DISTINCT FROM OLD.status_changed_at THEN
        NEW.status_changed_at := clock_timestamp();
    END IF;
    NEW.updated_at := now();
    NEW.is_valid_transition := jtd.is_valid_step(NEW.event_type_code, OLD.status_code, NEW.status_code);
    NEW.status_id := jtd.status_id(NEW.event_type_code, NEW.status_code);
    IF NEW.transition_note IS NOT DISTINCT FROM OLD.transition_note THEN
        NEW.transition_note := NULL;
    END IF;
    IF NEW.completed_at IS NOT DISTINCT FROM OLD.completed_at THEN
        NEW.completed_at := CASE WHEN EXISTS (
            SELECT FROM public.n_jtd_statuses AS s
            WHERE s.id = NEW.status_id AND (s.is_terminal OR s.is_failure)
        ) THEN now() END;
    END IF;
    RETURN NEW;
END
$$;

CREATE OR REPLACE FUNCTION jtd.status_id(p_event_type text, p_status text) RETURNS uuid
LANGUAGE sql STABLE
AS $$
    SELECT s.id
    FROM public.n_jtd_statuses AS s
    WHERE s.code = p_status AND (s.event_type_code = p_event_type OR s.event_type_code IS NULL)
    ORDER BY s.event_type_code NULLS LAST
    LIMIT 1
$$;

CREATE OR REPLACE FUNCTION jtd.is_valid_step(p_event_type text, p_from text, p_to text) RETURNS boolean
LANGUAGE sql STABLE
AS $$
    SELECT EXISTS (
        SELECT
        FROM public.n_jtd_status_flows AS f
        JOIN public.n_jtd_statuses AS a ON a.id = f.from_status_id
        JOIN public.n_jtd_statuses AS b ON b.id = f.to_status_id
        WHERE f.event_type_code = p_event_type AND a.code = p_from AND b.code = p_to AND f.is_active
    )
$$;

-- One history row for each step that brought the inserted jobs where they are.
-- A job whose status_changed_at is this transaction's was walked there by the enqueue trigger; without
-- that trigger a new job has none. Any other was given as it is by the producer, and is an import.
CREATE OR REPLACE FUNCTION jtd.audit_insert() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    by_type text;
    by_id uuid;
    by_name text;
    by_setting CONSTANT boolean := coalesce(current_setting('jtd.actor', true), '') <> '';
BEGIN
    IF by_setting THEN
        SELECT a.actor_type, a.actor_id, a.actor_name INTO by_type, by_id, by_name FROM jtd.actor() AS a;
    END IF;
    INSERT INTO public.n_jtd_history (
        jtd_id, tenant_id, channel_code, event_type_code, action, from_status_code, to_status_code,
        performed_by_type, performed_by_id, performed_by_name, reason, details, is_live)
    SELECT
        n.id, n.tenant_id, n.channel_code, n.event_type_code,
        CASE WHEN w.step IS NULL THEN 'imported' WHEN w.step = 1 THEN 'created' ELSE 'status_changed' END,
        w.from_status_code,
        coalesce(w.to_status_code, n.status_code),
        CASE WHEN by_setting THEN by_type
            ELSE coalesce(n.performed_by_type, CASE WHEN n.performed_by_id IS NULL THEN 'system' ELSE 'user' END) END,
        CASE WHEN by_setting THEN by_id ELSE n.performed_by_id END,
        CASE WHEN by_setting THEN by_name
            ELSE coalesce(n.performed_by_name, CASE WHEN n.performed_by_id IS NULL THEN session_user::text END) END,
        CASE WHEN w.to_status_code = n.status_code THEN n.transition_note END,
        CASE WHEN n.error_code IS NOT NULL AND w.to_status_code = n.status_code
            THEN jsonb_build_object('error_code', n.error_code, 'error_message', n.error_message) END,
        n.is_live
    FROM new_rows AS n
    LEFT JOIN jtd.walk AS w
        ON w.status_code = n.status_code
        AND (n.status_changed_at = now() OR (n.status_changed_at IS NULL AND n.status_code = 'created'))
    ORDER BY n.id, w.step;
    RETURN NULL;
END
$$;

-- One history row for each status change, whoever made it.
-- Nested loops are off: a session keeps the plan of its first statement, and one made for a single row would
-- compare each old row with each new one for ever after.
CREATE OR REPLACE FUNCTION jtd.audit_update() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_nestloop = off
AS $$
DECLARE
    by_type text;
    by_id uuid;
    by_name text;
    by_setting CONSTANT boolean := coalesce(current_setting('jtd.actor', true), '') <> '';
BEGIN
    IF by_setting THEN
        SELECT a.actor_type, a.actor_id, a.actor_name INTO by_type, by_id, by_name FROM jtd.actor() AS a;
    END IF;
    INSERT INTO public.n_jtd_history (
        jtd_id, tenant_id, channel_code, event_type_code, action, from_status_code, to_status_code,
        is_valid_transition, performed_by_type, performed_by_id, performed_by_name, reason, details, is_live)
    SELECT
        n.id, n.tenant_id, n.channel_code, n.event_type_code, 'status_changed', o.status_code, n.status_code,
        coalesce(n.is_valid_transition, false),
        CASE WHEN by_setting THEN by_type WHEN c.changed THEN coalesce(n.performed_by_type, 'user') ELSE 'system' END,
        CASE WHEN by_setting THEN by_id WHEN c.changed THEN n.performed_by_id END,
        CASE WHEN by_setting THEN by_name WHEN c.changed THEN n.performed_by_name ELSE session_user::text END,
        n.transition_note,
        CASE WHEN n.attempt > 0 OR n.error_code IS NOT NULL THEN jsonb_strip_nulls(jsonb_build_object(
            'attempt', nullif(n.attempt, 0),
            'error_code', n.error_code,
            'error_message', n.error_message,
            'provider', n.provider_code,
            'not_before', CASE WHEN n.status_code = 'pending' THEN n.next_retry_at END)) END,
        n.is_live
    FROM new_rows AS n
    JOIN old_rows AS o ON o.id = n.id
    CROSS JOIN LATERAL (SELECT
        (n.performed_by_type, n.performed_by_id, n.performed_by_name)
        IS DISTINCT FROM (o.performed_by_type, o.performed_by_id, o.performed_by_name) AS changed) AS c
    WHERE n.status_code IS DISTINCT FROM o.status_code;
    RETURN NULL;
END
$$;

-- The lists, the messages and the audit trail know a job by its id.
CREATE OR REPLACE FUNCTION jtd.keep_id() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION 'the id of a job never changes'
        USING ERRCODE = 'JT010', HINT = 'Leave id out of SET, also in ON CONFLICT DO UPDATE.';
END
$$;

-- One history row for each job that was deleted.
CREATE OR REPLACE FUNCTION jtd.audit_delete() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO public.n_jtd_history (
        jtd_id, tenant_id, channel_code, event_type_code, action, from_status_code,
        performed_by_type, performed_by_name, is_live)
    SELECT o.id, o.tenant_id, o.channel_code, o.event_type_code, 'deleted', o.status_code,
        'system', session_user, o.is_live
    FROM old_rows AS o;
    RETURN NULL;
END
$$;

-- The layouts that a template may extend: {key: {content, content_html}}; p_former stands for the row of its id.
CREATE OR REPLACE FUNCTION jtd.layouts(
    p_tenant uuid, p_channel text, p_locale text, p_former public.n_jtd_templates DEFAULT NULL) RETURNS jsonb
LANGUAGE sql STABLE
AS $$
    SELECT coalesce(jsonb_object_agg(l.template_key, jsonb_build_object(
        'content', l.content, 'content_html', l.content_html)), '{}')
    FROM (
        SELECT DISTINCT ON (y.template_key) y.template_key, y.content, y.content_html
        FROM (
            SELECT t.* FROM public.n_jtd_templates AS t WHERE t.id IS DISTINCT FROM (p_former).id
            UNION ALL
            SELECT (p_former).*
        ) AS y
        WHERE y.channel_code = p_channel AND y.template_key LIKE 'layout\_%' AND y.is_active
            AND (y.tenant_id IS NULL OR y.tenant_id = p_tenant)
            AND (y.locale IS NULL OR y.locale = p_locale)
        ORDER BY y.template_key, y.tenant_id NULLS LAST, y.locale NULLS LAST, y.version DESC, y.id
    ) AS l
$$;

-- A changed text is a new version; the old one is kept for rows that were rendered from it.
CREATE OR REPLACE FUNCTION jtd.keep_template_version() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO public.n_jtd_template_versions (
        template_id, version, subject, content, content_html, variables, layouts)
    VALUES (OLD.id, OLD.version, OLD.subject, OLD.content, OLD.content_html, OLD.variables,
        jtd.layouts(OLD.tenant_id, OLD.channel_code, OLD.locale))
    ON CONFLICT DO NOTHING;
    NEW.version := OLD.version + 1;
    NEW.updated_at := now();
    RETURN NEW;
END
$$;

-- A layout that comes, changes or goes is a new version of every template that may extend it.
CREATE OR REPLACE FUNCTION jtd.keep_layout_version() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    layout public.n_jtd_templates := CASE TG_OP WHEN 'INSERT' THEN NEW ELSE OLD END;
    template public.n_jtd_templates;
BEGIN
    layout.is_active := layout.is_active AND TG_OP <> 'INSERT';
    FOR template IN
        SELECT *
        FROM public.n_jtd_templates AS t
        WHERE t.channel_code = layout.channel_code AND t.id <> layout.id
            AND (layout.tenant_id IS NULL OR t.tenant_id = layout.tenant_id)
            AND (TG_OP <> 'INSERT' OR t.created_at < now())  -- nothing was rendered from what came with it
            AND concat(t.content, t.content_html) LIKE '%layout\_%'
        ORDER BY t.version DESC  -- so that the next number is free when its turn comes
    LOOP
        INSERT INTO public.n_jtd_template_versions (
            template_id, version, subject, content, content_html, variables, layouts)
        VALUES (template.id, template.version, template.subject, template.content, template.content_html,
            template.variables, jtd.layouts(template.tenant_id, template.channel_code, template.locale, layout))
        ON CONFLICT DO NOTHING;
        UPDATE public.n_jtd_templates AS t SET version = t.version + 1 WHERE t.id = template.id;
    END LOOP;
    RETURN NULL;
END
$$;

CREATE OR REPLACE TRIGGER n_jtd_10_audit_insert
    AFTER INSERT ON public.n_jtd
    REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION jtd.audit_insert();

CREATE OR REPLACE TRIGGER n_jtd_10_audit_update
    AFTER UPDATE ON public.n_jtd
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION jtd.audit_update();

CREATE OR REPLACE TRIGGER n_jtd_10_audit_delete
    AFTER DELETE ON public.n_jtd
    REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION jtd.audit_delete();

CREATE OR REPLACE TRIGGER n_jtd_05_fill_transition
    BEFORE UPDATE OF status_code ON public.n_jtd
    FOR EACH ROW
    WHEN (NEW.status_code IS DISTINCT FROM OLD.status_code
        AND (NEW.status_changed_at IS NOT DISTINCT FROM OLD.status_changed_at
            OR NEW.previous_status_code IS DISTINCT FROM OLD.status_code
            OR NEW.status_id IS NOT DISTINCT FROM OLD.status_id))
    EXECUTE FUNCTION jtd.fill_transition();

CREATE OR REPLACE TRIGGER n_jtd_05_keep_id
    BEFORE UPDATE OF id ON public.n_jtd
    FOR EACH ROW
    WHEN (NEW.id <> OLD.id)
    EXECUTE FUNCTION jtd.keep_id();

CREATE OR REPLACE TRIGGER n_jtd_templates_keep_version
    BEFORE UPDATE ON public.n_jtd_templates
    FOR EACH ROW
    WHEN ((OLD.subject, OLD.content, OLD.content_html, OLD.variables)
        IS DISTINCT FROM (NEW.subject, NEW.content, NEW.content_html, NEW.variables))
    EXECUTE FUNCTION jtd.keep_template_version();

CREATE OR REPLACE TRIGGER n_jtd_templates_layout_added
    AFTER INSERT ON public.n_jtd_templates
    FOR EACH ROW
    WHEN (NEW.template_key LIKE 'layout\_%')
    EXECUTE FUNCTION jtd.keep_layout_version();

CREATE OR REPLACE TRIGGER n_jtd_templates_layout_changed
    AFTER UPDATE ON public.n_jtd_templates
    FOR EACH ROW
    WHEN (OLD.template_key LIKE 'layout\_%'
        AND (OLD.content, OLD.content_html, OLD.is_active) IS DISTINCT FROM (NEW.content, NEW.content_html, NEW.is_active))
    EXECUTE FUNCTION jtd.keep_layout_version();

CREATE OR REPLACE TRIGGER n_jtd_templates_layout_gone
    AFTER DELETE ON public.n_jtd_templates
    FOR EACH ROW
    WHEN (OLD.template_key LIKE 'layout\_%')
    EXECUTE FUNCTION jtd.keep_layout_version();

-- ---------------------------------------------------------------- rights

REVOKE ALL ON FUNCTION jtd.actor(), jtd.fill_transition(), jtd.status_id(text, text),
    jtd.is_valid_step(text, text, text), jtd.audit_insert(), jtd.audit_update(), jtd.audit_delete(), jtd.keep_id(),
    jtd.keep_template_version(), jtd.keep_layout_version(), jtd.layouts(uuid, text, text, public.n_jtd_templates)
    FROM PUBLIC;

-- Hosts that publish the schema public through a web API grant every new table to their web roles;
-- jobs hold contacts and message bodies, so those grants are taken back.
DO $rights$
DECLARE
    web_role text;
    table_name text;
BEGIN
    FOR table_name IN
        SELECT c.oid::regclass::text
        FROM pg_catalog.pg_class AS c
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
            AND (c.relname LIKE 'n\_jtd%' OR c.relname IN ('n_system_actors', 'n_inapp_notifications'))
    LOOP
        FOR web_role IN SELECT rolname FROM pg_catalog.pg_roles WHERE rolname IN ('anon', 'authenticated') LOOP
            EXECUTE pg_catalog.format('REVOKE ALL ON %s FROM %I', table_name, web_role);
        END LOOP;
    END LOOP;
    IF EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'jtd_producer') THEN
        GRANT USAGE ON SCHEMA jtd TO jtd_producer;
        -- enough for RETURNING id, ON CONFLICT and a look at what became of it; not for reading the contacts of others
        GRANT INSERT, SELECT (id, tenant_id, idempotency_key, status_code) ON public.n_jtd TO jtd_producer;
    END IF;
END
$rights$;

INSERT INTO jtd.migrations (name) VALUES ('001_create_jtd_master_tables') ON CONFLICT DO NOTHING;
