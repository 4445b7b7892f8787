-- The series whose latest job is due, so that the next is to be made, the longest due first.
-- Called by: the worker whose tick told of some.  Locks: nothing.  None, no rows.
-- basis is handed back to jtd.recur_v1, which leaves alone what has changed meanwhile; clock is the time of this database.
CREATE OR REPLACE FUNCTION jtd.recurrences_due_v1(p_limit integer)
RETURNS TABLE (
    id uuid, basis text, recurrence text, zone text, series_start timestamptz, occurs_at timestamptz, occurrence integer,
    clock timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT j.id, jtd.recurrence_basis(j), j.recurrence, j.recurrence_zone, j.series_start, j.occurs_at, j.occurrence, now()
    FROM jtd.recurring AS r
    JOIN public.n_jtd AS j ON j.id = r.jtd_id
    WHERE r.next_look <= now()
    ORDER BY r.next_look
    LIMIT p_limit
$$;
REVOKE ALL ON FUNCTION jtd.recurrences_due_v1(integer) FROM PUBLIC;
