-- Takes along the jobs whose message another job carries, when that one has come to something.
-- Called by: AFTER UPDATE statement trigger on public.n_jtd.  Locks: those jobs by id, SKIP LOCKED: one that is held by
-- somebody follows within the hour, by jtd.release_due.
-- Nested loops are off for the changed rows, as in jtd.place_updated.
CREATE OR REPLACE FUNCTION jtd.carry_updated() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_nestloop = off
AS $$
DECLARE
    carriers uuid[];
BEGIN
    IF NOT EXISTS (SELECT FROM new_rows AS n WHERE n.carrier_id = n.id) THEN
        RETURN NULL;
    END IF;
    carriers := ARRAY(
        SELECT n.id FROM new_rows AS n JOIN old_rows AS o ON o.id = n.id
        WHERE n.carrier_id = n.id AND (n.status_code, n.completed_at) IS DISTINCT FROM (o.status_code, o.completed_at));
    IF carriers <> '{}' THEN
        BEGIN
            PERFORM jtd.follow_carriers(ARRAY(
                SELECT m.id FROM public.n_jtd AS m WHERE m.carrier_id = ANY (carriers) AND m.id <> m.carrier_id
                ORDER BY m.id FOR NO KEY UPDATE SKIP LOCKED));
        EXCEPTION WHEN data_exception OR integrity_constraint_violation THEN
            NULL;  -- one that takes no change must not keep its carrier from being settled; it is named within the hour
        END;
    END IF;
    RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION jtd.carry_updated() FROM PUBLIC;
