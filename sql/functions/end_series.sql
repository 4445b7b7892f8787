-- Ends a series: no further job of it is made, and the one that is still ahead is cancelled.
-- Called by: services, jtd-worker end-series.  Locks: the latest job of the series, and waits for it.
-- p_id is the id of the series, or of any job of it. Returns ended; over (it had ended; nothing changed but that it needs
-- no attention any more); or absent. Jobs whose time has come stay as they are: jtd.cancel.
CREATE OR REPLACE FUNCTION jtd.end_series(p_id uuid, p_reason text DEFAULT NULL) RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    reason CONSTANT text := left(coalesce(nullif(btrim(p_reason), ''), 'cancelled'), 500);
    series CONSTANT uuid := coalesce((SELECT j.series_id FROM public.n_jtd AS j WHERE j.id = p_id), p_id);
    latest uuid;
    occurs_at timestamptz;
    is_over boolean;
BEGIN
    LOOP  -- while we wait for the latest job, another may become the latest
        latest := (SELECT r.jtd_id FROM jtd.recurring AS r WHERE r.series_id = series);
        IF latest IS NULL THEN
            RETURN 'absent';
        END IF;
        SELECT j.occurs_at INTO occurs_at FROM public.n_jtd AS j WHERE j.id = latest FOR NO KEY UPDATE;
        SELECT r.next_look IS NULL INTO is_over FROM jtd.recurring AS r WHERE r.series_id = series AND r.jtd_id = latest;
        EXIT WHEN FOUND;
    END LOOP;
    DELETE FROM jtd.attention AS a WHERE a.jtd_id = latest AND a.reason = 'series_ended';
    IF is_over THEN
        RETURN 'over';
    END IF;
    UPDATE jtd.recurring AS r SET next_look = NULL, ended = reason WHERE r.series_id = series;
    PERFORM jtd.remark(latest, 'series', 'the series has ended: ' || reason, NULL);
    IF occurs_at > now() THEN
        PERFORM jtd.cancel(latest, reason);
    END IF;
    RETURN 'ended';
END
$$;
REVOKE ALL ON FUNCTION jtd.end_series(uuid, text) FROM PUBLIC;
