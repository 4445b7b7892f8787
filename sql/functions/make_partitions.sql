-- Makes the partitions of the audit trail for this month and the three to come.
-- Called by: jtd.tick_v1, sql/triggers.sql.  Locks: the audit trail, briefly, and only when one is missing.
-- A month that already has rows in the default partition stays there: nothing is ever refused for want of one.
CREATE OR REPLACE FUNCTION jtd.make_partitions() RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    month record;
BEGIN
    FOR month IN
        SELECT 'n_jtd_history_' || to_char(m.start, 'YYYY_MM') AS name, m.start, m.start + interval '1 month' AS stop
        FROM generate_series(
            date_trunc('month', now() AT TIME ZONE 'UTC'),
            date_trunc('month', now() AT TIME ZONE 'UTC') + interval '3 months', interval '1 month') AS m (start)
        WHERE to_regclass('public.n_jtd_history_' || to_char(m.start, 'YYYY_MM')) IS NULL
    LOOP
        BEGIN
            SET LOCAL lock_timeout = '1s';
            EXECUTE format('CREATE TABLE IF NOT EXISTS public.%I PARTITION OF public.n_jtd_history '
                'FOR VALUES FROM (%L) TO (%L)', month.name,
                month.start AT TIME ZONE 'UTC', month.stop AT TIME ZONE 'UTC');
        EXCEPTION WHEN check_violation OR lock_not_available OR insufficient_privilege THEN
            NULL;  -- the default partition takes its rows
        END;
    END LOOP;
END
$$;
REVOKE ALL ON FUNCTION jtd.make_partitions() FROM PUBLIC;
