-- Makes the next job of each series, or ends the series.
-- Called by: a worker, with what it made of jtd.recurrences_due_v1.  Locks: the latest jobs, by id, SKIP LOCKED.
-- p_nexts is [{"id", "basis", "next_at", "occurrence", "skipped", "reason", "needs_person"}, ...]; next_at NULL ends the
-- series for a reason in words, and with needs_person the job is listed for attention. skipped NULL is: too many to
-- count. Answers made, ended, or passed: it is locked, changed or made already, and is looked at again if it is still due.
-- The key series:<series>:<number> makes each job once, whatever runs at the same time. A job that is refused (SQLSTATE
-- 22, 23, JT) ends its own series, with the refusal, and no other.
CREATE OR REPLACE FUNCTION jtd.recur_v1(p_nexts jsonb) RETURNS TABLE (id uuid, answer text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    asked uuid[] := ARRAY(SELECT (n ->> 'id')::uuid FROM jsonb_array_elements(p_nexts) AS n);
    half integer := jsonb_array_length(p_nexts) / 2;
    held uuid[];
    refusal text;
BEGIN
    BEGIN
        held := ARRAY(
            SELECT j.id FROM public.n_jtd AS j WHERE j.id = ANY (asked) ORDER BY j.id FOR NO KEY UPDATE SKIP LOCKED);
        held := ARRAY(  -- read only now that the rows are ours
            SELECT j.id
            FROM public.n_jtd AS j
            JOIN jtd.recurring AS r ON r.jtd_id = j.id AND r.next_look IS NOT NULL
            JOIN jsonb_to_recordset(p_nexts) AS n (id uuid, basis text) ON n.id = j.id AND n.basis = jtd.recurrence_basis(j)
            WHERE j.id = ANY (held));
        WITH going AS (
            SELECT n.*, r.template_id, r.locale, r.series_id,
                format('series:%s:%s', r.series_id, n.occurrence) AS key
            FROM jsonb_to_recordset(p_nexts) AS n (
                id uuid, next_at timestamptz, occurrence integer, skipped integer, reason text, needs_person boolean)
            JOIN jtd.recurring AS r ON r.jtd_id = n.id
            WHERE n.id = ANY (held)
        ), made AS (
            INSERT INTO public.n_jtd AS made (
                tenant_id, jtd_number, event_type_code, channel_code, source_type_code, source_id, source_ref,
                recipient_type, recipient_id, recipient_name, recipient_contact, scheduled_at, priority, max_retries,
                payload, template_id, template_key, template_variables, business_context, performed_by_type,
                performed_by_name, metadata, tags, is_live, expires_at, idempotency_key, parent_id, locale, created_by,
                recurrence, recurrence_zone, series_id, series_start, occurrence, occurs_at)
            SELECT j.tenant_id, j.jtd_number, j.event_type_code,
                CASE WHEN j.route IS NULL THEN j.channel_code END,  -- else it named none, and goes to several again
                j.source_type_code, j.source_id, j.source_ref, j.recipient_type, j.recipient_id, j.recipient_name,
                j.recipient_contact, g.next_at, j.priority, j.max_retries, j.payload, g.template_id, j.template_key,
                j.template_variables, j.business_context, 'system', 'recurrence', j.metadata, j.tags, j.is_live,
                -- by seconds: days would be of the session's time zone
                g.next_at + make_interval(secs => extract(epoch FROM j.expires_at - j.occurs_at)::float8),
                g.key, j.parent_id, g.locale, j.created_by,
                j.recurrence, j.recurrence_zone, j.series_id, j.series_start, g.occurrence, g.next_at
            FROM going AS g
            JOIN public.n_jtd AS j ON j.id = g.id
            WHERE g.next_at IS NOT NULL
            ORDER BY j.id
            ON CONFLICT DO NOTHING
            RETURNING made.id, made.series_id, made.occurs_at
        ), outcome AS (
            SELECT g.id, m.id AS made_id, g.series_id, m.occurs_at, g.occurrence, g.skipped,
                CASE WHEN m.id IS NULL AND g.next_at IS NOT NULL THEN format('its key %s is taken by another job', g.key)
                    ELSE g.reason END AS reason,
                m.id IS NULL AND (g.next_at IS NOT NULL OR g.needs_person) AS needs_person
            FROM going AS g
            LEFT JOIN made AS m ON m.series_id = g.series_id
        ), listed AS (
            UPDATE jtd.recurring AS r
            SET jtd_id = coalesce(o.made_id, r.jtd_id), next_look = o.occurs_at,
                ended = CASE WHEN o.made_id IS NULL THEN o.reason END
            FROM outcome AS o
            WHERE r.series_id = o.series_id
        ), heeded AS (
            INSERT INTO jtd.attention (jtd_id, tenant_id, channel_code, reason)
            SELECT j.id, j.tenant_id, j.channel_code, 'series_ended'
            FROM outcome AS o JOIN public.n_jtd AS j ON j.id = o.id
            WHERE o.needs_person
            ON CONFLICT DO NOTHING
        )
        SELECT array_agg(o.id) INTO held
        FROM outcome AS o
        CROSS JOIN LATERAL jtd.remark(o.id, 'series',
            CASE WHEN o.made_id IS NULL THEN 'the series has ended: ' || o.reason
                ELSE format('the next of the series, number %s, is job %s at %s%s', o.occurrence, o.made_id,
                    to_char(o.occurs_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
                    CASE WHEN o.skipped IS NULL THEN '; very many were missed'
                        WHEN o.skipped > 0 THEN format('; %s missed', o.skipped) ELSE '' END) END,
            jsonb_strip_nulls(jsonb_build_object('next_id', o.made_id, 'next_at', o.occurs_at, 'skipped', o.skipped)));
        RETURN QUERY
        SELECT u.id, CASE WHEN u.id = ANY (held) IS NOT TRUE THEN 'passed' WHEN r.jtd_id IS NULL THEN 'made' ELSE 'ended' END
        FROM unnest(asked) AS u (id)
        LEFT JOIN jtd.recurring AS r ON r.jtd_id = u.id;
        RETURN;
    EXCEPTION WHEN OTHERS THEN
        IF SQLSTATE !~ '^(22|23|JT)' OR half = 0 AND p_nexts -> 0 ->> 'next_at' IS NULL THEN
            RAISE;
        END IF;
        refusal := left('the next job is refused: ' || SQLERRM, 500);
    END;
    IF half > 0 THEN
        RETURN QUERY
        SELECT r.id, r.answer
        FROM (SELECT jsonb_agg(n.value) AS nexts FROM jsonb_array_elements(p_nexts) WITH ORDINALITY AS n (value, place)
            GROUP BY n.place <= half) AS part
        CROSS JOIN LATERAL jtd.recur_v1(part.nexts) AS r;
    ELSE
        RETURN QUERY
        SELECT r.id, r.answer FROM jtd.recur_v1(jsonb_build_array((p_nexts -> 0)
            || jsonb_build_object('next_at', NULL, 'reason', refusal, 'needs_person', true))) AS r;
    END IF;
END
$$;
REVOKE ALL ON FUNCTION jtd.recur_v1(jsonb) FROM PUBLIC;
