-- Says in one sentence what a job is, what it does or waits for, until when, and what happens next.
-- Called by: operators and services, jtd-worker show.  Locks: nothing.  An unknown id gives no row.
-- next_at is NULL where no time moves the job: it is final, sent, or something stands in its way.
CREATE OR REPLACE FUNCTION jtd.explain(p_id uuid)
RETURNS TABLE (id uuid, status_code text, place text, reason text, next_at timestamptz, sentence text)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT j.id, p.status_code, p.place,
        CASE p.place
            WHEN 'waiting' THEN w.reason
            WHEN 'ready' THEN g.reason
            WHEN 'queued' THEN g.reason
            WHEN 'final' THEN coalesce(j.error_code, j.transition_note)
        END,
        CASE
            WHEN p.place = 'waiting' THEN CASE WHEN w.reason NOT IN ('source_paused', 'batched') THEN w.due END
            WHEN p.place IN ('ready', 'queued') AND g.verdict = 'defer' THEN g.until
            WHEN p.place IN ('ready', 'queued') AND hindrance.clause IS NULL THEN now()
        END,
        'This ' || coalesce(lower(e.name), j.event_type_code) || coalesce(' by ' || j.channel_code, '')
        || format(' (%s) ', j.source_type_code)
        || CASE p.place
            WHEN 'waiting' THEN format('waits for %s%s; then it %s%s', why.clause,
                CASE WHEN w.reason NOT IN ('source_paused', 'batched') THEN to_char(w.due, '" until "YYYY-MM-DD HH24:MI:SS TZ') END,
                CASE WHEN w.reason = 'receipt' THEN 'is held until a person says what became of it: jtd.resolve'
                    WHEN w.due >= j.expires_at THEN 'expires'
                    WHEN w.reason = 'batched' THEN 'ends as that does: job ' || j.carrier_id ELSE 'takes its turn for channel ' || j.channel_code END,
                CASE WHEN j.error_code IS NULL THEN '' ELSE format('; attempts used: %s of %s, the last ended with %s',
                    j.retry_count, j.max_retries + 1, concat_ws(': ', j.error_code, j.error_message)) END)
            WHEN 'ready' THEN format('is due and waits for its turn to be queued for channel %s', j.channel_code)
                || coalesce(hindrance.clause, remark.clause)
            WHEN 'queued' THEN format('is queued for channel %s, and the next free worker takes it', j.channel_code)
                || coalesce(hindrance.clause, remark.clause)
            WHEN 'in_flight' THEN format('is carried out: attempt %s runs on worker %s since %s; %s', j.attempt,
                coalesce(k.name, 'unknown (its lease is over, it will be reclaimed)'),
                to_char(f.claimed_at, 'YYYY-MM-DD HH24:MI:SS TZ'),
                CASE WHEN f.handed_off_at IS NULL THEN 'nothing has been handed to the provider yet'
                    ELSE 'it was handed to the provider, and if the worker stops now the rule is ' || f.unknown_rule END)
                || coalesce((SELECT '; what its provider reported already (' || string_agg(DISTINCT x.kind, ', ') || ') waits for the result'
                    FROM public.n_jtd_receipts AS x WHERE x.state = 'parked' AND x.jtd_id = j.id), '')
            WHEN 'sent' THEN format('was sent%s%s%s%s; only a receipt of the provider can still change it',
                ' with job ' || nullif(j.carrier_id, j.id),
                ' by ' || j.provider_code,
                to_char(j.executed_at, '" at "YYYY-MM-DD HH24:MI:SS TZ'),
                CASE WHEN j.status_code <> 'sent' THEN ' and is ' || j.status_code END)
            WHEN 'final' THEN format('ended as %s%s%s; nothing happens any more%s', j.status_code,
                to_char(j.completed_at, '" at "YYYY-MM-DD HH24:MI:SS TZ'),
                ': ' || nullif(concat_ws(', ', coalesce(j.error_code, j.transition_note), jtd.wording(j.error_code),
                    j.error_message), ''),
                CASE WHEN j.status_code <> 'failed' THEN ''
                    WHEN j.error_code = 'outcome_unknown' THEN ' unless a person says what became of it: jtd.resolve'
                    ELSE ' unless it is retried by hand' END)
            WHEN 'imported' THEN format('was brought here as %s, and is not sent unless a person adopts it: '
                'jtd-worker adopt', j.status_code)
            WHEN 'work' THEN format('is %s, and waits for a person to take the next step', j.status_code)
                || coalesce((
                    SELECT format('; VaNi does of herself: %s at %s', s.rule, to_char(s.at, 'YYYY-MM-DD HH24:MI:SS TZ'))
                    FROM jtd.vani_steps(ARRAY[j.id]) AS s
                    WHERE s.is_on AND s.state IN ('due', 'ahead') ORDER BY s.at, s.step LIMIT 1), '')
            ELSE format('is %s, but on no list and in no queue', j.status_code)
        END || '.'
        || CASE WHEN o.ended IS NOT NULL THEN format(' Its series has ended: %s.', o.ended)
            WHEN o.next_look IS NOT NULL THEN to_char(o.next_look, '" The next of its series is made at "YYYY-MM-DD HH24:MI:SS TZ"."')
            ELSE '' END
    FROM public.n_jtd AS j
    CROSS JOIN LATERAL jtd.whereabouts(ARRAY[j.id]) AS p
    LEFT JOIN public.n_jtd_event_types AS e ON e.code = j.event_type_code
    LEFT JOIN LATERAL jtd.gate(ARRAY[j.id]) AS g ON true
    LEFT JOIN jtd.waiting AS w ON w.jtd_id = j.id
    LEFT JOIN jtd.recurring AS o ON o.jtd_id = j.id
    LEFT JOIN jtd.inflight AS f ON f.jtd_id = j.id
    LEFT JOIN jtd.workers AS k ON k.id = f.worker_id AND k.lease_until > clock_timestamp()
    CROSS JOIN LATERAL (SELECT coalesce(jtd.wording(r.reason) || format(' (%s)', r.reason), r.reason)
        || coalesce(': ' || CASE r.reason
            WHEN 'channel_paused' THEN (SELECT c.pause_reason FROM public.n_jtd_channels AS c WHERE c.code = j.channel_code)
            WHEN 'tenant_paused' THEN (SELECT x.reason FROM jtd.pauses AS x
                WHERE x.scope = 'tenant' AND x.code = j.tenant_id::text)
            WHEN 'source_paused' THEN (SELECT x.reason FROM jtd.pauses AS x
                WHERE x.scope = 'source_type' AND x.code = j.source_type_code) END, '') AS clause
        FROM (SELECT CASE WHEN p.place = 'waiting' THEN w.reason ELSE g.reason END AS reason) AS r) AS why
    CROSS JOIN LATERAL (SELECT CASE
        WHEN NOT jtd.is_adopted() THEN '; but this database is a copy of the one it was made in, and sends nothing '
            'until jtd-worker adopt'
        WHEN g.verdict = 'defer' THEN format('; it is held back, and waits for %s%s', why.clause,
            to_char(g.until, '" until "YYYY-MM-DD HH24:MI:SS TZ'))
        WHEN g.verdict = 'expire' THEN '; but it will end as expired'
        WHEN g.verdict = 'block' THEN format('; but it will end as cancelled: %s', why.clause)
        WHEN NOT EXISTS (SELECT FROM jtd.workers AS x
            WHERE j.channel_code = ANY (x.channels) AND x.lease_until > clock_timestamp())
            THEN format('; but no running worker serves channel %s', j.channel_code)
        END AS clause) AS hindrance
    CROSS JOIN LATERAL (SELECT (SELECT c.provider_config_refs -> j.channel_code::text ->> 'credential'
        FROM public.n_jtd_tenant_config AS c
        WHERE c.tenant_id = j.tenant_id AND c.is_live = j.is_live AND c.is_active) AS credential) AS own
    CROSS JOIN LATERAL (SELECT CASE
        WHEN g.reason = 'test_mode' THEN '; it is a test row and goes to the outbox'
        ELSE concat(
            (SELECT string_agg(format('; provider %s takes nothing at present (%s)%s', b.provider, b.code,
                CASE WHEN b.is_paused THEN coalesce(': ' || b.pause_reason, '')
                    ELSE to_char(b.retry_at, '" and is tried again at "YYYY-MM-DD HH24:MI:SS TZ') END),
                '' ORDER BY b.provider)
                FROM jtd.breakers AS b WHERE b.channel_code = j.channel_code AND jtd.concerns(b.provider, own.credential)),
            (SELECT string_agg(format('; provider %s is at its rate of %s a minute until %s',
                r.provider, r.per_minute, to_char(t.free_at, 'YYYY-MM-DD HH24:MI:SS TZ')), '' ORDER BY r.provider)
                FROM jtd.rate_states() AS r
                LEFT JOIN public.n_jtd_source_types AS s ON s.code = j.source_type_code
                CROSS JOIN LATERAL (SELECT CASE jtd.lane(j.priority, s.is_urgent)
                    WHEN 'urgent' THEN r.urgent_free_at ELSE r.free_at END AS free_at) AS t
                WHERE r.channel_code = j.channel_code AND t.free_at IS NOT NULL AND jtd.concerns(r.provider, own.credential)))
        END AS clause) AS remark
    WHERE j.id = p_id
$$;
REVOKE ALL ON FUNCTION jtd.explain(uuid) FROM PUBLIC;
