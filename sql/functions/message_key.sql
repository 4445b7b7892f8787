-- The digest under which a provider's id of a message is looked for; NULL without an id.
-- Called by: jtd.store_receipts, jtd.sent_updated, jtd.sent_inserted, jtd.note_late.  Locks: nothing.
-- p_provider may name an instance or a tenant's own (sendgrid.backup, sendgrid@acme): its family counts.
CREATE OR REPLACE FUNCTION jtd.message_key(p_channel text, p_provider text, p_message_id text) RETURNS uuid
LANGUAGE sql IMMUTABLE
AS $$
    SELECT md5(p_channel || E'\n' || substring(p_provider FROM '^[^.@]*') || E'\n' || p_message_id)::uuid
$$;
REVOKE ALL ON FUNCTION jtd.message_key(text, text, text) FROM PUBLIC;
