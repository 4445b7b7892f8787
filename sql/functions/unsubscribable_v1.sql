-- The source types whose mails carry a link to unsubscribe.
-- Called by: the worker, with each claim.  Locks: nothing.  Empty when there are none.
CREATE OR REPLACE FUNCTION jtd.unsubscribable_v1() RETURNS text[]
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(array_agg(s.code::text), '{}') FROM public.n_jtd_source_types AS s WHERE s.wants_unsubscribe
$$;
REVOKE ALL ON FUNCTION jtd.unsubscribable_v1() FROM PUBLIC;
