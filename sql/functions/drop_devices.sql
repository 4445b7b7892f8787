-- Deletes the devices that results call gone, unless they were registered again after the worker had read them.
-- Called by: jtd.apply_results.  Locks: their rows, by id, SKIP LOCKED: one that is being registered is not gone.
-- Whatever becomes of the results themselves: a device that is gone is gone for every job.
CREATE OR REPLACE FUNCTION jtd.drop_devices(p_results jsonb) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    DELETE FROM public.n_push_devices AS d
    WHERE d.id = ANY (ARRAY(
        SELECT n.id
        FROM public.n_push_devices AS n
        JOIN (
            SELECT (g.one ->> 'id')::uuid AS id, (g.one ->> 'registered_at')::timestamptz AS registered_at
            FROM jsonb_path_query(p_results, '$[*].gone_devices[*]') AS g (one)) AS gone
            ON gone.id = n.id AND gone.registered_at = n.last_registered_at
        ORDER BY n.id FOR UPDATE OF n SKIP LOCKED))
$$;
REVOKE ALL ON FUNCTION jtd.drop_devices(jsonb) FROM PUBLIC;
