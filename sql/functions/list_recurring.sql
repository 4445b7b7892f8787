-- Lists the series that a job begins or changes; a job whose recurrence is taken away ends its series, and one that has
-- ended goes on with another recurrence only: a program that writes all columns back must not revive it.
-- Called by: AFTER INSERT and AFTER UPDATE OF recurrence, recurrence_zone, occurs_at row triggers on public.n_jtd, the
-- first only for jobs that begin a series, so that others pay nothing.  Locks: list rows of a job that the statement holds.
CREATE OR REPLACE FUNCTION jtd.list_recurring() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NEW.recurrence IS NULL THEN
        UPDATE jtd.recurring AS r SET next_look = NULL, ended = 'its recurrence was taken away'
        WHERE r.jtd_id = NEW.id AND r.next_look IS NOT NULL;
    ELSE
        INSERT INTO jtd.recurring AS r (series_id, jtd_id, next_look, template_id, locale)
        VALUES (NEW.series_id, NEW.id, NEW.occurs_at,
            CASE WHEN NEW.template_version IS NULL THEN NEW.template_id END,  -- else a claim chose it
            CASE WHEN NEW.template_version IS NULL THEN NEW.locale END)
        ON CONFLICT (series_id) DO UPDATE SET next_look = excluded.next_look, ended = NULL
        WHERE r.next_look IS NOT NULL OR NEW.recurrence IS DISTINCT FROM OLD.recurrence;
    END IF;
    IF NEW.recurrence IS DISTINCT FROM OLD.recurrence THEN
        DELETE FROM jtd.attention AS a WHERE a.jtd_id = NEW.id AND a.reason = 'series_ended';
    END IF;
    RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION jtd.list_recurring() FROM PUBLIC;
