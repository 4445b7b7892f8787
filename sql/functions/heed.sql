-- Why a person should look at a job in this state; NULL when there is no need.
-- Called by: jtd.heed_inserted, jtd.heed_updated.  Locks: nothing.
CREATE OR REPLACE FUNCTION jtd.heed(p_status text, p_error text, p_completed timestamptz) RETURNS text
LANGUAGE sql IMMUTABLE
AS $$
    SELECT CASE
        WHEN p_status = 'failed' AND p_error = 'written_off' THEN NULL  -- a person has looked at it
        WHEN p_status = 'failed' AND p_error = 'carrier_failed' THEN NULL  -- its carrier is listed
        WHEN p_status = 'failed' AND p_completed IS NOT NULL THEN coalesce(p_error, 'failed')
        WHEN p_status = 'bounced' THEN 'bounced'
        WHEN p_status = 'cancelled' AND p_error = 'blocked_suppressed' THEN NULL  -- as its recipient wished
        WHEN p_status = 'cancelled' AND p_error LIKE 'blocked\_%' THEN p_error
    END
$$;
REVOKE ALL ON FUNCTION jtd.heed(text, text, timestamptz) FROM PUBLIC;
