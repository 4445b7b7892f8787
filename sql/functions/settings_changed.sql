-- Checks a tenant's settings, and brings his test recipients into one form.
-- Called by: BEFORE INSERT OR UPDATE row trigger on public.n_jtd_tenant_config.  Locks: nothing.
CREATE OR REPLACE FUNCTION jtd.settings_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    wrong text;
BEGIN
    BEGIN
        PERFORM now() AT TIME ZONE NEW.timezone;
    EXCEPTION WHEN invalid_parameter_value THEN
        RAISE EXCEPTION 'time zone % is not known', quote_literal(NEW.timezone)
            USING ERRCODE = 'JT040', HINT = 'Give a name of the tz database, such as Asia/Kolkata: see pg_timezone_names.';
    END;
    IF (NEW.quiet_hours_start IS NULL) <> (NEW.quiet_hours_end IS NULL) THEN
        RAISE EXCEPTION 'quiet hours need a start and an end'
            USING ERRCODE = 'JT041', HINT = 'Set quiet_hours_start and quiet_hours_end, or neither.';
    END IF;
    IF NEW.daily_limit < 0 OR NEW.monthly_limit < 0 THEN
        RAISE EXCEPTION 'a limit is less than 0' USING ERRCODE = 'JT043', HINT = 'Give 0 or more; NULL is no limit.';
    END IF;
    SELECT r.recipient INTO wrong FROM unnest(NEW.test_recipients) AS r (recipient)
    WHERE jtd.canonical(r.recipient) IS NULL OR jtd.canonical(r.recipient) = '@';
    IF FOUND THEN
        RAISE EXCEPTION 'test recipient % is none', quote_nullable(wrong)
            USING ERRCODE = 'JT042', HINT = 'Give addresses, numbers, user ids, or @domain.';
    END IF;
    NEW.test_recipients := ARRAY(SELECT jtd.canonical(r.recipient) FROM unnest(NEW.test_recipients) AS r (recipient));
    SELECT r.key INTO wrong FROM jsonb_each(CASE jsonb_typeof(NEW.rate_limits) WHEN 'object' THEN NEW.rate_limits
        ELSE jsonb_build_object('rate_limits', NEW.rate_limits) END) AS r
    WHERE r.value::text !~ '^[1-9][0-9]{0,8}$';
    IF FOUND THEN
        RAISE EXCEPTION 'the rate limit of % is not a whole number from 1', quote_literal(wrong)
            USING ERRCODE = 'JT043', HINT = 'Give {"channel": messages a minute}; leave a channel out for no limit.';
    END IF;
    RETURN NEW;
END
$$;
REVOKE ALL ON FUNCTION jtd.settings_changed() FROM PUBLIC;
