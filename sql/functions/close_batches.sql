-- Makes one message of the jobs that wait with some whose window is over: the oldest carries the others.
-- Called by: jtd.release_due.  Locks: the jobs that wait with them, by id, SKIP LOCKED: one that is held by somebody goes
-- by itself later.  Returns the jobs it took along, which the caller releases with its own. When one of them takes no
-- change (SQLSTATE 22, 23) each goes by itself, see jtd.part_batch.
-- Up to 100 go together, and no more than 1,000 of one key at a time. What goes alone: jobs whose template does not read
-- items, since the others would be left out, approved templates of a provider, whose parameters are those of one job, and
-- jobs with attachments or an invitation, a large payload, or one that is no object.
CREATE OR REPLACE FUNCTION jtd.close_batches(p_ids uuid[]) RETURNS uuid[]
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    together CONSTANT integer := 100;
    longest CONSTANT integer := 50000;  -- characters of a payload
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
    WITH job AS MATERIALIZED (
        SELECT j.*, jtd.batch_key(j, c.recipient_key) AS key
        FROM public.n_jtd AS j LEFT JOIN public.n_jtd_channels AS c ON c.code = j.channel_code
        WHERE j.id = ANY (held)
    ), template AS MATERIALIZED (
        SELECT f.key, t.id, t.version
        FROM (SELECT DISTINCT ON (x.key) x.* FROM job AS x ORDER BY x.key, x.id) AS f
        LEFT JOIN public.n_jtd_tenant_config AS c
            ON c.tenant_id = f.tenant_id AND c.is_live = f.is_live AND c.is_active
        LEFT JOIN public.n_jtd_tenant_source_config AS ts
            ON ts.tenant_id = f.tenant_id AND ts.source_type_code = f.source_type_code
            AND ts.is_live = f.is_live AND ts.is_active
        CROSS JOIN LATERAL jtd.find_template(f.template_id, NULL, coalesce(ts.templates ->> f.channel_code, f.template_key),
            f.tenant_id, f.source_type_code, f.channel_code, f.is_live, coalesce(f.locale, c.locale)) AS t
        JOIN public.n_jtd_templates AS v ON v.id = t.id
        WHERE concat_ws(' ', v.subject, v.content, v.content_html) ~ '\{[{%]([^}]*[^.\w}])?items\M'
            AND concat(v.provider_template_id, v.dlt_entity_id, v.dlt_template_id) = ''
    ), place AS (
        SELECT x.id, t.id AS template_id, t.version,
            row_number() OVER (PARTITION BY x.key ORDER BY x.id) - 1 AS place, x.key
        FROM job AS x JOIN template AS t ON t.key = x.key
        WHERE jsonb_typeof(x.payload) = 'object' AND jsonb_typeof(x.template_variables) = 'object'
            AND NOT x.metadata ?| '{template_id,whatsapp_template}' AND NOT x.payload ?| '{attachments,calendar}'
            AND length(x.payload::text) <= longest
    ), carried AS (
        SELECT p.id, p.template_id, p.version,
            min(p.id::text) OVER (PARTITION BY p.key, p.place / together)::uuid AS carrier_id
        FROM place AS p
    )
    UPDATE public.n_jtd AS j
    SET carrier_id = coalesce(c.carrier_id, j.id),
        template_id = coalesce(c.template_id, j.template_id),  -- the text that was found to read items
        template_version = coalesce(c.version, j.template_version),
        next_retry_at = NULL
    FROM job AS x
    LEFT JOIN carried AS c ON c.id = x.id
    WHERE j.id = x.id;
    RETURN held;
EXCEPTION WHEN data_exception OR integrity_constraint_violation THEN
    RETURN jtd.part_batch(held);
END
$$;
REVOKE ALL ON FUNCTION jtd.close_batches(uuid[]) FROM PUBLIC;
