-- Keeps what a provider reported, durably, before it is told that we have it; jtd.apply_receipts_v1 does the rest.
-- Called by: the web process.  Locks: nothing; two that bring the same event wait for each other.
-- p_provider is a family name, e.g. sendgrid. p_receipts: [{kind, event_key, provider_message_id, reference, recipient,
--   at, code, reason, details}], at in ISO 8601 with time zone, details an object.
-- Returns how many are new, and how many were known already; what is no receipt, by its kind or shape, is in neither.
-- One that cannot be stored is stripped of foreign text; the others stand. An empty array gives zeros.
CREATE OR REPLACE FUNCTION jtd.accept_receipts_v1(p_channel text, p_provider text, p_receipts jsonb)
RETURNS TABLE (accepted integer, known integer)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    n CONSTANT integer := jsonb_array_length(p_receipts);
BEGIN
    BEGIN
        RETURN QUERY SELECT s.accepted, s.known FROM jtd.store_receipts(p_channel, p_provider, p_receipts) AS s;
        RETURN;
    EXCEPTION WHEN data_exception OR integrity_constraint_violation THEN
        IF n = 1 THEN
            RETURN QUERY SELECT s.accepted, s.known FROM jtd.store_receipts(p_channel, p_provider,
                jsonb_build_array((p_receipts -> 0) - '{at,code,reason,details,recipient}'::text[])) AS s;
            RETURN;
        END IF;
    END;
    RETURN QUERY
    SELECT sum(a.accepted)::integer, sum(a.known)::integer
    FROM (VALUES (0, n / 2), (n / 2, n)) AS half (above, upto)
    CROSS JOIN LATERAL jtd.accept_receipts_v1(p_channel, p_provider, (
        SELECT jsonb_agg(r.value) FROM jsonb_array_elements(p_receipts) WITH ORDINALITY AS r (value, i)
        WHERE r.i > half.above AND r.i <= half.upto)) AS a;
END
$$;
REVOKE ALL ON FUNCTION jtd.accept_receipts_v1(text, text, jsonb) FROM PUBLIC;
