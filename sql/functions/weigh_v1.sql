-- Puts on record what messages about to be handed off count as, and where they were cut: should the worker die, their
-- attempts of unknown outcome cost what they did, and a retry cuts at the same place.
-- Called by: the worker, in the statement of the hand-off, for messages of several units or cut ones.
-- Locks: their rows of jtd.inflight, by id, SKIP LOCKED: what somebody takes back now is not handed off.
CREATE OR REPLACE FUNCTION jtd.weigh_v1(
    p_worker uuid, p_ids uuid[], p_attempts integer[], p_units integer[], p_kept integer[], p_characters integer[])
RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    WITH held AS MATERIALIZED (
        SELECT f.jtd_id
        FROM jtd.inflight AS f
        WHERE f.jtd_id = ANY (p_ids) AND f.worker_id = p_worker
        ORDER BY f.jtd_id FOR NO KEY UPDATE SKIP LOCKED
    )
    UPDATE jtd.inflight AS f
    SET units = w.units, kept = w.kept, characters = w.characters
    FROM held AS h
    JOIN unnest(p_ids, p_attempts, p_units, p_kept, p_characters) AS w (id, attempt, units, kept, characters)
        ON w.id = h.jtd_id
    WHERE f.jtd_id = h.jtd_id AND f.attempt = w.attempt
$$;
REVOKE ALL ON FUNCTION jtd.weigh_v1(uuid, uuid[], integer[], integer[], integer[], integer[]) FROM PUBLIC;
