-- Places the jobs of one INSERT statement; imported ones are left alone.
-- Called by: AFTER INSERT statement trigger on public.n_jtd.  Locks: nothing.
CREATE OR REPLACE FUNCTION jtd.place_inserted() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    ids uuid[] := ARRAY(
        SELECT n.id FROM new_rows AS n
        WHERE n.status_code IN ('queued', 'pending', 'scheduled') AND n.status_changed_at = now());
BEGIN
    IF ids <> '{}' THEN
        PERFORM jtd.place(ids);
    END IF;
    RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION jtd.place_inserted() FROM PUBLIC;
