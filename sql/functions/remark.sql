-- Adds a remark to the audit trail of a job, about something that did not change its status.
-- Called by: jtd.apply_results.  Locks: nothing.
CREATE OR REPLACE FUNCTION jtd.remark(p_id uuid, p_action text, p_reason text, p_details jsonb) RETURNS void
LANGUAGE sql VOLATILE
AS $$
    INSERT INTO public.n_jtd_history (
        jtd_id, tenant_id, channel_code, event_type_code, action, from_status_code, to_status_code,
        performed_by_type, performed_by_name, reason, details, is_live)
    SELECT j.id, j.tenant_id, j.channel_code, j.event_type_code, p_action, j.status_code, j.status_code,
        'system', session_user, p_reason, p_details, j.is_live
    FROM public.n_jtd AS j
    WHERE j.id = p_id
$$;
REVOKE ALL ON FUNCTION jtd.remark(uuid, text, text, jsonb) FROM PUBLIC;
