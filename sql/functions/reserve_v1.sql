-- Takes up to p_wanted messages of a credential's limit, for hand-offs within the next second.
-- Called by: the worker, before it claims, in a transaction of its own.  Locks: the credential's row of jtd.rates.
-- granted: how many may be handed over. second: for jtd.give_back_v1, NULL where there is no limit. pause: seconds until
-- this lane may take more, 0 for now. What a dead worker took counts as used.
CREATE OR REPLACE FUNCTION jtd.reserve_v1(p_channel text, p_provider text, p_lane text, p_wanted integer)
RETURNS TABLE (granted integer, second bigint, pause double precision)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    per_minute CONSTANT integer := jtd.rate_limit(p_channel, p_provider);
    seen jtd.rates;
    moment double precision;
    this_second bigint;
    took integer;
BEGIN
    IF per_minute IS NULL THEN
        RETURN QUERY SELECT p_wanted, NULL::bigint, 0.0::double precision;
        RETURN;
    END IF;
    LOOP
        SELECT * INTO seen FROM jtd.rates AS r
        WHERE r.channel_code = p_channel AND r.provider = p_provider FOR NO KEY UPDATE;
        EXIT WHEN FOUND;
        INSERT INTO jtd.rates (channel_code, provider) VALUES (p_channel, p_provider) ON CONFLICT DO NOTHING;
    END LOOP;
    moment := extract(epoch FROM clock_timestamp());  -- only now: others may have had the row for a while
    this_second := floor(moment);
    SELECT least(p_wanted, m.free) INTO took
    FROM jtd.rate_room(seen.seconds, seen.counts, per_minute, p_lane, this_second) AS m;
    IF took > 0 THEN
        SELECT array_agg(t.second ORDER BY t.second), array_agg(t.count ORDER BY t.second)
        INTO seen.seconds, seen.counts
        FROM jtd.rate_taken(seen.seconds || this_second, seen.counts || took, this_second) AS t;
        UPDATE jtd.rates AS r SET seconds = seen.seconds, counts = seen.counts
        WHERE r.channel_code = p_channel AND r.provider = p_provider;
    END IF;
    RETURN QUERY SELECT greatest(0, took), this_second, coalesce(m.free_at - moment, 0)
    FROM jtd.rate_room(seen.seconds, seen.counts, per_minute, p_lane, this_second) AS m;
END
$$;
REVOKE ALL ON FUNCTION jtd.reserve_v1(text, text, text, integer) FROM PUBLIC;
