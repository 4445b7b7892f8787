-- What the tenants of claimed jobs have set for the channel of each: their entry of provider_config_refs.
-- Called by: the worker, in the statement of each claim.  Locks: nothing.
-- A job without such a row is of a tenant who has set nothing. It is JSON as text, which whoever reads it may find too deep;
-- an entry of more than 4,000 characters is told as a text that is none.
-- VOLATILE, so that it sees the jobs of its claim, which may have come after its statement began.
CREATE OR REPLACE FUNCTION jtd.references_v1(p_ids uuid[]) RETURNS TABLE (id uuid, reference text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    IF p_ids = '{}' OR NOT EXISTS (
        SELECT FROM public.n_jtd_tenant_config AS c WHERE c.is_active AND c.provider_config_refs <> '{}')
    THEN
        RETURN;
    END IF;
    RETURN QUERY
    SELECT j.id, CASE WHEN length(e.entry::text) <= 4000 THEN e.entry::text ELSE 'too long' END
    FROM public.n_jtd AS j
    JOIN public.n_jtd_tenant_config AS c ON c.tenant_id = j.tenant_id AND c.is_live = j.is_live
        AND c.is_active AND c.provider_config_refs <> '{}'
    CROSS JOIN LATERAL (SELECT c.provider_config_refs -> j.channel_code AS entry) AS e
    WHERE j.id = ANY (p_ids) AND jsonb_typeof(e.entry) <> 'null' AND e.entry <> '{}';
END
$$;
REVOKE ALL ON FUNCTION jtd.references_v1(uuid[]) FROM PUBLIC;
