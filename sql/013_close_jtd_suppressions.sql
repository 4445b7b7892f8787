-- Closes to web roles what earlier releases left open: suppressions, months of the audit trail, its sequence.

-- See 001: hosts that publish the schema public grant every new table and sequence to their web roles. Whoever reads a
-- partition by its own name is asked for rights on the partition alone.
DO $rights$
DECLARE
    web_role text;
    relation text;
BEGIN
    FOR relation IN
        SELECT c.oid::regclass::text
        FROM pg_catalog.pg_class AS c
        WHERE c.relnamespace = 'public'::regnamespace AND (
            (c.relname = 'n_jtd_suppressions' AND c.relkind = 'r')
            OR (c.relname LIKE 'n\_jtd\_%' AND c.relkind = 'S')
            OR c.oid IN (SELECT i.inhrelid FROM pg_catalog.pg_inherits AS i
                WHERE i.inhparent = 'public.n_jtd_history'::regclass))
    LOOP
        FOR web_role IN SELECT rolname FROM pg_catalog.pg_roles WHERE rolname IN ('anon', 'authenticated') LOOP
            EXECUTE pg_catalog.format('REVOKE ALL ON %s FROM %I', relation, web_role);
        END LOOP;
    END LOOP;
END
$rights$;

INSERT INTO jtd.migrations (name) VALUES ('013_close_jtd_suppressions') ON CONFLICT DO NOTHING;
