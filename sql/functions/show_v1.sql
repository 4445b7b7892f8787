-- The whole life of a job: the row without its content, its audit trail, and what happens next.
-- Called by: jtd-worker show.  Locks: nothing.  NULL when there is no such job.
-- {"jtd": {...}, "history": [{...}], "receipts": [{...}], "explain": {...}}; the receipts are those that wait, or changed
-- nothing: the others are in the history. Contacts, payload and texts are left out.
CREATE OR REPLACE FUNCTION jtd.show_v1(p_id uuid) RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT jsonb_build_object(
        'jtd', to_jsonb(j) - ARRAY['payload', 'template_variables', 'recipient_contact', 'recipient_name',
            'provider_response', 'business_context', 'metadata'],
        'history', (SELECT coalesce(jsonb_agg(to_jsonb(h) - ARRAY['jtd_id', 'tenant_id'] ORDER BY h.id), '[]')
            FROM public.n_jtd_history AS h WHERE h.jtd_id = j.id),
        'receipts', (SELECT coalesce(jsonb_agg(to_jsonb(r) - ARRAY['jtd_id', 'recipient', 'details', 'message_key'] ORDER BY r.id), '[]')
            FROM (SELECT p.* FROM public.n_jtd_receipts AS p WHERE p.state = 'parked' AND p.jtd_id = j.id
                UNION ALL
                SELECT i.* FROM public.n_jtd_receipts AS i WHERE i.state <> 'parked' AND i.jtd_id = j.id) AS r
            WHERE r.state <> 'applied'),
        'explain', (SELECT to_jsonb(e) FROM jtd.explain(j.id) AS e))
    FROM public.n_jtd AS j
    WHERE j.id = p_id
$$;
REVOKE ALL ON FUNCTION jtd.show_v1(uuid) FROM PUBLIC;
