-- Adds a remark to the audit trail of a job, about something that did not change its status.
-- Called by: jtd.apply_results, jtd.note_late, jtd.resolve and others.  Locks: nothing.
CREATE OR REPLACE FUNCTION jtd.remark(p_id uuid, p_action text, p_reason text, p_details jsonb) RETURNS void
LANGUAGE sql VOLATILE
AS $$
    INSERT INTO public.n_jtd_history (
        jtd_id, tenant_id, channel_code, event_type_code, action, from_status_code, to_status_code,
        performed_by_type, performed_by_id, performed_by_name, reason, details, is_live)
    SELECT j.id, j.tenant_id, j.channel_code, j.event_type_code, p_action, j.status_code, j.status_code,
        coalesce(a.actor_type, 'system'), a.actor_id,
        CASE WHEN a.actor_type IS NULL THEN session_user ELSE a.actor_name END, p_reason, p_details, j.is_live
    FROM public.n_jtd AS j
    CROSS JOIN jtd.actor() AS a
    WHERE j.id = p_id
$$;
REVOKE ALL ON FUNCTION jtd.remark(uuid, text, text, jsonb) FROM PUBLIC;
