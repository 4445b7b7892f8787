-- Enters this database as the one in which its jobs are made, if none is entered yet.
-- Called by: sql/triggers.sql.  Locks: nothing for long.
-- Jobs that are there already were made here, under a release that kept no such record.
CREATE OR REPLACE FUNCTION jtd.know_instance() RETURNS void
LANGUAGE sql VOLATILE
AS $$
    INSERT INTO jtd.instance (system_identifier, database_oid, timeline, known_since)
    SELECT h.system_identifier, h.database_oid, h.timeline,
        CASE WHEN EXISTS (SELECT FROM public.n_jtd) THEN '-infinity' ELSE now() END
    FROM jtd.here() AS h
    ON CONFLICT DO NOTHING
$$;
REVOKE ALL ON FUNCTION jtd.know_instance() FROM PUBLIC;
