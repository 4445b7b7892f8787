"""What a claim makes of a message by its row: read wrongly, unchecked, all or nothing."""

from tests.mutants.mutant import Edit, Mutant

CLAIM = "sql/functions/claim_v1.sql"
DISPOSE = "sql/functions/dispose.sql"

MUTANTS = (
    Mutant(
        failure_mode="F3",
        what="a row that is locked now is taken for one that does not exist",
        edits=(
            Edit(DISPOSE, "WHEN m.id <> ALL (held) THEN 'locked'", "WHEN m.id <> ALL (held) THEN 'absent'"),
        ),
        tests=("tests/test_claim.py::test_a_job_that_somebody_holds_delays_only_itself",),
    ),
    Mutant(
        failure_mode="F3",
        what="a row that an error keeps from being claimed loses its message",
        edits=(
            Edit(
                CLAIM,
                "PERFORM pgmq.set_vt(p_queue, m.msg_id, 3600)",
                "PERFORM pgmq.delete(p_queue, m.msg_id)",
            ),
        ),
        tests=("tests/test_claim.py::test_a_job_that_takes_no_change_delays_only_itself_and_says_why",),
    ),
    Mutant(
        failure_mode="F3",
        what="what is thrown away is not counted",
        edits=(
            Edit(
                "sql/functions/discard.sql",
                "PERFORM jtd.count_discard(p_queue, p_reason, cardinality(p_msg_ids), p_last);",
                "",
            ),
        ),
        tests=(
            "tests/test_claim.py::test_a_message_for_no_job_at_all_is_deleted_and_counted",
            "tests/test_claim.py::test_discards_add_up",
        ),
    ),
    Mutant(
        failure_mode="F5",
        what="a claim does not look at the status",
        edits=(Edit(CLAIM, "AND j.status_code = 'queued' AND j.channel_code", "AND j.channel_code"),),
        tests=("tests/test_claim.py::test_a_settled_job_loses_its_message",),
    ),
    Mutant(
        failure_mode="F5",
        what="a hand-off does not look at the status",
        edits=(
            Edit(
                "sql/functions/hand_off_v2.sql",
                "WHERE j.attempt = a.attempt AND j.status_code = 'executing'",
                "WHERE j.attempt = a.attempt",
            ),
        ),
        tests=(
            "tests/test_settle.py::test_only_those_that_may_go_are_handed_off",
            "tests/test_failure_modes.py::test_a_job_cancelled_between_its_claim_and_its_hand_off_is_not_sent",
        ),
    ),
    Mutant(
        failure_mode="F5",
        what="the worker sends also what the hand-off did not return",
        edits=(
            Edit(
                "jtd_worker/executor.py",
                'going = [item for item in items if answers.get(item.jtd.id) == "go"]',
                "going = list(items)",
            ),
        ),
        tests=(
            "tests/test_failure_modes.py::test_a_job_cancelled_between_its_claim_and_its_hand_off_is_not_sent",
        ),
    ),
    Mutant(
        failure_mode="F17",
        what="dead letters go to another queue",
        edits=(Edit(DISPOSE, "pgmq.send('jtd_dlq',", "pgmq.send('jtd_push',"),),
        tests=(
            "tests/test_claim.py::test_messages_without_a_usable_id_become_dead_letters_and_delay_nobody",
        ),
    ),
    Mutant(
        failure_mode="F17",
        what="a dead letter lacks the original body",
        edits=(Edit(DISPOSE, ", 'body', b.body", ""),),
        tests=(
            "tests/test_claim.py::test_messages_without_a_usable_id_become_dead_letters_and_delay_nobody",
            "tests/test_operate.py::test_dead_letters_keep_body_reason_and_queue",
        ),
    ),
    Mutant(
        failure_mode="F17",
        what="a dead letter is put back with its wrapping",
        edits=(Edit("sql/functions/dlq_requeue.sql", "m.message -> 'body' AS body", "m.message AS body"),),
        tests=("tests/test_operate.py::test_dead_letters_go_back_to_their_queue_with_their_bodies",),
    ),
    Mutant(
        failure_mode="F53",
        what="the rows are looked at in the statement that reads the queue",
        edits=(
            Edit(CLAIM, "msg_ids bigint[];", "msg_ids bigint[]; seen bigint[];"),
            Edit(
                CLAIM,
                "SELECT array_agg(r.msg_id), array_agg(r.message) INTO msg_ids, bodies",
                "SELECT array_agg(r.msg_id), array_agg(r.message), array_agg(r.msg_id) FILTER (WHERE EXISTS"
                " (SELECT FROM public.n_jtd AS j WHERE j.id = jtd.message_id(r.message)))"
                " INTO msg_ids, bodies, seen",
            ),
            Edit(
                CLAIM,
                "ids := ARRAY(SELECT jtd.message_id(b.body)",
                "PERFORM pgmq.delete(p_queue, m.id) FROM unnest(msg_ids) AS m (id)"
                " WHERE m.id = ANY (seen) IS NOT TRUE;"
                " SELECT array_agg(m.id), array_agg(m.body) INTO msg_ids, bodies"
                " FROM unnest(msg_ids, bodies) AS m (id, body) WHERE m.id = ANY (seen);"
                " ids := ARRAY(SELECT jtd.message_id(b.body)",
            ),
        ),
        tests=("tests/test_claim.py::test_a_job_committed_between_the_read_and_the_look_is_claimed",),
    ),
    Mutant(
        failure_mode="F53",
        what="a claim runs with one snapshot for the whole transaction",
        edits=(
            Edit(
                CLAIM,
                "IF current_setting('transaction_isolation') <> 'read committed' THEN",
                "IF false THEN",
            ),
        ),
        tests=("tests/test_claim.py::test_a_claim_refuses_any_isolation_but_read_committed",),
    ),
    Mutant(
        failure_mode="F53",
        what="a message is passed over because later ones were committed before it",
        edits=(
            Edit(
                "sql/functions/raise_floor.sql",
                "pg_snapshot_xmin(pg_current_snapshot()) < queue.next_floor_from",
                "false",
            ),
        ),
        tests=("tests/test_floor.py::test_a_message_of_a_transaction_that_is_slow_to_commit_is_not_missed",),
    ),
    Mutant(
        failure_mode="F54",
        what="each message of a batch is a job of its own",
        edits=(
            Edit(
                CLAIM,
                "FROM unnest(taken, diverted) AS t (id, is_diverted)",
                "FROM unnest(ids) AS m (id)"
                " JOIN unnest(taken, diverted) AS t (id, is_diverted) ON t.id = m.id",
            ),
        ),
        tests=("tests/test_failure_modes.py::test_two_messages_for_one_job_in_one_batch_send_it_once",),
    ),
    Mutant(
        failure_mode="F57",
        what="a claim waits for a row that somebody holds",
        edits=(Edit(CLAIM, "FOR NO KEY UPDATE OF j SKIP LOCKED", "FOR NO KEY UPDATE OF j"),),
        tests=("tests/test_claim.py::test_a_job_that_somebody_holds_delays_only_itself",),
    ),
    Mutant(
        failure_mode="F57",
        what="a settle waits for a row that somebody holds",
        edits=(
            Edit("sql/functions/apply_results.sql", "FOR NO KEY UPDATE SKIP LOCKED", "FOR NO KEY UPDATE"),
        ),
        tests=("tests/test_settle.py::test_every_result_of_a_batch_has_its_own_answer",),
    ),
    Mutant(
        failure_mode="F57",
        what="the release of due jobs waits for a row that somebody holds",
        edits=(Edit("sql/functions/release_due.sql", "FOR NO KEY UPDATE SKIP LOCKED", "FOR NO KEY UPDATE"),),
        tests=("tests/test_tick.py::test_due_jobs_that_somebody_holds_delay_no_other",),
    ),
    Mutant(
        failure_mode="F57",
        what="admission waits for a row that somebody holds",
        edits=(Edit("sql/functions/take_turns.sql", "FOR NO KEY UPDATE SKIP LOCKED", "FOR NO KEY UPDATE"),),
        tests=("tests/test_tick.py::test_jobs_that_somebody_holds_take_no_room_from_the_tenants_others",),
    ),
)
