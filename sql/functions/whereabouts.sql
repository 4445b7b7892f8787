-- Where each job is: final, sent, work, waiting, ready, queued, in_flight, imported - or lost, which must never be.
-- Called by: jtd.explain, jtd.conservation.  Locks: nothing.  NULL asks for every job.
-- sent: handed over, only receipts can still move it. work: moved by people or VaNi, not by the worker.
-- imported: brought here with its status, and never sent unless a person adopts it.
CREATE OR REPLACE FUNCTION jtd.whereabouts(p_ids uuid[] DEFAULT NULL)
RETURNS TABLE (id uuid, status_code text, place text)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT p.id, p.status_code, CASE WHEN p.place = 'lost' AND p.id = ANY (jtd.imported(ARRAY[p.id])) THEN 'imported'
        ELSE p.place END
    FROM (SELECT j.id, j.status_code::text, CASE
        WHEN s.is_terminal OR (j.status_code = 'failed' AND j.completed_at IS NOT NULL)
            THEN CASE WHEN w.jtd_id IS NULL AND r.jtd_id IS NULL THEN 'final' ELSE 'lost' END
        WHEN NOT e.is_message THEN 'work'
        WHEN j.status_code IN ('pending', 'scheduled') THEN CASE
            WHEN w.jtd_id IS NOT NULL AND r.jtd_id IS NULL THEN 'waiting'
            WHEN r.jtd_id IS NOT NULL AND w.jtd_id IS NULL THEN 'ready'
            ELSE 'lost' END
        WHEN j.status_code = 'queued' THEN CASE WHEN m.jtd_id IS NOT NULL THEN 'queued' ELSE 'lost' END
        WHEN j.status_code = 'executing' THEN CASE WHEN f.attempt = j.attempt THEN 'in_flight' ELSE 'lost' END
        WHEN j.status_code IN ('sent', 'delivered', 'viewed') THEN 'sent'
        ELSE 'lost'
    END AS place
    FROM public.n_jtd AS j
    LEFT JOIN public.n_jtd_event_types AS e ON e.code = j.event_type_code
    LEFT JOIN public.n_jtd_statuses AS s ON s.event_type_code = j.event_type_code AND s.code = j.status_code
    LEFT JOIN jtd.waiting AS w ON w.jtd_id = j.id
    LEFT JOIN jtd.ready AS r ON r.jtd_id = j.id
    LEFT JOIN jtd.inflight AS f ON f.jtd_id = j.id
    LEFT JOIN (SELECT DISTINCT q.jtd_id FROM jtd.queue_messages() AS q) AS m ON m.jtd_id = j.id
    WHERE p_ids IS NULL OR j.id = ANY (p_ids)) AS p
$$;
REVOKE ALL ON FUNCTION jtd.whereabouts(uuid[]) FROM PUBLIC;
