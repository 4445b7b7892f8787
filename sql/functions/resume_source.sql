-- Lets a paused source type go on; what waited for it is due at once.
-- Called by: operators, jtd-worker resume.  Locks: its waiting jobs by id, SKIP LOCKED: one that is held by somebody
-- follows within the hour.  false when it was not paused.
CREATE OR REPLACE FUNCTION jtd.resume_source(p_source_type text) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    DELETE FROM jtd.pauses AS p WHERE p.scope = 'source_type' AND p.code = p_source_type;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    UPDATE jtd.waiting AS w SET due = now()
    WHERE w.reason = 'source_paused' AND w.jtd_id = ANY (ARRAY(
        SELECT j.id FROM public.n_jtd AS j
        WHERE j.source_type_code = p_source_type
            AND j.id = ANY (ARRAY(SELECT x.jtd_id FROM jtd.waiting AS x WHERE x.reason = 'source_paused'))
        ORDER BY j.id FOR NO KEY UPDATE SKIP LOCKED));
    RETURN true;
END
$$;
REVOKE ALL ON FUNCTION jtd.resume_source(text) FROM PUBLIC;
