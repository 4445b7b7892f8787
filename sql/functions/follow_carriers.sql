-- Lets jobs that go with another job's message come to what that one came to, if they were in it.
-- Called by: jtd.carry_updated, jtd.release_due.  Locks: nothing; the caller holds the rows.
-- One that was not, or whose carrier was cancelled, expired or is gone before it was sent, goes by itself. If it may
-- have been sent with such a carrier, it is held: outcome_unknown, for a person.
CREATE OR REPLACE FUNCTION jtd.follow_carriers(p_ids uuid[]) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_nestloop = on
AS $$
DECLARE
    alike record;
BEGIN
    FOR alike IN
        SELECT f.fate, array_agg(f.id) AS ids
        FROM (
            SELECT m.id, CASE
                WHEN c.id IS NULL THEN 'alone'
                WHEN c.status_code IN ('cancelled', 'expired') THEN CASE
                    WHEN m.id = ANY (c.carries) AND c.execution_result ->> 'outcome' = 'unknown' THEN 'unknown'
                    ELSE 'alone' END
                WHEN c.status_code IN ('sent', 'delivered', 'read', 'bounced')
                    OR (c.status_code = 'failed' AND c.completed_at IS NOT NULL) THEN CASE
                    WHEN m.id = ANY (c.carries) THEN nullif(c.status_code, m.status_code)
                    WHEN m.status_code = 'pending' THEN 'alone' END
            END AS fate
            FROM public.n_jtd AS m
            LEFT JOIN public.n_jtd AS c ON c.id = m.carrier_id
            WHERE m.id = ANY (p_ids) AND m.carrier_id <> m.id AND (m.status_code IN ('pending', 'sent', 'delivered')
                OR (m.status_code = 'failed' AND m.error_code = 'carrier_failed'))) AS f
        WHERE f.fate IS NOT NULL
        GROUP BY f.fate
        ORDER BY f.fate
    LOOP
        IF alike.fate = 'alone' THEN
            PERFORM jtd.step(ARRAY(
                SELECT m.id FROM public.n_jtd AS m WHERE m.id = ANY (alike.ids) AND m.status_code = 'failed'),
                'pending', 'retry');
            UPDATE public.n_jtd AS m SET carrier_id = m.id, next_retry_at = now(), error_code = NULL, error_message = NULL
            WHERE m.id = ANY (alike.ids) AND m.status_code = 'pending';
            CONTINUE;
        END IF;
        UPDATE public.n_jtd AS m
        SET provider_code = c.provider_code, executed_at = c.executed_at,
            error_code = CASE alike.fate WHEN 'failed' THEN 'carrier_failed' WHEN 'unknown' THEN 'outcome_unknown' END,
            error_message = CASE WHEN alike.fate IN ('failed', 'unknown')
                THEN 'the message that carried it came to nothing certain: job ' || c.id END
        FROM public.n_jtd AS c
        WHERE m.id = ANY (alike.ids) AND c.id = m.carrier_id;
        PERFORM jtd.step(ARRAY(
            SELECT m.id FROM public.n_jtd AS m WHERE m.id = ANY (alike.ids)
                AND (alike.fate <> 'unknown' OR m.status_code <> 'failed')),
            CASE alike.fate WHEN 'unknown' THEN 'failed' ELSE alike.fate END, 'batched');
        UPDATE public.n_jtd AS m SET completed_at = now()
        WHERE m.id = ANY (alike.ids) AND alike.fate IN ('failed', 'unknown');
    END LOOP;
END
$$;
REVOKE ALL ON FUNCTION jtd.follow_carriers(uuid[]) FROM PUBLIC;
