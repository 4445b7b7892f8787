-- What a reason of the gate or of a list means, in words, for the sentence of jtd.explain; NULL for one that needs none.
-- Called by: jtd.explain.  Locks: nothing.
CREATE OR REPLACE FUNCTION jtd.wording(p_reason text) RETURNS text
LANGUAGE sql IMMUTABLE
AS $$
    SELECT CASE p_reason
        WHEN 'scheduled' THEN 'its scheduled time'
        WHEN 'retry' THEN 'a retry'
        WHEN 'delay' THEN 'the delay that its tenant sets for the source'
        WHEN 'batch' THEN 'others to the same recipient, to go with them'
        WHEN 'batched' THEN 'the message that carries it, too'
        WHEN 'receipt' THEN 'a receipt of its provider, for nobody knows whether it was sent'
        WHEN 'quiet_hours' THEN 'the end of its tenant''s quiet hours'
        WHEN 'daily_limit' THEN 'the next day of its tenant, whose limit is used up'
        WHEN 'monthly_limit' THEN 'the next month of its tenant, whose limit is used up'
        WHEN 'tenant_rate' THEN 'its tenant''s rate limit'
        WHEN 'provider_at_rate' THEN 'the only provider that may have it, which is at its rate'
        WHEN 'credential_at_work' THEN 'the messages that its tenant''s own credential is sending already'
        WHEN 'credential_refused' THEN 'the credential that its tenant''s settings name, to be mended'
        WHEN 'provider_refused' THEN 'the provider that its tenant''s settings name, to be mended'
        WHEN 'sender_refused' THEN 'the sender that its tenant''s settings name, to be mended'
        WHEN 'channel_paused' THEN 'its channel, which is paused, to be resumed'
        WHEN 'tenant_paused' THEN 'its tenant, who is paused, to be resumed'
        WHEN 'source_paused' THEN 'its source type, which is paused, to be resumed'
        WHEN 'expired' THEN 'it is too late'
        WHEN 'blocked_channel_inactive' THEN 'its channel is not active'
        WHEN 'blocked_channel_not_allowed' THEN 'its event type does not allow the channel'
        WHEN 'blocked_event_type_inactive' THEN 'its event type is not active'
        WHEN 'blocked_source_inactive' THEN 'its source type is not active'
        WHEN 'blocked_source_disabled' THEN 'its tenant has switched the source type off'
        WHEN 'blocked_channel_disabled' THEN 'its tenant has switched the channel off'
        WHEN 'blocked_suppressed' THEN 'its recipient bounced, complained, or does not want it'
        WHEN 'blocked_daily_limit' THEN 'its tenant''s limit of the day is used up'
        WHEN 'blocked_monthly_limit' THEN 'its tenant''s limit of the month is used up'
    END
$$;
REVOKE ALL ON FUNCTION jtd.wording(text) FROM PUBLIC;
