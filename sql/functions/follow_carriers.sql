-- Lets jobs that go with another job's message come to what that one came to.
-- Called by: jtd.carry_updated, jtd.release_due.  Locks: nothing; the caller holds the rows.
-- If their carrier was cancelled or expired, or is gone, nothing of them was sent: each goes by itself.
CREATE OR REPLACE FUNCTION jtd.follow_carriers(p_ids uuid[]) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_nestloop = on
AS $$
DECLARE
    alike record;
BEGIN
    FOR alike IN
        SELECT c.status_code, coalesce(c.status_code IN ('cancelled', 'expired'), true) AS is_gone, array_agg(m.id) AS ids
        FROM public.n_jtd AS m
        LEFT JOIN public.n_jtd AS c ON c.id = m.carrier_id
        WHERE m.id = ANY (p_ids) AND m.carrier_id <> m.id AND m.status_code IN ('pending', 'failed', 'sent', 'delivered')
            AND (c.id IS NULL OR c.status_code IN ('sent', 'delivered', 'read', 'bounced', 'cancelled', 'expired')
                OR (c.status_code = 'failed' AND c.completed_at IS NOT NULL))
            AND c.status_code IS DISTINCT FROM m.status_code
        GROUP BY 1, 2
        ORDER BY 1
    LOOP
        IF alike.is_gone THEN
            UPDATE public.n_jtd AS m SET carrier_id = m.id, next_retry_at = now()
            WHERE m.id = ANY (alike.ids) AND m.status_code = 'pending';
        ELSE
            UPDATE public.n_jtd AS m
            SET provider_code = c.provider_code, executed_at = c.executed_at,
                error_code = CASE alike.status_code WHEN 'failed' THEN 'carrier_failed' END,
                error_message = CASE alike.status_code WHEN 'failed'
                    THEN 'the message that carried it failed: job ' || c.id END
            FROM public.n_jtd AS c
            WHERE m.id = ANY (alike.ids) AND c.id = m.carrier_id;
            PERFORM jtd.step(alike.ids, alike.status_code, 'batched');
            UPDATE public.n_jtd AS m SET completed_at = now()
            WHERE m.id = ANY (alike.ids) AND alike.status_code = 'failed';
        END IF;
    END LOOP;
END
$$;
REVOKE ALL ON FUNCTION jtd.follow_carriers(uuid[]) FROM PUBLIC;
