-- Raises the refusal of a structural mistake, naming what would be allowed.
-- Called by: jtd.enqueue_row.  Locks: nothing.  Never returns.
CREATE OR REPLACE FUNCTION jtd.refuse(p_state text, p_what text, p_given text, p_allowed text[]) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION '%',
        CASE WHEN p_given IS NULL THEN format('%s is missing', p_what)
            ELSE format('%s %L is not allowed', p_what, left(p_given, 100)) END
        USING ERRCODE = p_state, HINT = 'Allowed: ' || array_to_string(p_allowed, ', ') || '.';
END
$$;
REVOKE ALL ON FUNCTION jtd.refuse(text, text, text, text[]) FROM PUBLIC;
