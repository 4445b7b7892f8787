-- Those of some jobs that were brought here with a life behind them, and that nobody has adopted.
-- Called by: jtd.mend, jtd.whereabouts, jtd.adopt_jobs.  Locks: nothing.  None, an empty array.
-- Their state is that of another place or time: they may have been sent since, so they rest until jtd.adopt.
CREATE OR REPLACE FUNCTION jtd.imported(p_ids uuid[]) RETURNS uuid[]
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT ARRAY(
        SELECT j.id
        FROM public.n_jtd AS j
        CROSS JOIN jtd.instance AS i
        LEFT JOIN LATERAL (
            SELECT h.action, h.created_at FROM public.n_jtd_history AS h
            WHERE h.jtd_id = j.id AND h.action IN ('created', 'imported', 'status_changed', 'adopted')
            ORDER BY h.id DESC LIMIT 1) AS last ON true
        WHERE j.id = ANY (p_ids) AND (last.action = 'imported'
            OR (j.created_at < i.known_since AND coalesce(last.created_at < i.known_since, true))))
$$;
REVOKE ALL ON FUNCTION jtd.imported(uuid[]) FROM PUBLIC;
