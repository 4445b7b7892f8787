-- Creates what VaNi goes by: since when she is on, when she looks at which work, and what her messages are about.

ALTER TABLE public.n_jtd_source_types ADD COLUMN IF NOT EXISTS reminder_source_type varchar(50);
COMMENT ON COLUMN public.n_jtd_source_types.reminder_source_type IS 'Under which source type VaNi sends reminders of such work; NULL: under its own.';
COMMENT ON COLUMN public.n_jtd_source_types.reminder_offsets IS 'How long before work of this source VaNi reminds of it; days by the tenant''s calendar. NULL: never.';
UPDATE public.n_jtd_source_types
SET reminder_offsets = coalesce(reminder_offsets, '{1 day,02:00:00}'),
    reminder_source_type = CASE code WHEN 'appointment_created' THEN 'appointment_reminder' ELSE 'service_reminder' END
WHERE code IN ('appointment_created', 'service_scheduled') AND reminder_source_type IS NULL;

ALTER TABLE public.n_jtd_tenant_source_config ADD COLUMN IF NOT EXISTS reminder_offsets interval[];
ALTER TABLE public.n_jtd_tenant_source_config ADD COLUMN IF NOT EXISTS auto_execute_since timestamptz;
COMMENT ON COLUMN public.n_jtd_tenant_source_config.reminder_offsets IS 'Instead of those of the source type; {} for none.';
COMMENT ON COLUMN public.n_jtd_tenant_source_config.auto_execute IS 'VaNi carries out work of this source, while she is on for the tenant.';
COMMENT ON COLUMN public.n_jtd_tenant_source_config.auto_execute_since IS 'Since when auto_execute is on; kept by trigger.';

ALTER TABLE public.n_jtd_tenant_config ADD COLUMN IF NOT EXISTS vani_since jsonb NOT NULL DEFAULT '{}';
COMMENT ON COLUMN public.n_jtd_tenant_config.vani_enabled IS 'Whether VaNi acts for the tenant at all.';
COMMENT ON COLUMN public.n_jtd_tenant_config.vani_auto_execute_types IS 'Event types whose work VaNi carries out, while she is on.';
COMMENT ON COLUMN public.n_jtd_tenant_config.vani_since IS 'Since when VaNi is on, by event type, and under "" at all; kept by trigger.';
UPDATE public.n_jtd_tenant_config AS c
SET vani_since = (
    SELECT jsonb_object_agg(t.code, now()) FROM unnest(c.vani_auto_execute_types || ''::text) AS t (code))
WHERE c.vani_enabled AND c.vani_since = '{}';
UPDATE public.n_jtd_tenant_source_config SET auto_execute_since = now() WHERE auto_execute AND auto_execute_since IS NULL;

ALTER TABLE jtd.work ADD COLUMN IF NOT EXISTS moves integer NOT NULL DEFAULT 0;
ALTER TABLE jtd.work ADD COLUMN IF NOT EXISTS at_since timestamptz NOT NULL DEFAULT now();
ALTER TABLE jtd.work ADD COLUMN IF NOT EXISTS person_since timestamptz NOT NULL DEFAULT now();
-- work that is here already counts as looked at: its people were told, or not, before she came
ALTER TABLE jtd.work ADD COLUMN IF NOT EXISTS looked_at timestamptz NOT NULL DEFAULT now();
ALTER TABLE jtd.work ALTER COLUMN looked_at SET DEFAULT '-infinity';
ALTER TABLE jtd.work ADD COLUMN IF NOT EXISTS next_at timestamptz DEFAULT now();
CREATE INDEX IF NOT EXISTS work_next_idx ON jtd.work (next_at) WHERE next_at IS NOT NULL;
COMMENT ON COLUMN jtd.work.moves IS 'How often its time was changed, or the person of an appointment: earlier messages about it are not sent any more.';
COMMENT ON COLUMN jtd.work.at_since IS 'Since when it has its time: what should have been sent before that is not planned.';
COMMENT ON COLUMN jtd.work.person_since IS 'Since when it has its person.';
COMMENT ON COLUMN jtd.work.looked_at IS 'When VaNi last looked at it; -infinity: not since it was made or moved. What was to be sent before is not made up for.';
COMMENT ON COLUMN jtd.work.next_at IS 'When VaNi looks at it next, also for tenants for whom she is off; NULL when nothing lies ahead.';

CREATE TABLE IF NOT EXISTS jtd.vani_wakes (jtd_id uuid NOT NULL);
COMMENT ON TABLE jtd.vani_wakes IS 'Work of which a message was sent, or goes back to be sent again, or that was deleted; VaNi looks at it with the next tick. Only ever inserted and deleted, so that nobody waits.';

CREATE TABLE IF NOT EXISTS jtd.vani_switches (
    tenant_id uuid NOT NULL,
    is_live boolean NOT NULL,
    at timestamptz
);
COMMENT ON TABLE jtd.vani_switches IS 'Tenants whose settings changed what VaNi does, until she has looked again at the work that waits or lies ahead.';
COMMENT ON COLUMN jtd.vani_switches.at IS 'When a tick first saw it: work is looked at again that she looked at before. NULL: not yet.';

-- no hot column: a job's parent never changes
CREATE INDEX IF NOT EXISTS n_jtd_parent_idx ON public.n_jtd (parent_id) WHERE parent_id IS NOT NULL;
COMMENT ON COLUMN public.n_jtd.parent_id IS 'The job that this one was made for: by routing it to several channels, or by VaNi.';

-- security_invoker: who looks sees the rows of n_jtd that row-level security lets him see, and no others.
CREATE OR REPLACE VIEW jtd.vani_done WITH (security_invoker = true) AS
SELECT w.tenant_id, w.is_live, d.at, w.jtd_id, w.event_type_code AS kind,
    coalesce(j.payload ->> 'title', j.payload ->> 'subject') AS title, j.recipient_name AS for_whom,
    d.step, d.channel, d.rule, d.outcome, d.why, d.message_id
FROM jtd.work AS w
JOIN public.n_jtd AS j ON j.id = w.jtd_id
CROSS JOIN LATERAL (
    SELECT h.created_at AS at, CASE h.action WHEN 'note' THEN 'nothing' ELSE h.to_status_code END AS step,
        NULL::text AS channel, CASE h.action WHEN 'note' THEN NULL ELSE h.reason END AS rule,
        CASE h.action WHEN 'note' THEN 'not done' ELSE 'done' END AS outcome,
        CASE h.action WHEN 'note' THEN h.reason END AS why, NULL::uuid AS message_id
    FROM public.n_jtd_history AS h
    WHERE h.jtd_id = w.jtd_id AND h.performed_by_type = 'vani' AND h.action IN ('status_changed', 'note')
    UNION ALL
    SELECT m.created_at, m.metadata #>> '{vani,step}', m.channel_code, m.metadata #>> '{vani,rule}', m.status_code,
        CASE WHEN m.status_code IN ('sent', 'delivered', 'read') THEN NULL
            ELSE nullif(concat_ws(': ', coalesce(m.error_code, m.transition_note), m.error_message), '') END, m.id
    FROM (
        SELECT c.id, c.created_at, c.metadata, c.channel_code, c.status_code, c.error_code, c.error_message,
            c.transition_note
        FROM public.n_jtd AS c WHERE c.parent_id = w.jtd_id AND c.performed_by_type = 'vani'
        UNION ALL
        SELECT o.id, o.created_at, o.metadata, o.channel_code, o.status_code, o.error_code, o.error_message,
            o.transition_note
        FROM public.n_jtd AS c JOIN public.n_jtd AS o ON o.parent_id = c.id
        WHERE c.parent_id = w.jtd_id AND c.performed_by_type = 'vani'
    ) AS m
) AS d;
COMMENT ON VIEW jtd.vani_done IS 'What VaNi did about work, by which rule, and what became of it; why names what came between. Ask for one tenant_id.';

INSERT INTO jtd.migrations (name) VALUES ('020_create_jtd_vani') ON CONFLICT DO NOTHING;
