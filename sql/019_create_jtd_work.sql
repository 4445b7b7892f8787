-- Creates the list of work, and the screens on which people see theirs.

CREATE TABLE IF NOT EXISTS jtd.work (
    jtd_id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL,
    is_live boolean NOT NULL,
    category text,
    event_type_code text NOT NULL,
    source_type_code text NOT NULL,
    status_code text NOT NULL,
    at timestamptz NOT NULL,
    person_id uuid
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX IF NOT EXISTS work_screen_idx ON jtd.work (tenant_id, category, at, jtd_id);
CREATE INDEX IF NOT EXISTS work_person_idx ON jtd.work (tenant_id, person_id, at, jtd_id) WHERE person_id IS NOT NULL;
COMMENT ON TABLE jtd.work IS 'One row for each appointment, visit and task, as n_jtd has it; written by its triggers. Messages are not in it.';
COMMENT ON COLUMN jtd.work.at IS 'scheduled_at; the end of the year 9999 where it has none.';
COMMENT ON COLUMN jtd.work.person_id IS 'recipient_id: with whom it is, or who is to do it.';
COMMENT ON COLUMN jtd.work.category IS 'Of its event type: scheduling or action.';

INSERT INTO jtd.work (jtd_id, tenant_id, is_live, category, event_type_code, source_type_code, status_code, at, person_id)
SELECT j.id, j.tenant_id, j.is_live, e.category, j.event_type_code, j.source_type_code, j.status_code,
    coalesce(j.scheduled_at, '9999-12-31 00:00+00'), j.recipient_id
FROM public.n_jtd AS j
JOIN public.n_jtd_event_types AS e ON e.code = j.event_type_code AND NOT e.is_message
ON CONFLICT DO NOTHING;

-- security_invoker: who looks sees the rows of n_jtd that row-level security lets him see, and no others.
CREATE OR REPLACE VIEW jtd.screen WITH (security_invoker = true) AS
SELECT
    w.tenant_id,
    w.jtd_id AS id,
    w.category,
    w.event_type_code AS kind,
    j.jtd_number AS number,
    coalesce(j.payload ->> 'title', j.payload ->> 'subject', t.name) AS title,
    w.status_code AS state,
    s.name AS state_name,
    s.color AS state_color,
    s.status_type AS state_type,
    coalesce(s.is_terminal, false) AS is_closed,
    j.scheduled_at,
    w.at,
    w.at < now() AND NOT coalesce(s.is_terminal, false) AND s.status_type IS DISTINCT FROM 'progress' AS is_late,
    w.person_id,
    j.recipient_name AS person_name,
    j.priority,
    w.source_type_code,
    j.source_id,
    w.is_live,
    j.status_changed_at AS changed_at,
    ARRAY(
        SELECT a.code::text
        FROM public.n_jtd_status_flows AS f
        JOIN public.n_jtd_statuses AS a ON a.id = f.to_status_id
        WHERE f.from_status_id = s.id AND f.is_active AND NOT f.is_automatic
        ORDER BY a.display_order, a.code) AS steps,
    j.payload,
    j.created_at
FROM jtd.work AS w
JOIN public.n_jtd AS j ON j.id = w.jtd_id
LEFT JOIN public.n_jtd_statuses AS s ON s.event_type_code = w.event_type_code AND s.code = w.status_code
LEFT JOIN public.n_jtd_source_types AS t ON t.code = w.source_type_code;
COMMENT ON VIEW jtd.screen IS 'All work as a screen shows it; see jtd.appointments and jtd.tasks.';

CREATE OR REPLACE VIEW jtd.appointments WITH (security_invoker = true) AS
SELECT * FROM jtd.screen WHERE category = 'scheduling';
COMMENT ON VIEW jtd.appointments IS 'Appointments and service visits; a page is those after (at, id), for one tenant_id, ORDER BY at, id.';

CREATE OR REPLACE VIEW jtd.tasks WITH (security_invoker = true) AS
SELECT * FROM jtd.screen WHERE category = 'action';
COMMENT ON VIEW jtd.tasks IS 'Tasks; a page is those after (at, id), for one tenant_id, ORDER BY at, id.';

COMMENT ON COLUMN public.n_jtd_status_flows.requires_reason IS 'jtd.act refuses this step without a reason.';

INSERT INTO jtd.migrations (name) VALUES ('019_create_jtd_work') ON CONFLICT DO NOTHING;
