-- Keeps further messages from recipients who bounced, complained or unsubscribed, by the address that the job was sent to.
-- Called by: jtd.settle_receipts.  Locks: the recipients' rows of n_jtd_suppressions, in their order.
-- Bounces and complaints hold for every source type; an unsubscription for the job's, or if details say {"all": true} for
-- every one. What stands already is left as it is.
CREATE OR REPLACE FUNCTION jtd.suppress_receipts(p_verdicts jtd.verdict[]) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
AS $$
DECLARE
    wanted record;
BEGIN
    FOR wanted IN
        SELECT DISTINCT j.tenant_id, a.recipient, j.channel_code, k.kind,
            CASE WHEN r.kind = 'unsubscribed' AND r.details -> 'all' IS DISTINCT FROM 'true' THEN j.source_type_code END AS source_type_code
        FROM unnest(p_verdicts) AS v
        JOIN public.n_jtd_receipts AS r ON r.id = v.receipt_id
        JOIN (VALUES ('bounced', 'bounce'), ('complained', 'complaint'), ('unsubscribed', 'opt_out')) AS k (told, kind)
            ON k.told = r.kind
        JOIN public.n_jtd AS j ON j.id = v.jtd_id
        JOIN public.n_jtd_channels AS c ON c.code = j.channel_code
        CROSS JOIN LATERAL (SELECT jtd.canonical(jtd.recipient(
            c.recipient_key, j.recipient_contact, j.recipient_id, j.payload)) AS recipient) AS a
        WHERE v.verdict IN ('walk', 'remark') AND a.recipient IS NOT NULL
        ORDER BY j.tenant_id, a.recipient, j.channel_code, k.kind
    LOOP
        IF wanted.kind = 'opt_out' THEN  -- as jtd.set_preference
            DELETE FROM public.n_jtd_suppressions AS s
            WHERE s.tenant_id = wanted.tenant_id AND s.recipient = wanted.recipient AND s.kind = 'opt_in'
                AND s.channel_code = wanted.channel_code
                AND s.source_type_code IS NOT DISTINCT FROM wanted.source_type_code;
        END IF;
        INSERT INTO public.n_jtd_suppressions (tenant_id, recipient, channel_code, source_type_code, kind)
        VALUES (wanted.tenant_id, wanted.recipient, wanted.channel_code, wanted.source_type_code, wanted.kind)
        ON CONFLICT ON CONSTRAINT n_jtd_suppressions_key DO NOTHING;
    END LOOP;
END
$$;
REVOKE ALL ON FUNCTION jtd.suppress_receipts(jtd.verdict[]) FROM PUBLIC;
