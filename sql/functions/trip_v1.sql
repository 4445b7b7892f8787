-- Opens the breaker of a provider, or keeps it open: nothing is handed to it until the time returned.
-- Called by: a worker that saw it fail.  Locks: the breaker's row.
-- p_code: the short reason, e.g. smtp_535. p_seconds: how long the provider asked for; NULL gives 5 s, doubled with
-- each probe that failed, up to 60 s. A failure that another worker saw meanwhile adds nothing.
CREATE OR REPLACE FUNCTION jtd.trip_v1(p_channel text, p_provider text, p_code text, p_seconds double precision)
RETURNS timestamptz
LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    INSERT INTO jtd.breakers AS b (channel_code, provider, code, retry_at)
    VALUES (p_channel, p_provider, left(p_code, 100),
        clock_timestamp() + make_interval(secs => greatest(0, least(coalesce(p_seconds, 5), 3600))))
    ON CONFLICT (channel_code, provider) DO UPDATE
    SET code = CASE WHEN b.is_paused THEN b.code ELSE excluded.code END,
        probes = b.probes + (b.probing_until IS NOT NULL)::integer,
        probing_until = NULL,
        retry_at = greatest(b.retry_at, clock_timestamp() + make_interval(secs => greatest(0, least(coalesce(p_seconds,
            CASE WHEN b.probing_until IS NULL THEN 0 ELSE least(60, 5 * 2.0 ^ least(b.probes + 1, 10)) END), 3600))))
    RETURNING b.retry_at
$$;
REVOKE ALL ON FUNCTION jtd.trip_v1(text, text, text, double precision) FROM PUBLIC;
