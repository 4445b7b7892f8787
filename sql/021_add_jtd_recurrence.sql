-- Lets jobs recur by a rule of RFC 5545, and lists the series that go on.

ALTER TABLE public.n_jtd ADD COLUMN IF NOT EXISTS recurrence text;
ALTER TABLE public.n_jtd ADD COLUMN IF NOT EXISTS recurrence_zone text;
ALTER TABLE public.n_jtd ADD COLUMN IF NOT EXISTS series_id uuid;
ALTER TABLE public.n_jtd ADD COLUMN IF NOT EXISTS series_start timestamptz;
ALTER TABLE public.n_jtd ADD COLUMN IF NOT EXISTS occurrence integer;
ALTER TABLE public.n_jtd ADD COLUMN IF NOT EXISTS occurs_at timestamptz;
COMMENT ON COLUMN public.n_jtd.recurrence IS 'An RRULE of RFC 5545, then lines with EXDATE and RDATE if there are any; no DTSTART, which scheduled_at is. NULL: once.';
COMMENT ON COLUMN public.n_jtd.recurrence_zone IS 'The time zone in whose wall-clock time it recurs; the tenant''s if the producer named none.';
COMMENT ON COLUMN public.n_jtd.series_id IS 'The id of the first job of the series.';
COMMENT ON COLUMN public.n_jtd.series_start IS 'From where the rule counts: the first occurrence, or the one at which the rule was last changed.';
COMMENT ON COLUMN public.n_jtd.occurrence IS 'Its number in the series, from 1, as COUNT of the rule counts: those left out or missed have one, too.';
COMMENT ON COLUMN public.n_jtd.occurs_at IS 'The time that the rule gave it. The next one follows from it, also when scheduled_at is moved.';
COMMENT ON COLUMN public.n_jtd_event_types.supports_recurrence IS 'Whether its jobs may have a recurrence; else JT015.';

CREATE TABLE IF NOT EXISTS jtd.recurring (
    series_id uuid PRIMARY KEY,
    jtd_id uuid NOT NULL UNIQUE,
    next_look timestamptz,
    template_id uuid,
    locale varchar(35),
    ended text
);
CREATE INDEX IF NOT EXISTS recurring_next_look_idx ON jtd.recurring (next_look) WHERE next_look IS NOT NULL;
COMMENT ON TABLE jtd.recurring IS 'One row for each series, with its latest job; written by triggers of n_jtd and jtd.recur_v1.';
COMMENT ON COLUMN jtd.recurring.next_look IS 'When the job after the latest is made: its occurs_at. NULL: the series has ended.';
COMMENT ON COLUMN jtd.recurring.template_id IS 'As the producer gave it; a claim writes another into the job.';
COMMENT ON COLUMN jtd.recurring.locale IS 'As the producer gave it; a claim writes another into the job.';
COMMENT ON COLUMN jtd.recurring.ended IS 'Why the series has ended.';

INSERT INTO jtd.migrations (name) VALUES ('021_add_jtd_recurrence') ON CONFLICT DO NOTHING;
