-- Reads a queue, and makes the jobs behind its messages the worker's: fenced, executing, in flight.
-- Called by: every consumer.  Locks: the claimed rows, by id, SKIP LOCKED.
-- Returns nothing when the queue is empty (the worker is then entered as a sleeper), its channel paused, or the
-- database not adopted, unless the worker gives the channel to the outbox.
-- A suspect of jtd.is_suspect is claimed alone, and while it is in flight no other by the same worker: so none of them
-- is charged for another. One that takes no change (SQLSTATE 22, 23) keeps its message, hidden for an hour, and gets a note.
--
-- The message is a hint, the row is the truth. The read and the look at the rows are two statements on
-- purpose: with one snapshot a row committed in between would look absent, and its message be thrown away.
CREATE OR REPLACE FUNCTION jtd.claim_v1(p_worker uuid, p_queue text, p_limit integer)
RETURNS TABLE (
    id uuid, attempt integer, tenant_id uuid, event_type_code text, channel_code text, source_type_code text,
    recipient text, recipient_name text, payload jsonb, template_variables jsonb, metadata jsonb,
    template_id uuid, template_version integer, template_key text, locale text, created_at timestamptz,
    is_diverted boolean, retry_count integer, max_retries integer, expires_at timestamptz,
    bound_to text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    lease integer;
    harmless text[];
    queue record;
    msg_ids bigint[];
    bodies jsonb[];
    ids uuid[];
    wanted uuid[];
    held uuid[];
    lost uuid[];
    postponed uuid[];
    is_one_in_flight boolean;
    taken uuid[] := '{}';
    diverted boolean[] := '{}';
    passed uuid[];
    spent uuid[];
    refused uuid[] := '{}';
    refusals text[] := '{}';
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'jtd.claim_v1 needs READ COMMITTED, this transaction is %',
            upper(current_setting('transaction_isolation'))
            USING ERRCODE = 'JT031', HINT = 'Unset default_transaction_isolation for the worker''s role.';
    END IF;
    SELECT w.lease_seconds, w.outbox_channels INTO lease, harmless
    FROM jtd.workers AS w WHERE w.id = p_worker AND w.lease_until > clock_timestamp();
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the lease of worker % is over', p_worker USING ERRCODE = 'JT030', HINT = 'Renew it first.';
    END IF;
    SELECT q.channel_code, q.lane, q.floor, c.is_paused, c.recipient_key INTO queue
    FROM jtd.queues AS q JOIN public.n_jtd_channels AS c ON c.code = q.channel_code
    WHERE q.queue_name = p_queue;
    IF NOT FOUND OR queue.is_paused OR NOT (queue.channel_code = ANY (harmless) OR jtd.is_adopted()) THEN
        RETURN;
    END IF;

    SELECT array_agg(r.msg_id), array_agg(r.message) INTO msg_ids, bodies
    FROM jtd.read(p_queue, queue.floor, 10 * lease, p_limit) AS r;
    IF msg_ids IS NULL THEN
        INSERT INTO jtd.sleepers (queue_name, worker_id) VALUES (p_queue, p_worker) ON CONFLICT DO NOTHING;
        RETURN;
    END IF;
    DELETE FROM jtd.sleepers AS s WHERE s.queue_name = p_queue AND s.worker_id = p_worker;

    ids := ARRAY(SELECT jtd.message_id(b.body) FROM unnest(bodies) WITH ORDINALITY AS b (body, n) ORDER BY b.n);
    wanted := ids;
    LOOP
        BEGIN  -- locks and writes in one block: a lock of the outer one would make a MultiXact of each row
            SELECT coalesce(array_agg(l.id), '{}'), array_agg(l.id) FILTER (WHERE l.is_lost) INTO held, lost
            FROM (
                SELECT j.id, jtd.is_suspect(j.execution_result) AS is_lost
                FROM public.n_jtd AS j
                LEFT JOIN public.n_jtd_source_types AS s ON s.code = j.source_type_code
                WHERE j.id = ANY (wanted) AND j.status_code = 'queued' AND j.channel_code = queue.channel_code
                    AND jtd.lane(j.priority, s.is_urgent) = queue.lane
                ORDER BY j.id
                FOR NO KEY UPDATE OF j SKIP LOCKED) AS l;
            postponed := '{}';
            IF lost <> '{}' THEN
                is_one_in_flight := EXISTS (
                    SELECT FROM jtd.inflight AS f JOIN public.n_jtd AS j ON j.id = f.jtd_id
                    WHERE f.worker_id = p_worker AND jtd.is_suspect(j.execution_result));
                postponed := CASE WHEN is_one_in_flight THEN lost ELSE array_remove(held, lost[1]) END;
                held := CASE WHEN is_one_in_flight
                    THEN ARRAY(SELECT h.id FROM unnest(held) AS h (id) WHERE h.id <> ALL (lost)) ELSE lost[1:1] END;
            END IF;

            SELECT coalesce(array_agg(g.id), '{}'), array_agg(g.reason IS NOT DISTINCT FROM 'test_mode')
            INTO passed, diverted FROM jtd.judge(held) AS g WHERE g.verdict = 'send';
            spent := jtd.take_allowance(passed);  -- which the gate will know of, once they are looked at again
            WITH passed AS MATERIALIZED (
                SELECT p.id, p.is_diverted FROM unnest(passed, diverted) AS p (id, is_diverted) WHERE p.id <> ALL (spent)
            ), chosen AS MATERIALIZED (
                SELECT p.id, p.is_diverted, t.id AS template_id, t.version, s.id AS status_id,
                    coalesce(j.locale, c.locale) AS locale
                FROM passed AS p
                JOIN public.n_jtd AS j ON j.id = p.id
                JOIN public.n_jtd_event_types AS e ON e.code = j.event_type_code AND e.is_message
                LEFT JOIN public.n_jtd_statuses AS s ON s.event_type_code = e.code AND s.code = 'executing'
                LEFT JOIN public.n_jtd_tenant_config AS c
                    ON c.tenant_id = j.tenant_id AND c.is_live = j.is_live AND c.is_active
                LEFT JOIN public.n_jtd_tenant_source_config AS ts
                    ON ts.tenant_id = j.tenant_id AND ts.source_type_code = j.source_type_code
                    AND ts.is_live = j.is_live AND ts.is_active
                LEFT JOIN LATERAL jtd.find_template(
                    j.template_id, j.template_version, coalesce(ts.templates ->> j.channel_code, j.template_key),
                    j.tenant_id, j.source_type_code, j.channel_code, j.is_live, coalesce(j.locale, c.locale)) AS t ON true
            ), begun AS (
                UPDATE public.n_jtd AS j
                SET status_code = 'executing',
                    status_id = c.status_id,
                    previous_status_code = j.status_code,
                    status_changed_at = clock_timestamp(),
                    is_valid_transition = true,
                    transition_note = NULL,
                    attempt = j.attempt + 1,
                    template_id = coalesce(c.template_id, j.template_id),
                    template_version = c.version,
                    locale = c.locale,
                    updated_at = now()
                FROM chosen AS c
                WHERE j.id = c.id
                RETURNING j.id, j.attempt, c.is_diverted
            ), noted AS (  -- an entry that is there already is of an attempt that ended by hand
                INSERT INTO jtd.inflight AS f (jtd_id, attempt, worker_id, queue_name, msg_id)
                SELECT b.id, b.attempt, p_worker, p_queue, m.msg_id
                FROM begun AS b
                JOIN (SELECT u.id, min(u.msg_id) AS msg_id FROM unnest(ids, msg_ids) AS u (id, msg_id)
                    GROUP BY u.id) AS m ON m.id = b.id
                ON CONFLICT (jtd_id) DO UPDATE
                SET attempt = excluded.attempt, worker_id = excluded.worker_id, queue_name = excluded.queue_name,
                    msg_id = excluded.msg_id, claimed_at = excluded.claimed_at, handed_off_at = NULL,
                    provider = NULL, unknown_rule = NULL, units = NULL, kept = NULL, characters = NULL
            )
            SELECT array_agg(b.id), array_agg(b.is_diverted) INTO taken, diverted FROM begun AS b;
            EXIT;
        EXCEPTION WHEN data_exception OR integrity_constraint_violation THEN
            IF cardinality(held) > 1 THEN
                wanted := held[1 : cardinality(held) / 2];
            ELSIF cardinality(held) = 1 THEN
                refused := refused || held;
                refusals := refusals || SQLERRM;
                wanted := ARRAY(SELECT u.id FROM unnest(ids) AS u (id) WHERE u.id <> ALL (refused));
            ELSE
                RAISE;
            END IF;
        END;
    END LOOP;

    IF postponed <> '{}' THEN  -- one statement, since there may be many, and again with each claim until none is lost
        EXECUTE format('UPDATE pgmq.%I SET vt = clock_timestamp() + $2 WHERE msg_id = ANY ($1)', 'q_' || p_queue)
            USING ARRAY(SELECT m.msg_id FROM unnest(ids, msg_ids) AS m (id, msg_id) WHERE m.id = ANY (postponed)),
                CASE WHEN is_one_in_flight THEN interval '0.1 s' ELSE interval '0' END;  -- or it hides what comes behind
        SELECT array_agg(m.msg_id), array_agg(m.body), array_agg(m.id) INTO msg_ids, bodies, ids
        FROM unnest(msg_ids, bodies, ids) AS m (msg_id, body, id)
        WHERE m.id IS NULL OR m.id <> ALL (postponed);
    END IF;
    IF coalesce(cardinality(taken), 0) < cardinality(msg_ids) THEN
        PERFORM jtd.dispose(p_worker, p_queue, msg_ids, bodies, ids, 10 * lease);
    END IF;
    IF refused <> '{}' THEN
        PERFORM jtd.remark(r.id, 'note', left('it cannot be claimed: ' || r.refusal, 500), NULL)
        FROM unnest(refused, refusals) AS r (id, refusal);
        PERFORM jtd.count_discard(p_queue, 'refused', cardinality(refused), refused[1]);
        PERFORM pgmq.set_vt(p_queue, m.msg_id, 3600) FROM unnest(ids, msg_ids) AS m (id, msg_id)
        WHERE m.id = ANY (refused);
    END IF;
    IF EXISTS (SELECT FROM public.n_jtd AS j WHERE j.id = ANY (taken) AND j.carrier_id = j.id AND j.carries IS NULL) THEN
        PERFORM jtd.load_carriers(ARRAY(
            SELECT j.id FROM public.n_jtd AS j WHERE j.id = ANY (taken) AND j.carrier_id = j.id AND j.carries IS NULL));
    END IF;
    RETURN QUERY
    SELECT j.id, j.attempt, j.tenant_id, j.event_type_code::text, j.channel_code::text, j.source_type_code::text,
        jtd.recipient(queue.recipient_key, j.recipient_contact, j.recipient_id, j.payload), j.recipient_name::text,
        j.payload, CASE WHEN j.carrier_id = j.id AND jsonb_typeof(j.template_variables) = 'object'
            THEN j.template_variables || jsonb_build_object('items', jtd.items(j.id)) ELSE j.template_variables END,
        j.metadata, CASE WHEN j.template_version IS NOT NULL THEN j.template_id END,
        j.template_version, coalesce(ts.templates ->> j.channel_code, j.template_key)::text, j.locale::text, j.created_at, t.is_diverted, j.retry_count,
        j.max_retries, j.expires_at, j.execution_result ->> 'bound_to'
    FROM unnest(taken, diverted) AS t (id, is_diverted)
    JOIN public.n_jtd AS j ON j.id = t.id
    LEFT JOIN public.n_jtd_tenant_source_config AS ts
        ON ts.tenant_id = j.tenant_id AND ts.source_type_code = j.source_type_code
        AND ts.is_live = j.is_live AND ts.is_active;
END
$$;
REVOKE ALL ON FUNCTION jtd.claim_v1(uuid, text, integer) FROM PUBLIC;
