-- Pauses a source type for every tenant: nothing of it is claimed until jtd.resume_source. What runs is finished.
-- Called by: operators, jtd-worker pause.  Locks: nothing.  false when there is no such source type.
CREATE OR REPLACE FUNCTION jtd.pause_source(p_source_type text, p_reason text DEFAULT NULL) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO jtd.pauses AS p (scope, code, reason)
    SELECT 'source_type', s.code, p_reason FROM public.n_jtd_source_types AS s WHERE s.code = p_source_type
    ON CONFLICT (scope, code) DO UPDATE SET reason = excluded.reason, paused_by = excluded.paused_by;
    RETURN FOUND;
END
$$;
REVOKE ALL ON FUNCTION jtd.pause_source(text, text) FROM PUBLIC;
