-- Saves the providers' ids that a change of jobs brings, and lists receipts as due that waited for the change.
-- Called by: AFTER UPDATE statement trigger on public.n_jtd.  Locks: nothing.
-- A receipt that comes while its job executes is parked by who holds the job, so the end of that attempt sees it here.
-- Nested loops are off: a session keeps the plan of its first statement, and one made for a single row would
-- compare each old row with each new one for ever after.
CREATE OR REPLACE FUNCTION jtd.sent_updated() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_nestloop = off
SET enable_seqscan = off  -- of the receipts only few are parked, whatever the planner has heard
AS $$
DECLARE
    message_keys uuid[];
    ids uuid[];
BEGIN
    IF EXISTS (SELECT FROM new_rows AS n WHERE n.provider_message_id IS NOT NULL) THEN
        SELECT array_agg(jtd.message_key(n.channel_code, n.provider_code, n.provider_message_id)), array_agg(n.id)
        INTO message_keys, ids
        FROM new_rows AS n
        JOIN old_rows AS o ON o.id = n.id
        WHERE n.provider_message_id IS NOT NULL AND (n.provider_message_id, n.provider_code, n.channel_code)
            IS DISTINCT FROM (o.provider_message_id, o.provider_code, o.channel_code);
        IF ids IS NOT NULL THEN
            PERFORM jtd.save_sent_ids(message_keys, ids);
        END IF;
    END IF;
    IF EXISTS (SELECT FROM public.n_jtd_receipts AS r WHERE r.state = 'parked' AND r.jtd_id IS NOT NULL) THEN
        ids := ARRAY(
            SELECT n.id FROM new_rows AS n JOIN old_rows AS o ON o.id = n.id
            WHERE o.status_code = 'executing' AND n.status_code <> 'executing');
        IF ids <> '{}' THEN
            PERFORM jtd.wake_receipts('{}', ids);
        END IF;
    END IF;
    RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION jtd.sent_updated() FROM PUBLIC;
