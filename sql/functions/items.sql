-- The variables of every job that a message carries, the oldest first; NULL for a job that waited for no others.
-- Called by: jtd.claim_v1.  Locks: nothing.
CREATE OR REPLACE FUNCTION jtd.items(p_carrier uuid) RETURNS jsonb
LANGUAGE sql STABLE
AS $$
    SELECT jsonb_agg(
        (CASE jsonb_typeof(m.payload) WHEN 'object' THEN m.payload ELSE '{}' END
            - '{recipient_data,template_data,attachments}'::text[])
        || CASE jsonb_typeof(m.payload -> 'template_data') WHEN 'object' THEN m.payload -> 'template_data' ELSE '{}' END
        || CASE jsonb_typeof(m.template_variables) WHEN 'object' THEN m.template_variables ELSE '{}' END
        ORDER BY m.id)
    FROM public.n_jtd AS c
    JOIN public.n_jtd AS m ON m.id = ANY (c.carries)
    WHERE c.id = p_carrier
$$;
REVOKE ALL ON FUNCTION jtd.items(uuid) FROM PUBLIC;
