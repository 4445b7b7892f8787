-- Enters this database as the one whose jobs are sent; from now on workers send them.
-- Called by: jtd-worker adopt, after jtd.adopt_jobs has looked at every job.  Locks: the row of jtd.instance.
-- p_from: when the adoption began. Returns whether anything changed.
CREATE OR REPLACE FUNCTION jtd.adopt(p_from timestamptz) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF jtd.is_adopted() THEN
        RETURN false;
    END IF;
    INSERT INTO jtd.instance AS i (system_identifier, database_oid, timeline, known_since, adopted_by)
    SELECT h.system_identifier, h.database_oid, h.timeline, p_from, coalesce(a.actor_name, session_user)
    FROM jtd.here() AS h CROSS JOIN jtd.actor() AS a
    ON CONFLICT (is_only) DO UPDATE
    SET system_identifier = excluded.system_identifier, database_oid = excluded.database_oid,
        timeline = excluded.timeline, known_since = excluded.known_since, adopted_by = excluded.adopted_by;
    RETURN true;
END
$$;
REVOKE ALL ON FUNCTION jtd.adopt(timestamptz) FROM PUBLIC;
