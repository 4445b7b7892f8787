-- Makes a job of each row that one INSERT statement brought into a service's table, in the same transaction.
-- Called by: the AFTER INSERT statement trigger of jtd.attach_source; its argument is the source type.
-- Locks: nothing.  Runs with the owner's rights, so the service needs none on n_jtd.
-- A row that n_jtd refuses (JT001 to JT009, SQLSTATE class 22 or 23) takes nothing else with it: it is found by
-- halving, and its job is kept as failed, source_refused, for a person. What is wrong with the table or the mapping
-- fails the statement with JT062: no row of it could become a job. So does JT007, for which the session asks itself.
CREATE OR REPLACE FUNCTION jtd.source_inserted() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    part CONSTANT text := '(SELECT p.* FROM (SELECT *, row_number() OVER () AS jtd_place FROM new_rows) AS p '
        'WHERE p.jtd_place BETWEEN $1 AND $2) AS r';
    statement text := jtd.source_insert(TG_ARGV[0], TG_RELID, 'new_rows AS r');
    lows integer[] := ARRAY[1];
    highs integer[] := ARRAY[(SELECT count(*) FROM new_rows)];
    low integer;
    high integer;
    refusal text;
    refused uuid;
    mistake text;
BEGIN
    WHILE lows[1] <= highs[1] LOOP
        low := lows[1];
        high := highs[1];
        lows := lows[2:];
        highs := highs[2:];
        BEGIN
            EXECUTE coalesce(statement, 'SELECT no_such_source_type') USING low, high;
        EXCEPTION WHEN OTHERS THEN
            IF SQLSTATE LIKE '42%' THEN
                mistake := jtd.source_mistake(TG_ARGV[0], TG_RELID);
                IF mistake IS NOT NULL THEN
                    RAISE EXCEPTION 'no job can be made of a row of % for source type %: %',
                        TG_RELID::regclass, TG_ARGV[0], mistake
                        USING ERRCODE = 'JT062', HINT = format('Correct the row of n_jtd_source_types, '
                            'or SELECT jtd.detach_source(%L).', TG_ARGV[0]);
                END IF;
            END IF;
            IF SQLSTATE !~ '^(22|23|JT00[1-689])' THEN
                RAISE;
            END IF;
            refusal := CASE WHEN SQLSTATE ~ '^(23|JT|22001)' THEN SQLERRM  -- the others quote values
                ELSE format('a value cannot be cast (SQLSTATE %s)', SQLSTATE) END;
            IF low < high THEN
                statement := jtd.source_insert(TG_ARGV[0], TG_RELID, part);
                lows := ARRAY[low, (low + high) / 2 + 1] || lows;
                highs := ARRAY[(low + high) / 2, high] || highs;
            ELSE
                EXECUTE jtd.source_insert(TG_ARGV[0], TG_RELID, part, true) INTO refused USING low, high, refusal;
                PERFORM jtd.remark(refused, 'note', format('refused, from %s: %s', TG_RELID::regclass, refusal), NULL);
                INSERT INTO jtd.attention (jtd_id, tenant_id, channel_code, reason)
                SELECT j.id, j.tenant_id, j.channel_code, j.error_code FROM public.n_jtd AS j WHERE j.id = refused;
            END IF;
        END;
    END LOOP;
    RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION jtd.source_inserted() FROM PUBLIC;
