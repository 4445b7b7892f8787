-- Lets a job that is edited while it waits for others, or for its carrier, go by itself, as it is now.
-- Called by: BEFORE UPDATE row trigger on public.n_jtd, where a column changes that says to whom, how, what or when.
-- Locks: the jobs that an edited carrier would have carried.
CREATE OR REPLACE FUNCTION jtd.keep_batch() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF OLD.carrier_id = OLD.id AND OLD.carries IS NULL THEN
        UPDATE public.n_jtd AS m SET carrier_id = m.id, next_retry_at = now()
        WHERE m.carrier_id = OLD.id AND m.id <> OLD.id AND m.status_code = 'pending';
    ELSIF OLD.carrier_id IS DISTINCT FROM OLD.id THEN
        NEW.carrier_id := NEW.id;
        NEW.next_retry_at := now();
    END IF;
    RETURN NEW;
END
$$;
REVOKE ALL ON FUNCTION jtd.keep_batch() FROM PUBLIC;
