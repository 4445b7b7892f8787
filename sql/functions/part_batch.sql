-- Lets jobs that cannot be closed together go by themselves, each as a message of one.
-- Called by: jtd.close_batches, when one of them takes no change (SQLSTATE 22, 23).  Locks: each in turn, SKIP LOCKED.
-- Returns those that go. One that takes no change is not tried with others again: it goes as it is when its own time comes.
CREATE OR REPLACE FUNCTION jtd.part_batch(p_ids uuid[]) RETURNS uuid[]
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    one uuid;
    parted uuid[] := '{}';
BEGIN
    FOREACH one IN ARRAY p_ids LOOP
        BEGIN
            PERFORM FROM public.n_jtd AS j
            WHERE j.id = one AND j.status_code IN ('pending', 'scheduled') AND j.carrier_id IS NULL
            FOR NO KEY UPDATE SKIP LOCKED;
            CONTINUE WHEN NOT FOUND;
            UPDATE public.n_jtd AS j SET carrier_id = j.id, next_retry_at = NULL WHERE j.id = one;
            parted := parted || one;
        EXCEPTION WHEN data_exception OR integrity_constraint_violation THEN
            UPDATE jtd.waiting AS w SET batch_key = NULL WHERE w.jtd_id = one;
        END;
    END LOOP;
    RETURN parted;
END
$$;
REVOKE ALL ON FUNCTION jtd.part_batch(uuid[]) FROM PUBLIC;
