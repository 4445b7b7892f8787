-- Notes in the audit trail of each new job where its payload does not fit the schema of its event type.
-- Called by: AFTER INSERT statement trigger on public.n_jtd.  Locks: nothing.
-- While no event type has a schema this looks at nothing else; imported jobs are not checked.
CREATE OR REPLACE FUNCTION jtd.flag_payload() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF EXISTS (SELECT FROM public.n_jtd_event_types AS e WHERE e.payload_schema IS NOT NULL) THEN
        INSERT INTO public.n_jtd_history (
            jtd_id, tenant_id, channel_code, event_type_code, action, from_status_code, to_status_code,
            performed_by_type, performed_by_id, performed_by_name, reason, is_live)
        SELECT n.id, n.tenant_id, n.channel_code, n.event_type_code, 'note', n.status_code, n.status_code,
            coalesce(a.actor_type, 'system'), a.actor_id,
            CASE WHEN a.actor_type IS NULL THEN session_user ELSE a.actor_name END,
            left('the payload does not fit its schema: ' || array_to_string(m.misfits, '; '), 2000), n.is_live
        FROM new_rows AS n
        JOIN public.n_jtd_event_types AS e ON e.code = n.event_type_code AND e.payload_schema IS NOT NULL
        CROSS JOIN LATERAL (SELECT jtd.misfits(e.payload_schema, n.payload) AS misfits OFFSET 0) AS m
        CROSS JOIN jtd.actor() AS a
        WHERE n.status_changed_at = now() AND m.misfits <> '{}'
        ORDER BY n.id;
    END IF;
    RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION jtd.flag_payload() FROM PUBLIC;
