-- Says what receipts mean for their jobs as they stand: the steps that follow, or why there are none.
-- Called by: jtd.settle_receipts.  Locks: nothing; the caller holds the jobs.
-- verdict: walk (the steps of path), remark (a fact, no step), ignored or parked (why). Forward only: what a receipt
-- says later counts over what it says before, in the order of turn, whatever the order in which they come.
-- Any receipt proves that its provider took the message. So one for a job of unknown outcome, or one that is about to be
-- sent again, moves it to sent first. Every step of a path is one that n_jtd_status_flows knows.
CREATE OR REPLACE FUNCTION jtd.judge_receipts(p_verdicts jtd.verdict[]) RETURNS SETOF jtd.verdict
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    WITH given AS MATERIALIZED (
        SELECT r.id AS receipt_id, j.id AS jtd_id, r.kind, j.event_type_code, j.status_code::text AS status,
            j.status_code = 'failed' AND j.error_code IN ('outcome_unknown', 'written_off') AS is_held,
            j.error_code IS NOT DISTINCT FROM 'written_off' AS is_given_up,
            coalesce(j.execution_result ->> 'outcome' = 'unknown', false) AS is_unknown,
            j.execution_result IS NULL AS is_fresh,
            coalesce(e.is_message, false) AS is_message,
            -- the last word is with the copy that was sent last: an earlier one may have come to nothing
            j.attempt > 1 AND coalesce(r.provider <> substring(j.provider_code FROM '^[^.@]*')
                OR (r.provider_message_id <> j.provider_message_id AND j.status_code = 'sent')
                OR (r.provider_message_id IS NULL AND r.occurred_at < j.executed_at), false) AS is_other_copy,
            array_position(ARRAY['sent', 'deferred', 'soft_bounced', 'failed', 'delivered', 'bounced', 'read',
                'complained', 'unsubscribed'], r.kind::text) AS turn
        FROM unnest(p_verdicts) AS v
        JOIN public.n_jtd_receipts AS r ON r.id = v.receipt_id
        JOIN public.n_jtd AS j ON j.id = v.jtd_id
        LEFT JOIN public.n_jtd_event_types AS e ON e.code = j.event_type_code
    ), judged AS (
        SELECT g.*, CASE
            WHEN NOT g.is_message OR g.status = 'executing' THEN NULL
            WHEN g.kind IN ('delivered', 'read') THEN CASE
                WHEN g.status IN ('created', 'scheduled', 'queued') THEN ARRAY['pending', 'sent', g.kind]
                WHEN g.status = 'pending' OR g.is_held THEN ARRAY['sent', g.kind]
                WHEN g.status IN ('sent', 'failed') OR (g.status = 'delivered' AND g.kind = 'read') THEN ARRAY[g.kind] END
            WHEN g.kind = 'sent' THEN CASE
                WHEN g.is_held THEN ARRAY['sent']
                WHEN NOT (g.is_unknown OR g.is_fresh) THEN NULL
                WHEN g.status IN ('created', 'scheduled', 'queued') THEN ARRAY['pending', 'sent']
                WHEN g.status = 'pending' THEN ARRAY['sent'] END
            WHEN g.kind IN ('failed', 'bounced') AND NOT g.is_other_copy THEN CASE
                WHEN g.status = 'sent' OR (g.kind = 'bounced' AND g.status IN ('delivered', 'failed')) THEN ARRAY[g.kind]
                WHEN g.is_held AND NOT g.is_given_up THEN ARRAY['sent', g.kind]
                WHEN g.is_unknown AND g.status = 'queued' THEN ARRAY['pending', 'sent', g.kind]
                WHEN g.is_unknown AND g.status = 'pending' THEN ARRAY['sent', g.kind] END
            END::text[] AS path
        FROM given AS g
    )
    SELECT (d.receipt_id, d.jtd_id, CASE
            WHEN d.status = 'executing' AND d.is_message THEN 'parked'
            WHEN NOT d.is_message THEN 'ignored'
            WHEN d.path IS NOT NULL THEN CASE WHEN d.is_valid THEN 'walk' WHEN d.kind = 'bounced' THEN 'remark' ELSE 'ignored' END
            WHEN d.kind IN ('soft_bounced', 'deferred', 'complained', 'unsubscribed') THEN 'remark'
            WHEN d.kind = 'bounced' AND d.status <> 'bounced' THEN 'remark'
            ELSE 'ignored' END,
        CASE
            WHEN NOT d.is_message THEN 'not_a_message'
            WHEN d.status = 'executing' THEN 'executing'
            WHEN d.path IS NOT NULL THEN CASE WHEN NOT d.is_valid THEN 'no_such_step' END
            WHEN d.is_other_copy THEN 'other_copy'
            WHEN d.status IN ('created', 'scheduled', 'pending', 'queued') THEN 'not_sent'
            WHEN d.status IN ('sent', 'delivered', 'read', 'viewed', 'signed', 'rejected', 'failed', d.kind) THEN 'no_news'
            ELSE 'ended' END,
        d.path, d.turn)::jtd.verdict
    FROM (
        SELECT u.*, u.path IS NOT NULL AND NOT EXISTS (
            SELECT FROM unnest(u.status || u.path, u.path) AS s (from_code, to_code)
            WHERE s.to_code IS NOT NULL AND NOT EXISTS (
                SELECT FROM public.n_jtd_status_flows AS f
                JOIN public.n_jtd_statuses AS a ON a.id = f.from_status_id AND a.code = s.from_code
                JOIN public.n_jtd_statuses AS b ON b.id = f.to_status_id AND b.code = s.to_code
                WHERE f.event_type_code = u.event_type_code AND f.is_active)) AS is_valid
        FROM judged AS u) AS d
$$;
REVOKE ALL ON FUNCTION jtd.judge_receipts(jtd.verdict[]) FROM PUBLIC;
