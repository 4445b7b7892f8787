-- What a recipient is asked before he unsubscribes: who writes, and what about; NULL for a name that is not known.
-- Called by: jtd-worker serve.  Locks: nothing.  No row when there is no such job.
CREATE OR REPLACE FUNCTION jtd.unsubscribe_offer_v1(p_id uuid) RETURNS TABLE (tenant_name text, about text)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT
        CASE WHEN jsonb_typeof(coalesce(j.template_variables -> 'tenant_name', j.payload #> '{template_data,tenant_name}',
            j.payload -> 'tenant_name')) = 'string'
            THEN left(coalesce(j.template_variables ->> 'tenant_name', j.payload #>> '{template_data,tenant_name}',
                j.payload ->> 'tenant_name'), 200) END,
        s.name
    FROM public.n_jtd AS j
    LEFT JOIN public.n_jtd_source_types AS s ON s.code = j.source_type_code
    WHERE j.id = p_id
$$;
REVOKE ALL ON FUNCTION jtd.unsubscribe_offer_v1(uuid) FROM PUBLIC;
