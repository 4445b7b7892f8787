-- Brings the recipient of a suppression into the one form in which it is looked for.
-- Called by: BEFORE INSERT OR UPDATE row trigger on public.n_jtd_suppressions.  Locks: nothing.
CREATE OR REPLACE FUNCTION jtd.keep_suppression() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    NEW.recipient := jtd.canonical(NEW.recipient);
    RETURN NEW;
END
$$;
REVOKE ALL ON FUNCTION jtd.keep_suppression() FROM PUBLIC;
