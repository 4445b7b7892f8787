-- Gives a new message type the states and the flow of a notification, where it brings none of its own.
-- Called by: AFTER INSERT statement trigger on public.n_jtd_event_types.  Locks: nothing for long.
-- Without states no step would be valid and no end final.
CREATE OR REPLACE FUNCTION jtd.event_type_added() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO public.n_jtd_statuses (
        event_type_code, code, name, description, status_type, icon, color, is_initial, is_terminal, is_success,
        is_failure, allows_retry, display_order)
    SELECT n.code, s.code, s.name, s.description, s.status_type, s.icon, s.color, s.is_initial, s.is_terminal,
        s.is_success, s.is_failure, s.allows_retry, s.display_order
    FROM new_rows AS n
    JOIN public.n_jtd_statuses AS s ON s.event_type_code = 'notification'
    WHERE n.is_message
    ON CONFLICT DO NOTHING;

    INSERT INTO public.n_jtd_status_flows (event_type_code, from_status_id, to_status_id, is_automatic, requires_reason)
    SELECT n.code, a.id, b.id, f.is_automatic, f.requires_reason
    FROM new_rows AS n
    JOIN public.n_jtd_status_flows AS f ON f.event_type_code = 'notification'
    JOIN public.n_jtd_statuses AS fa ON fa.id = f.from_status_id
    JOIN public.n_jtd_statuses AS fb ON fb.id = f.to_status_id
    JOIN public.n_jtd_statuses AS a ON a.event_type_code = n.code AND a.code = fa.code
    JOIN public.n_jtd_statuses AS b ON b.event_type_code = n.code AND b.code = fb.code
    WHERE n.is_message
    ON CONFLICT DO NOTHING;
    RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION jtd.event_type_added() FROM PUBLIC;
