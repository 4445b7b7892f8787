-- Puts the hand-off on record before the first byte leaves, and returns the jobs that may go.
-- Called by: workers of the release before this one.  Locks and answers: as jtd.hand_off_v2.
CREATE OR REPLACE FUNCTION jtd.hand_off_v1(
    p_worker uuid, p_ids uuid[], p_attempts integer[], p_unknown_rule text, p_provider text) RETURNS SETOF uuid
LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT h.id
    FROM jtd.hand_off_v2(p_worker, p_ids, p_attempts, p_unknown_rule,
        (SELECT j.channel_code FROM public.n_jtd AS j WHERE j.id = p_ids[1]), p_provider) AS h
    WHERE h.answer = 'go'
$$;
REVOKE ALL ON FUNCTION jtd.hand_off_v1(uuid, uuid[], integer[], text, text) FROM PUBLIC;
