-- Applies some parked receipts to their jobs: status, audit trail, suppressions and the receipts in one transaction.
-- Called by: jtd.apply_receipts_v1.  Locks: the receipts and their jobs, by id, SKIP LOCKED.
-- Returns how many were applied, ignored, and parked, those whose job or row somebody holds, and those without a job as yet.
-- One whose job takes no change (SQLSTATE 22, 23) is ignored as refused, with a note in the job's audit trail.
CREATE OR REPLACE FUNCTION jtd.settle_receipts(
    p_ids bigint[], OUT applied integer, OUT ignored integer, OUT parked integer, OUT locked bigint[], OUT unmatched bigint[])
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
AS $$
DECLARE
    ours bigint[];
    held uuid[];
    matched jtd.verdict[];
    unsettled jtd.verdict[];
    judged jtd.verdict[];
    moved jtd.verdict[];
    settled jtd.verdict[] := '{}';
    refusal text;
BEGIN
    BEGIN  -- locks and writes in one block: a lock of the outer one would make a MultiXact of each row
        ours := ARRAY(
            SELECT r.id FROM public.n_jtd_receipts AS r WHERE r.id = ANY (p_ids) AND r.state = 'parked'
            ORDER BY r.id FOR NO KEY UPDATE SKIP LOCKED);
        matched := ARRAY(
            SELECT (m.receipt_id, m.jtd_id, CASE m.why WHEN 'ambiguous' THEN 'ignored' ELSE 'parked' END, m.why, NULL,
                NULL)::jtd.verdict
            FROM jtd.match_receipts(ours) AS m);
        held := ARRAY(
            SELECT j.id FROM public.n_jtd AS j WHERE j.id = ANY (ARRAY(SELECT m.jtd_id FROM unnest(matched) AS m))
            ORDER BY j.id FOR NO KEY UPDATE SKIP LOCKED);
        unsettled := ARRAY(SELECT m FROM unnest(matched) AS m WHERE m.jtd_id = ANY (held));
        WHILE unsettled <> '{}' LOOP  -- of several that move one job, that which says least goes first
            judged := ARRAY(SELECT v::jtd.verdict FROM jtd.judge_receipts(unsettled) AS v);
            moved := ARRAY(
                SELECT DISTINCT ON (v.jtd_id) v::jtd.verdict FROM unnest(judged) AS v WHERE v.verdict = 'walk'
                ORDER BY v.jtd_id, v.turn, v.receipt_id);
            IF moved = '{}' THEN
                settled := settled || judged;
                EXIT;
            END IF;
            PERFORM jtd.walk_receipts(moved);
            settled := settled || moved;
            unsettled := ARRAY(
                SELECT v FROM unnest(judged) AS v
                WHERE v.receipt_id <> ALL (ARRAY(SELECT m.receipt_id FROM unnest(moved) AS m)));
        END LOOP;
        settled := settled || ARRAY(SELECT m FROM unnest(matched) AS m WHERE m.jtd_id IS NULL);
        PERFORM jtd.remark(v.jtd_id, 'receipt', r.reason, jsonb_strip_nulls(jsonb_build_object(
            'provider', r.provider, 'kind', r.kind, 'code', r.code, 'at', r.occurred_at)))
        FROM unnest(settled) AS v JOIN public.n_jtd_receipts AS r ON r.id = v.receipt_id
        WHERE v.verdict = 'remark';
        PERFORM jtd.suppress_receipts(settled);
        UPDATE public.n_jtd_receipts AS r
        SET state = CASE WHEN v.verdict IN ('walk', 'remark') THEN 'applied' ELSE v.verdict END,
            state_reason = CASE WHEN v.verdict IN ('parked', 'ignored') THEN v.why END,
            state_changed_at = now(),
            jtd_id = v.jtd_id
        FROM unnest(settled) AS v
        WHERE r.id = v.receipt_id AND (v.verdict <> 'parked' OR (r.state_reason, r.jtd_id) IS DISTINCT FROM (v.why, v.jtd_id));
        applied := (SELECT count(*) FROM unnest(settled) AS v WHERE v.verdict IN ('walk', 'remark'));
        ignored := (SELECT count(*) FROM unnest(settled) AS v WHERE v.verdict = 'ignored');
        parked := (SELECT count(*) FROM unnest(settled) AS v WHERE v.verdict = 'parked');
        unmatched := ARRAY(SELECT v.receipt_id FROM unnest(settled) AS v WHERE v.why = 'unmatched');
        locked := ARRAY(
            SELECT r.id FROM public.n_jtd_receipts AS r
            WHERE r.id = ANY (p_ids) AND r.state = 'parked'
                AND r.id <> ALL (ARRAY(SELECT v.receipt_id FROM unnest(settled) AS v)));
        RETURN;
    EXCEPTION WHEN data_exception OR integrity_constraint_violation THEN
        refusal := left('a receipt cannot be applied: ' || SQLERRM, 500);
    END;
    IF cardinality(p_ids) > 1 THEN
        SELECT s.* INTO applied, ignored, parked, locked, unmatched
        FROM jtd.settle_receipts(p_ids[: cardinality(p_ids) / 2]) AS s;
        SELECT settle_receipts.applied + s.applied, settle_receipts.ignored + s.ignored, settle_receipts.parked + s.parked,
            settle_receipts.locked || s.locked, settle_receipts.unmatched || s.unmatched
        INTO applied, ignored, parked, locked, unmatched
        FROM jtd.settle_receipts(p_ids[cardinality(p_ids) / 2 + 1 :]) AS s;
        RETURN;
    END IF;
    PERFORM jtd.remark(m.jtd_id, 'note', refusal, NULL) FROM unnest(matched) AS m WHERE m.jtd_id IS NOT NULL;
    UPDATE public.n_jtd_receipts AS r
    SET state = 'ignored', state_reason = 'refused', state_changed_at = now(),
        jtd_id = (SELECT m.jtd_id FROM unnest(matched) AS m)
    WHERE r.id = ANY (p_ids);
    applied := 0;
    ignored := 1;
    parked := 0;
    locked := '{}';
    unmatched := '{}';
END
$$;
REVOKE ALL ON FUNCTION jtd.settle_receipts(bigint[]) FROM PUBLIC;
