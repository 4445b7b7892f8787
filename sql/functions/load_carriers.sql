-- Settles which jobs the messages of carriers carry, once, when a worker first takes them.
-- Called by: jtd.claim_v1.  Locks: the jobs that go with them, by id, SKIP LOCKED; the caller holds the carriers.
-- One that may not be sent any more, or that somebody holds, is left out, and goes by itself; so every attempt has the
-- same content, and a job is called sent only if it was in the message. A carrier with one that takes no change (SQLSTATE
-- 22, 23) goes alone.
CREATE OR REPLACE FUNCTION jtd.load_carriers(p_ids uuid[]) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    held uuid[];
    loaded uuid[];
BEGIN
    held := ARRAY(
        SELECT m.id FROM public.n_jtd AS m
        WHERE m.carrier_id = ANY (p_ids) AND m.id <> m.carrier_id AND m.status_code = 'pending'
        ORDER BY m.id FOR NO KEY UPDATE SKIP LOCKED);
    loaded := ARRAY(SELECT g.id FROM jtd.judge(held) AS g WHERE g.verdict IN ('send', 'defer'));
    UPDATE public.n_jtd AS c
    SET carries = c.id || ARRAY(
        SELECT m.id FROM public.n_jtd AS m WHERE m.carrier_id = c.id AND m.id = ANY (loaded) ORDER BY m.id)
    WHERE c.id = ANY (p_ids);
    UPDATE public.n_jtd AS m SET carrier_id = m.id, next_retry_at = now()
    WHERE m.id = ANY (held) AND m.id <> ALL (loaded);
EXCEPTION WHEN data_exception OR integrity_constraint_violation THEN
    IF cardinality(p_ids) > 1 THEN
        PERFORM jtd.load_carriers(p_ids[: cardinality(p_ids) / 2]);
        PERFORM jtd.load_carriers(p_ids[cardinality(p_ids) / 2 + 1 :]);
    ELSE
        UPDATE public.n_jtd AS c SET carries = ARRAY[c.id] WHERE c.id = ANY (p_ids);
    END IF;
END
$$;
REVOKE ALL ON FUNCTION jtd.load_carriers(uuid[]) FROM PUBLIC;
