-- The series whose latest job is due, so that the next is to be made, the longest due first.
-- Called by: the worker whose tick told of some.  Locks: nothing.  None, no rows.
-- basis is handed back to jtd.recur_v1, which leaves alone what has changed meanwhile; clock is the time of this database.
-- What was emptied by hand has a value all the same, so that one series cannot stop the others.
CREATE OR REPLACE FUNCTION jtd.recurrences_due_v1(p_limit integer)
RETURNS TABLE (
    id uuid, basis text, recurrence text, zone text, series_start timestamptz, occurs_at timestamptz, occurrence integer,
    clock timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT j.id, jtd.recurrence_basis(j), j.recurrence, coalesce(j.recurrence_zone, 'UTC'),
        CASE WHEN j.series_start BETWEEN '1970-01-02 00:00+00' AND '9000-01-01 00:00+00' THEN j.series_start
            ELSE r.next_look END,
        r.next_look, coalesce(j.occurrence, 1), now()
    FROM jtd.recurring AS r
    JOIN public.n_jtd AS j ON j.id = r.jtd_id
    WHERE r.next_look <= now() AND r.next_look >= '1970-01-02 00:00+00' AND j.recurrence IS NOT NULL
    ORDER BY r.next_look
    LIMIT p_limit
$$;
REVOKE ALL ON FUNCTION jtd.recurrences_due_v1(integer) FROM PUBLIC;
