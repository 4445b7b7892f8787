-- Begins the count of rows of one INSERT statement, of which a part goes straight to the queue.
-- Called by: BEFORE INSERT statement trigger on public.n_jtd.  Locks: nothing.
CREATE OR REPLACE FUNCTION jtd.count_statement() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM set_config('jtd.statement_rows', '0', true);
    RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION jtd.count_statement() FROM PUBLIC;
