-- Writes one history row for each status change, whoever made it; takes the place of the function of that name in 001.
-- Called by: AFTER UPDATE statement trigger on public.n_jtd.  Locks: nothing.
-- A step that a receipt called for names the receipt: its provider, kind and code.
-- Nested loops are off: a session keeps the plan of its first statement, and one made for a single row would
-- compare each old row with each new one for ever after.
CREATE OR REPLACE FUNCTION jtd.audit_update() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_nestloop = off
AS $$
DECLARE
    by_type text;
    by_id uuid;
    by_name text;
    by_setting CONSTANT boolean := coalesce(current_setting('jtd.actor', true), '') <> '';
BEGIN
    IF by_setting THEN
        SELECT a.actor_type, a.actor_id, a.actor_name INTO by_type, by_id, by_name FROM jtd.actor() AS a;
    END IF;
    INSERT INTO public.n_jtd_history (
        jtd_id, tenant_id, channel_code, event_type_code, action, from_status_code, to_status_code,
        is_valid_transition, performed_by_type, performed_by_id, performed_by_name, reason, details, is_live)
    SELECT
        n.id, n.tenant_id, n.channel_code, n.event_type_code, 'status_changed', o.status_code, n.status_code,
        coalesce(n.is_valid_transition, false),
        CASE WHEN by_setting THEN by_type WHEN c.changed THEN coalesce(n.performed_by_type, 'user') ELSE 'system' END,
        CASE WHEN by_setting THEN by_id WHEN c.changed THEN n.performed_by_id END,
        CASE WHEN by_setting THEN by_name WHEN c.changed THEN n.performed_by_name ELSE session_user::text END,
        n.transition_note,
        CASE WHEN n.attempt > 0 OR n.error_code IS NOT NULL OR by_type = 'webhook' THEN jsonb_strip_nulls(jsonb_build_object(
            'attempt', nullif(n.attempt, 0),
            'error_code', n.error_code,
            'error_message', n.error_message,
            'provider', n.provider_code,
            'not_before', CASE WHEN n.status_code = 'pending' THEN n.next_retry_at END)) END
            || CASE WHEN by_type = 'webhook' AND n.transition_note = 'receipt'
                THEN coalesce(n.execution_result -> 'receipt', '{}') ELSE '{}' END,
        n.is_live
    FROM new_rows AS n
    JOIN old_rows AS o ON o.id = n.id
    CROSS JOIN LATERAL (SELECT
        (n.performed_by_type, n.performed_by_id, n.performed_by_name)
        IS DISTINCT FROM (o.performed_by_type, o.performed_by_id, o.performed_by_name) AS changed) AS c
    WHERE n.status_code IS DISTINCT FROM o.status_code;
    RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION jtd.audit_update() FROM PUBLIC;
