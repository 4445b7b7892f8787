-- Keeps the lists and queues in step with a change of jobs, whoever made it.
-- Called by: AFTER UPDATE statement trigger on public.n_jtd.  Locks: list rows of jobs that the statement holds.
-- A claim and a settled send touch neither list and pass through.
-- Nested loops are off: a session keeps the plan of its first statement, and one made for a single row would
-- compare each old row with each new one for ever after.
CREATE OR REPLACE FUNCTION jtd.place_updated() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_nestloop = off
AS $$
DECLARE
    was_listed uuid[];
    to_place uuid[];
    begun_anew uuid[];
BEGIN
    SELECT
        array_agg(n.id) FILTER (WHERE o.status_code IN ('pending', 'scheduled')),
        array_agg(n.id) FILTER (WHERE n.status_code IN ('pending', 'scheduled', 'queued')),
        array_agg(n.id) FILTER (WHERE n.status_code = 'created')
    INTO was_listed, to_place, begun_anew
    FROM new_rows AS n
    JOIN old_rows AS o ON o.id = n.id
    WHERE (n.status_code IN ('created', 'pending', 'scheduled', 'queued') OR o.status_code IN ('pending', 'scheduled'))
        AND (n.status_code <> o.status_code
            OR (n.status_code <> 'queued'
                AND (n.scheduled_at, n.next_retry_at, n.expires_at, n.priority, n.channel_code)
                    IS DISTINCT FROM (o.scheduled_at, o.next_retry_at, o.expires_at, o.priority, o.channel_code)));
    IF was_listed IS NOT NULL THEN
        PERFORM jtd.unlist(was_listed);
    END IF;
    IF to_place IS NOT NULL THEN
        PERFORM jtd.place(to_place);
    END IF;
    IF begun_anew IS NOT NULL THEN
        PERFORM jtd.hasten(ARRAY(
            SELECT j.id FROM public.n_jtd AS j
            JOIN public.n_jtd_event_types AS e ON e.code = j.event_type_code AND e.is_message
            WHERE j.id = ANY (begun_anew)));
    END IF;
    RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION jtd.place_updated() FROM PUBLIC;
