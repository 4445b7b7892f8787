-- Makes a job that shows whether a message of a channel arrives, and returns its id.
-- Called by: jtd-worker send-test.  Locks: nothing.
-- p_template NULL: a text of our own, entered as a system template at its first use. The job expires after p_within:
-- whoever asked has gone by then. Refused as any job is, with JT001 and so on.
CREATE OR REPLACE FUNCTION jtd.send_test(
    p_tenant uuid, p_channel text, p_recipient text, p_template text, p_variables jsonb, p_is_live boolean, p_within interval)
RETURNS uuid
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF p_template IS NULL THEN
        -- without a source type, so that no job gets it that does not name it
        INSERT INTO public.n_jtd_templates (template_key, name, channel_code, subject, content)
        SELECT 'jtd_send_test', 'Test message of jtd-worker send-test', c.code, 'A test message',
            'This is a test message. If you can read it, messages arrive.'
        FROM public.n_jtd_channels AS c
        WHERE c.code = p_channel
        ON CONFLICT DO NOTHING;
    END IF;
    RETURN (SELECT e.id FROM jtd.enqueue(
        tenant_id => p_tenant, event_type => 'notification', source_type => 'system', channel => p_channel,
        recipient => p_recipient, template_key => coalesce(p_template, 'jtd_send_test'),
        template_variables => p_variables, expires_at => clock_timestamp() + p_within, is_live => p_is_live) AS e);
END
$$;
REVOKE ALL ON FUNCTION jtd.send_test(uuid, text, text, text, jsonb, boolean, interval) FROM PUBLIC;
