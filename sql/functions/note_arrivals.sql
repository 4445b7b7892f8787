-- Notes whose jobs came onto the list of ready ones, one row for each tenant of a transaction.
-- Called by: AFTER INSERT and AFTER UPDATE statement triggers on jtd.ready.
-- Locks: nothing that another transaction wants: its own number is in the key.
CREATE OR REPLACE FUNCTION jtd.note_arrivals() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO jtd.arrivals (channel_code, lane, tenant_id)
    SELECT DISTINCT n.channel_code, n.lane, n.tenant_id FROM new_rows AS n
    ON CONFLICT DO NOTHING;
    RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION jtd.note_arrivals() FROM PUBLIC;
