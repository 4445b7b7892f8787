-- Makes sure that PGMQ is there: what the database has, else the extension where the server offers it.
--
-- Run first by install.sql and by jtd-worker migrate, which brings PGMQ's own SQL where there is no extension.

DO $pgmq$
BEGIN
    IF EXISTS (
        SELECT
        FROM pg_catalog.pg_proc AS p
        JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace
        WHERE n.nspname = 'pgmq' AND p.proname = 'read'
    ) THEN
        RETURN;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_available_extensions WHERE name = 'pgmq') THEN
        RAISE EXCEPTION 'PGMQ is not installed, and this server does not offer it as an extension'
            USING HINT = 'Install the extension pgmq on the server, or run jtd-worker migrate, which brings PGMQ as plain SQL.';
    END IF;
    CREATE EXTENSION pgmq;
END
$pgmq$;
