-- Gives back what was taken of a credential's limit and certainly not used, to the second for which it was taken.
-- Called by: the worker, at most once for what jtd.reserve_v1 granted.  Locks: the credential's row of jtd.rates.
-- A second that does not count any more gives nothing back.
CREATE OR REPLACE FUNCTION jtd.give_back_v1(p_channel text, p_provider text, p_second bigint, p_count integer) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    UPDATE jtd.rates AS r
    SET counts = ARRAY(
        SELECT CASE WHEN t.second = p_second THEN greatest(0, t.count - p_count) ELSE t.count END
        FROM unnest(r.seconds, r.counts) WITH ORDINALITY AS t (second, count, n) ORDER BY t.n)
    WHERE r.channel_code = p_channel AND r.provider = p_provider
$$;
REVOKE ALL ON FUNCTION jtd.give_back_v1(text, text, bigint, integer) FROM PUBLIC;
