-- The address of a job on a channel, wherever the producer put it; NULL when there is none.
-- Called by: jtd.enqueue_row, jtd.claim_v1.  Locks: nothing.  Any payload at all is allowed.
CREATE OR REPLACE FUNCTION jtd.recipient(p_key text, p_contact text, p_recipient_id uuid, p_payload jsonb) RETURNS text
LANGUAGE sql IMMUTABLE
AS $$
    SELECT CASE p_key
        WHEN 'user' THEN coalesce(
            CASE WHEN jsonb_typeof(p_payload #> '{recipient_data,user_id}') = 'string'
                THEN jtd.trimmed(p_payload #>> '{recipient_data,user_id}') END,
            p_recipient_id::text,
            jtd.trimmed(p_contact))
        WHEN 'mobile' THEN coalesce(jtd.trimmed(p_contact), CASE
            WHEN jtd.trimmed(p_payload #>> '{recipient_data,mobile}') LIKE '+%'
                OR jtd.trimmed(p_payload #>> '{recipient_data,country_code}') ~ '^[[:alpha:]]{2}$'  -- a region: the worker's to read
                OR jtd.trimmed(p_payload #>> '{recipient_data,country_code}') IS NULL
                THEN jtd.trimmed(p_payload #>> '{recipient_data,mobile}')
            ELSE '+' || ltrim(jtd.trimmed(p_payload #>> '{recipient_data,country_code}'), '+')
                || jtd.trimmed(p_payload #>> '{recipient_data,mobile}') END)
        ELSE coalesce(jtd.trimmed(p_contact),
            CASE WHEN jsonb_typeof(p_payload #> ARRAY['recipient_data', p_key]) = 'string'
                THEN jtd.trimmed(p_payload #>> ARRAY['recipient_data', p_key]) END)
    END
$$;
REVOKE ALL ON FUNCTION jtd.recipient(text, text, uuid, jsonb) FROM PUBLIC;
