-- Notes that the recipient of a job wants no more of its kind: messages of its tenant and source type on its channel.
-- Called by: jtd-worker serve.  Locks: as jtd.set_preference.
-- True if there is such a job, also the second time. An identity message stays allowed: see jtd.set_preference.
CREATE OR REPLACE FUNCTION jtd.unsubscribe_v1(p_id uuid) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    job record;
BEGIN
    SELECT j.tenant_id, j.source_type_code, j.channel_code,
        jtd.recipient(c.recipient_key, j.recipient_contact, j.recipient_id, j.payload) AS recipient
        INTO job
        FROM public.n_jtd AS j JOIN public.n_jtd_channels AS c ON c.code = j.channel_code
        WHERE j.id = p_id;
    IF job.recipient IS NULL THEN
        RETURN false;
    END IF;
    PERFORM jtd.set_preference(job.tenant_id, job.recipient, job.source_type_code, job.channel_code, false);
    RETURN true;
END
$$;
REVOKE ALL ON FUNCTION jtd.unsubscribe_v1(uuid) FROM PUBLIC;
