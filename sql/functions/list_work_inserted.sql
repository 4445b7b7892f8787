-- Lists the work among the jobs of one INSERT statement.
-- Called by: AFTER INSERT statement trigger on public.n_jtd.  Locks: nothing.
CREATE OR REPLACE FUNCTION jtd.list_work_inserted() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    ids uuid[] := ARRAY(
        SELECT n.id FROM new_rows AS n
        JOIN public.n_jtd_event_types AS e ON e.code = n.event_type_code AND NOT e.is_message);
BEGIN
    IF ids <> '{}' THEN
        PERFORM jtd.list_work(ids);
    END IF;
    RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION jtd.list_work_inserted() FROM PUBLIC;
