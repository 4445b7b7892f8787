-- What n_jtd.execution_result keeps of a message's content: units, and where it was cut; what is not told stays as it was.
-- Called by: all that write execution_result anew.  Locks: nothing.  {} when nothing is known.
-- A later attempt must be cut where the one that was handed off first was, though it may end before it is rendered.
CREATE OR REPLACE FUNCTION jtd.content(p_before jsonb, p_units integer, p_kept integer, p_characters integer) RETURNS jsonb
LANGUAGE sql IMMUTABLE
AS $$
    SELECT CASE
        WHEN p_before IS NULL AND p_units IS NULL AND p_kept IS NULL THEN '{}'::jsonb
        ELSE jsonb_strip_nulls(jsonb_build_object(
            'units', coalesce(to_jsonb(p_units), p_before -> 'units'),
            'kept', coalesce(to_jsonb(p_kept), p_before -> 'kept'),
            'characters', coalesce(to_jsonb(p_characters), p_before -> 'characters')))
        END
$$;
REVOKE ALL ON FUNCTION jtd.content(jsonb, integer, integer, integer) FROM PUBLIC;
