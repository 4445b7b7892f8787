-- Cancels messages of VaNi that nobody should get any more: the work is closed or deleted, was moved, or has another person.
-- Called by: jtd.vani_take.  Locks: the messages and the jobs that carry them by id, SKIP LOCKED; the caller holds the work.
-- Returns the work of which one is held by somebody: to be looked at again soon. What was handed over is left.
CREATE OR REPLACE FUNCTION jtd.vani_tidy(p_ids uuid[]) RETURNS uuid[]
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    stale uuid[];
    held uuid[];
BEGIN
    stale := ARRAY(
        WITH changed AS (
            SELECT u.id AS jtd_id, w.moves, w.person_id, w.jtd_id IS NULL OR coalesce(s.is_terminal, false) AS is_closed
            FROM unnest(p_ids) AS u (id)
            LEFT JOIN jtd.work AS w ON w.jtd_id = u.id
            LEFT JOIN public.n_jtd_statuses AS s ON s.event_type_code = w.event_type_code AND s.code = w.status_code
            WHERE w.jtd_id IS NULL OR s.is_terminal OR w.moves > 0 OR w.category = 'action'
        ), message AS (
            SELECT c.id, c.status_code, c.event_type_code, c.metadata -> 'vani' AS vani
            FROM changed AS x JOIN public.n_jtd AS c ON c.parent_id = x.jtd_id AND c.performed_by_type = 'vani'
            UNION ALL
            SELECT o.id, o.status_code, o.event_type_code, o.metadata -> 'vani'
            FROM changed AS x
            JOIN public.n_jtd AS c ON c.parent_id = x.jtd_id AND c.performed_by_type = 'vani'
            JOIN public.n_jtd AS o ON o.parent_id = c.id
        )
        SELECT m.id
        FROM message AS m
        JOIN changed AS x ON x.jtd_id::text = m.vani ->> 'for'
        WHERE m.status_code IN ('created', 'scheduled', 'pending', 'queued', 'executing')
            AND (x.is_closed
                OR (m.vani ->> 'step' <> 'tell' AND m.vani ->> 'move' <> x.moves::text)
                OR (m.vani ->> 'step' = 'tell' AND m.vani ->> 'person' IS DISTINCT FROM x.person_id::text)));
    IF stale = '{}' THEN
        RETURN '{}';
    END IF;
    held := ARRAY(
        SELECT j.id FROM public.n_jtd AS j
        WHERE j.id = ANY (stale || ARRAY(SELECT m.carrier_id FROM public.n_jtd AS m WHERE m.id = ANY (stale)))
        ORDER BY j.id FOR NO KEY UPDATE SKIP LOCKED);
    held := ARRAY(  -- jtd.cancel would wait for the job that carries it
        SELECT j.id FROM public.n_jtd AS j
        LEFT JOIN public.n_jtd AS c ON c.id = j.carrier_id
        WHERE j.id = ANY (stale) AND j.id = ANY (held) AND (c.id IS NULL OR c.id = ANY (held)));
    PERFORM jtd.cancel(u.id, 'its work was closed, moved, or given to another person') FROM unnest(held) AS u (id);
    RETURN ARRAY(
        SELECT DISTINCT (j.metadata #>> '{vani,for}')::uuid FROM public.n_jtd AS j
        WHERE j.id = ANY (stale) AND j.id <> ALL (held));
END
$$;
REVOKE ALL ON FUNCTION jtd.vani_tidy(uuid[]) FROM PUBLIC;
