-- Makes the messages that are due about some work, as jobs of their own that go the way of all messages.
-- Called by: jtd.vani_take.  Locks: nothing; the caller holds the work.
-- A message is about the time that the work has now: what the producer wrote about it is replaced. Where the settings leave
-- no channel, none is made, and the audit trail says so once.
CREATE OR REPLACE FUNCTION jtd.vani_messages(p_ids uuid[]) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    unsent record;
BEGIN
    FOR unsent IN  -- one statement: what is noted is what was decided, whoever changes a setting meanwhile
        WITH step AS MATERIALIZED (
            SELECT s.*, m.event_type, m.source_type, m.channel, m.template_key, m.local_time,
                m.channel IS NOT NULL OR EXISTS (
                    SELECT FROM jtd.route(m.event_type, m.source_type, j.tenant_id, j.is_live, j.recipient_contact,
                        j.recipient_id, j.payload)) AS has_channel
            FROM jtd.vani_steps(p_ids) AS s
            JOIN public.n_jtd AS j ON j.id = s.jtd_id
            CROSS JOIN LATERAL jtd.vani_message(s.step, j) AS m
            WHERE s.key IS NOT NULL AND s.state IN ('due', 'late')
        ), message AS (
            INSERT INTO public.n_jtd (
                tenant_id, event_type_code, source_type_code, channel_code, recipient_type, recipient_id, recipient_name,
                recipient_contact, payload, template_key, metadata, expires_at, is_live, locale, parent_id, source_id,
                source_ref, business_context, idempotency_key, performed_by_type, performed_by_id, performed_by_name)
            SELECT j.tenant_id, s.event_type, s.source_type, s.channel, j.recipient_type, j.recipient_id, j.recipient_name,
                j.recipient_contact,
                CASE jsonb_typeof(j.payload) WHEN 'object' THEN jsonb_build_object(
                    'customer_name', j.recipient_name, 'service_type', j.payload ->> 'title',
                    'assigned_by', j.performed_by_name) || j.payload ELSE '{}' END
                    || CASE WHEN j.scheduled_at IS NULL THEN '{}' ELSE jsonb_build_object(
                        'appointment_date', s.local_time, 'service_date', s.local_time) END,
                s.template_key,
                jsonb_build_object('vani', jsonb_build_object(
                    'for', j.id, 'step', s.step, 'move', w.moves, 'person', j.recipient_id, 'rule', s.rule)),
                CASE WHEN s.until < '9999-12-30 00:00+00' THEN s.until END, j.is_live, j.locale, j.id, j.source_id,
                j.source_ref, j.business_context, s.key, 'vani', a.id, a.name
            FROM step AS s
            JOIN public.n_jtd AS j ON j.id = s.jtd_id
            JOIN jtd.work AS w ON w.jtd_id = j.id
            JOIN public.n_system_actors AS a ON a.code = 'vani'
            WHERE s.state = 'due' AND s.has_channel
            ORDER BY s.key
            ON CONFLICT DO NOTHING
        )
        SELECT s.jtd_id, s.state, s.rule FROM step AS s WHERE s.state = 'late' OR NOT s.has_channel
    LOOP
        PERFORM jtd.remark(unsent.jtd_id, 'note', format('VaNi sends nothing: %s (%s)',
            CASE unsent.state WHEN 'late' THEN 'it was too late' ELSE 'no channel is on' END, unsent.rule), NULL);
    END LOOP;
END
$$;
REVOKE ALL ON FUNCTION jtd.vani_messages(uuid[]) FROM PUBLIC;
