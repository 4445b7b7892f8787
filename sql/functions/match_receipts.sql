-- Finds the jobs of parked receipts: by our id that the provider echoes, else by the provider's own.
-- Called by: jtd.settle_receipts.  Locks: nothing.
-- An id of ours counts on the channel of its job only. Where a provider gave one id to several jobs the recipient tells
-- which; if it does not, why is ambiguous. Without a job why is unmatched.
CREATE OR REPLACE FUNCTION jtd.match_receipts(p_ids bigint[]) RETURNS TABLE (receipt_id bigint, jtd_id uuid, why text)
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT r.id, coalesce(e.id, s.id),
        CASE WHEN e.id IS NOT NULL OR s.id IS NOT NULL THEN NULL WHEN s.jobs > 0 THEN 'ambiguous' ELSE 'unmatched' END
    FROM public.n_jtd_receipts AS r
    LEFT JOIN public.n_jtd AS e ON e.id = r.reference AND e.channel_code = r.channel_code
    LEFT JOIN LATERAL (
        SELECT count(*) AS jobs, CASE count(*) WHEN 1 THEN min(j.id::text)::uuid ELSE CASE count(*) FILTER (WHERE a.is_his)
            WHEN 1 THEN (min(j.id::text) FILTER (WHERE a.is_his))::uuid END END AS id
        FROM jtd.sent_ids AS i
        JOIN public.n_jtd AS j ON j.id = i.jtd_id AND j.channel_code = r.channel_code
        LEFT JOIN public.n_jtd_channels AS c ON c.code = j.channel_code
        CROSS JOIN LATERAL (SELECT jtd.canonical(r.recipient) = jtd.canonical(jtd.recipient(
            c.recipient_key, j.recipient_contact, j.recipient_id, j.payload)) AS is_his) AS a
        WHERE i.message_key = r.message_key) AS s ON e.id IS NULL
    WHERE r.id = ANY (p_ids)
$$;
REVOKE ALL ON FUNCTION jtd.match_receipts(bigint[]) FROM PUBLIC;
