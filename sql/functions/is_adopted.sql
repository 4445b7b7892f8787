-- Whether this is the database in which its jobs were made, or one that a person has adopted.
-- Called by: jtd.claim_v1, jtd.hand_off_v1 and others.  Locks: nothing.
-- A host that keeps its identifier to itself, now or then, is taken at its word. False on a restored backup and on a copy: what is still to be sent there may have been sent elsewhere.
CREATE OR REPLACE FUNCTION jtd.is_adopted() RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT EXISTS (
        SELECT FROM jtd.instance AS i JOIN jtd.here() AS h
            ON h.database_oid = i.database_oid
                AND (h.system_identifier = i.system_identifier OR 0 IN (h.system_identifier, i.system_identifier)))
$$;
REVOKE ALL ON FUNCTION jtd.is_adopted() FROM PUBLIC;
