-- The job that a message names, or NULL when it names none: any body at all is allowed.
-- Called by: jtd.claim_v1.  Locks: nothing.
CREATE OR REPLACE FUNCTION jtd.message_id(p_body jsonb) RETURNS uuid
LANGUAGE sql IMMUTABLE
AS $$
    SELECT CASE WHEN p_body ->> 'jtd_id' ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
        THEN (p_body ->> 'jtd_id')::uuid END
$$;
REVOKE ALL ON FUNCTION jtd.message_id(jsonb) FROM PUBLIC;
