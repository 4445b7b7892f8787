-- What jobs must have in common to become one message: tenant, source, channel, recipient, template and language.
-- Called by: jtd.place.  Locks: nothing.
CREATE OR REPLACE FUNCTION jtd.batch_key(p_job public.n_jtd, p_recipient_key text) RETURNS text
LANGUAGE sql IMMUTABLE
AS $$
    SELECT md5(jsonb_build_array(
        p_job.tenant_id, p_job.is_live, p_job.event_type_code, p_job.source_type_code, p_job.channel_code,
        jtd.canonical(jtd.recipient(p_recipient_key, p_job.recipient_contact, p_job.recipient_id, p_job.payload)),
        p_job.template_id, p_job.template_key, p_job.locale)::text)
$$;
REVOKE ALL ON FUNCTION jtd.batch_key(public.n_jtd, text) FROM PUBLIC;
