-- Checks the recurrence of a job, and fills what its series needs.
-- Called by: BEFORE INSERT and BEFORE UPDATE OF recurrence, recurrence_zone, occurs_at row triggers on public.n_jtd.
-- Locks: nothing.  Refuses with JT015 where the event type does not recur, with JT016 a recurrence with a mistake, and
-- a change at another job than the latest of the series. A change counts from that job on.
CREATE OR REPLACE FUNCTION jtd.keep_series() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    mistake text;
    latest uuid;
BEGIN
    IF NEW.recurrence IS NULL OR (
        TG_OP = 'INSERT' AND NEW.idempotency_key = format('series:%s:%s', NEW.series_id, NEW.occurrence))
    THEN  -- the next of a series, made by jtd.recur_v1, was checked with the first
        RETURN NEW;
    END IF;
    IF NOT EXISTS (
        SELECT FROM public.n_jtd_event_types AS e WHERE e.code = NEW.event_type_code AND e.supports_recurrence)
    THEN
        PERFORM jtd.refuse('JT015', 'a recurrence of event type', NEW.event_type_code, ARRAY(
            SELECT e.code FROM public.n_jtd_event_types AS e WHERE e.is_active AND e.supports_recurrence
            ORDER BY e.display_order, e.code));
    END IF;
    IF TG_OP = 'INSERT' THEN
        NEW.series_id := NEW.id;
        NEW.occurrence := 1;
        NEW.occurs_at := NEW.scheduled_at;
    ELSE
        NEW.series_id := coalesce(OLD.series_id, NEW.id);
        NEW.occurrence := coalesce(OLD.occurrence, 1);
        NEW.occurs_at := coalesce(NEW.occurs_at, NEW.scheduled_at);
        latest := (SELECT r.jtd_id FROM jtd.recurring AS r WHERE r.series_id = NEW.series_id);
    END IF;
    NEW.occurs_at := date_trunc('second', NEW.occurs_at);
    NEW.recurrence_zone := coalesce(NEW.recurrence_zone, (
        SELECT t.timezone FROM public.n_jtd_tenant_config AS t
        WHERE t.tenant_id = NEW.tenant_id AND t.is_live = NEW.is_live AND t.is_active), 'UTC');
    mistake := CASE
        WHEN latest <> NEW.id THEN format('it is changed at the latest job of the series, %s', latest)
        WHEN NEW.occurs_at IS NULL THEN 'scheduled_at is missing, the first time'
        WHEN NEW.occurs_at NOT BETWEEN '1970-01-02 00:00+00' AND '9000-01-01 00:00+00' THEN 'scheduled_at is out of range'
        WHEN NEW.recurrence_zone !~ '^[A-Za-z0-9_+/-]{1,64}$' THEN 'recurrence_zone is no time zone'
        ELSE jtd.recurrence_mistake(NEW.recurrence) END;
    IF mistake IS NULL THEN
        BEGIN
            PERFORM now() AT TIME ZONE NEW.recurrence_zone;
        EXCEPTION WHEN invalid_parameter_value THEN
            mistake := 'recurrence_zone is no time zone';
        END;
    END IF;
    IF mistake IS NOT NULL THEN
        RAISE EXCEPTION 'the recurrence is refused: %', mistake
            USING ERRCODE = 'JT016', HINT = 'Give an RRULE of RFC 5545, such as RRULE:FREQ=MONTHLY;BYMONTHDAY=-1;COUNT=12.';
    END IF;
    IF TG_OP = 'INSERT' OR (NEW.recurrence, NEW.recurrence_zone, NEW.occurs_at)
        IS DISTINCT FROM (OLD.recurrence, OLD.recurrence_zone, OLD.occurs_at)
    THEN
        NEW.series_start := NEW.occurs_at;
    END IF;
    RETURN NEW;
END
$$;
REVOKE ALL ON FUNCTION jtd.keep_series() FROM PUBLIC;
