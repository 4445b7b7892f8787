-- What each channel takes, and does with a text that is too long: {channel: {"rule", "characters", "parts", "recipient_key"}}.
-- Called by: the worker at its start, jtd.tick_v1.  Locks: nothing.
-- characters NULL is no limit; parts NULL says that the channel's messages are not counted in SMS parts.
CREATE OR REPLACE FUNCTION jtd.content_rules_v1() RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(jsonb_object_agg(c.code, jsonb_build_object(
        'rule', c.content_rule,
        'characters', CASE WHEN c.max_content_length < 1 THEN 1 ELSE c.max_content_length END,
        'parts', CASE WHEN c.code = 'sms' OR c.content_rule = 'split' THEN c.max_parts END,
        'recipient_key', c.recipient_key)), '{}')
    FROM public.n_jtd_channels AS c
$$;
REVOKE ALL ON FUNCTION jtd.content_rules_v1() FROM PUBLIC;
