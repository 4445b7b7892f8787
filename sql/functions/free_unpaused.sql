-- Makes due what was put off for a pause of its source type that has ended meanwhile.
-- Called by: jtd.tick_v1.  Locks: its rows of jtd.waiting, SKIP LOCKED.
-- jtd.resume_source frees what it sees; a claim may have put off a job that it could not see yet.
CREATE OR REPLACE FUNCTION jtd.free_unpaused(p_limit integer) RETURNS void
LANGUAGE sql VOLATILE
AS $$
    UPDATE jtd.waiting AS w SET due = now()
    WHERE NOT EXISTS (SELECT FROM jtd.pauses AS p WHERE p.scope = 'source_type') AND w.ctid = ANY (ARRAY(
        SELECT x.ctid FROM jtd.waiting AS x WHERE x.reason = 'source_paused' AND x.due > now()
        LIMIT p_limit FOR UPDATE SKIP LOCKED))
$$;
REVOKE ALL ON FUNCTION jtd.free_unpaused(integer) FROM PUBLIC;
