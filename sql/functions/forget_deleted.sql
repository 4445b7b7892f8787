-- Forgets jobs that were deleted; their queue messages are discarded by the claim that meets them.
-- Called by: AFTER DELETE statement trigger on public.n_jtd.  Locks: the list rows.
CREATE OR REPLACE FUNCTION jtd.forget_deleted() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    ids uuid[] := ARRAY(SELECT o.id FROM old_rows AS o);
BEGIN
    PERFORM jtd.unlist(ids);
    DELETE FROM jtd.attention AS a WHERE a.jtd_id = ANY (ids);
    DELETE FROM jtd.inflight AS f WHERE f.jtd_id = ANY (ids);
    RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION jtd.forget_deleted() FROM PUBLIC;
