-- Makes one message of the jobs that wait with some whose window is over: the oldest carries the others.
-- Called by: jtd.release_due.  Locks: the jobs that wait with them, by id, SKIP LOCKED: one that is held by somebody goes
-- by itself later.  Returns the jobs it took along, which the caller releases with its own.
-- Up to 100 go together. Jobs whose template does not read items stay single: nothing of theirs must be left out.
CREATE OR REPLACE FUNCTION jtd.close_batches(p_ids uuid[]) RETURNS uuid[]
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    together CONSTANT integer := 100;
    held uuid[];
BEGIN
    held := ARRAY(
        SELECT j.id FROM public.n_jtd AS j
        WHERE j.id = ANY (ARRAY(
                SELECT w.jtd_id
                FROM (SELECT DISTINCT d.batch_key FROM jtd.waiting AS d
                    WHERE d.jtd_id = ANY (p_ids) AND d.batch_key IS NOT NULL) AS k
                CROSS JOIN LATERAL (
                    SELECT x.jtd_id FROM jtd.waiting AS x
                    WHERE x.batch_key = k.batch_key ORDER BY x.jtd_id LIMIT 10 * together) AS w))
            AND j.status_code IN ('pending', 'scheduled') AND j.carrier_id IS NULL
        ORDER BY j.id FOR NO KEY UPDATE SKIP LOCKED);
    IF held = '{}' THEN
        RETURN held;
    END IF;
    UPDATE public.n_jtd AS j
    SET carrier_id = CASE WHEN b.is_batch THEN b.ids[1 + (b.place - 1) / together * together] ELSE j.id END,
        next_retry_at = NULL
    FROM (
        SELECT g.ids, m.id, m.place, coalesce(concat_ws(' ', v.subject, v.content, v.content_html) ~ '\mitems\M', false)
            AS is_batch
        FROM (
            SELECT array_agg(w.jtd_id ORDER BY w.jtd_id) AS ids
            FROM jtd.waiting AS w WHERE w.jtd_id = ANY (held) GROUP BY w.batch_key) AS g
        CROSS JOIN LATERAL unnest(g.ids) WITH ORDINALITY AS m (id, place)
        JOIN public.n_jtd AS f ON f.id = g.ids[1]
        LEFT JOIN public.n_jtd_tenant_config AS c
            ON c.tenant_id = f.tenant_id AND c.is_live = f.is_live AND c.is_active
        LEFT JOIN public.n_jtd_tenant_source_config AS ts
            ON ts.tenant_id = f.tenant_id AND ts.source_type_code = f.source_type_code
            AND ts.is_live = f.is_live AND ts.is_active
        LEFT JOIN LATERAL jtd.find_template(f.template_id, NULL, coalesce(ts.templates ->> f.channel_code, f.template_key),
            f.tenant_id, f.source_type_code, f.channel_code, f.is_live, coalesce(f.locale, c.locale)) AS t ON true
        LEFT JOIN public.n_jtd_templates AS v ON v.id = t.id
    ) AS b
    WHERE j.id = b.id;
    RETURN held;
END
$$;
REVOKE ALL ON FUNCTION jtd.close_batches(uuid[]) FROM PUBLIC;
