-- Makes the partitions of the audit trail for this month and the three to come.
-- Called by: jtd.tick_v1, sql/triggers.sql.  Locks: the audit trail, briefly, and only when one is missing.
-- A new one is closed to the web roles of hosts that grant them every new table, see 001.
-- A month that already has rows in the default partition stays there: nothing is ever refused for want of one,
-- and nobody is locked out for the sake of one that cannot be made.
CREATE OR REPLACE FUNCTION jtd.make_partitions() RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '100ms'
AS $$
DECLARE
    month record;
    web_role text;
BEGIN
    FOR month IN
        SELECT 'n_jtd_history_' || to_char(m.start, 'YYYY_MM') AS name, m.start, m.start + interval '1 month' AS stop
        FROM generate_series(
            date_trunc('month', now() AT TIME ZONE 'UTC'),
            date_trunc('month', now() AT TIME ZONE 'UTC') + interval '3 months', interval '1 month') AS m (start)
        WHERE to_regclass('public.n_jtd_history_' || to_char(m.start, 'YYYY_MM')) IS NULL
            AND NOT EXISTS (
                SELECT FROM public.n_jtd_history_default AS h
                WHERE h.created_at >= m.start AT TIME ZONE 'UTC'
                    AND h.created_at < (m.start + interval '1 month') AT TIME ZONE 'UTC')
    LOOP
        BEGIN
            EXECUTE format('CREATE TABLE IF NOT EXISTS public.%I PARTITION OF public.n_jtd_history '
                'FOR VALUES FROM (%L) TO (%L)', month.name,
                to_char(month.start, 'YYYY-MM-DD 00:00+00'), to_char(month.stop, 'YYYY-MM-DD 00:00+00'));
            FOR web_role IN SELECT r.rolname FROM pg_roles AS r WHERE r.rolname IN ('anon', 'authenticated') LOOP
                EXECUTE format('REVOKE ALL ON public.%I FROM %I', month.name, web_role);
            END LOOP;
        EXCEPTION WHEN check_violation OR lock_not_available OR insufficient_privilege
                OR invalid_object_definition THEN
            NULL;  -- the default partition takes its rows, or one that the operator made
        END;
    END LOOP;
END
$$;
REVOKE ALL ON FUNCTION jtd.make_partitions() FROM PUBLIC;
