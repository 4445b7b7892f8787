-- As which message VaNi sends a step about some work; channel NULL asks for each channel of the source type.
-- Called by: jtd.vani_messages, jtd.vani_plan.  Locks: nothing.  local_time is the time of the work as its tenant's clock shows it.
CREATE OR REPLACE FUNCTION jtd.vani_message(p_step text, p_work public.n_jtd)
RETURNS TABLE (event_type text, source_type text, channel text, template_key text, local_time text)
LANGUAGE sql STABLE
AS $$
    SELECT
        CASE p_step WHEN 'remind' THEN 'reminder' ELSE 'notification' END,
        CASE p_step WHEN 'remind' THEN coalesce(s.reminder_source_type, s.code) ELSE p_work.source_type_code END,
        CASE p_step WHEN 'tell' THEN 'inapp' END,
        CASE p_step WHEN 'tell' THEN 'task_assigned_inapp_v1' END,
        CASE WHEN p_work.scheduled_at < '9999-12-30 00:00+00'  -- beyond, a zone may have no such time
            THEN to_char(p_work.scheduled_at AT TIME ZONE coalesce(t.timezone, 'UTC'), 'YYYY-MM-DD HH24:MI') END
    FROM (SELECT) AS one
    LEFT JOIN public.n_jtd_source_types AS s ON s.code = p_work.source_type_code
    LEFT JOIN public.n_jtd_tenant_config AS t
        ON t.tenant_id = p_work.tenant_id AND t.is_live = p_work.is_live AND t.is_active
$$;
REVOKE ALL ON FUNCTION jtd.vani_message(text, public.n_jtd) FROM PUBLIC;
