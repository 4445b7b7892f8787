"""How results are recorded: half, over a newer attempt, not at all, or all or nothing."""

from tests.mutants.mutant import Edit, Mutant

APPLY = "sql/functions/apply_results.sql"
UNSENT = "sql/functions/apply_unsent.sql"
LATE = "sql/functions/note_late.sql"

MUTANTS = (
    Mutant(
        failure_mode="F1",
        what="the worker deletes messages in a transaction before that of the status",
        edits=(
            Edit(
                "jtd_worker/queue.py",
                '"""Record results; returns (id, attempt, answer) for each, see jtd.settle_v1."""',
                "await self._settles.call(\n"
                '            "WITH ended AS (DELETE FROM jtd.inflight WHERE jtd_id = ANY (%s::uuid[])"\n'
                '            " RETURNING *) SELECT pgmq.delete(queue_name, msg_id) FROM ended",\n'
                '            [[str(result["id"]) for result in results]],\n'
                "        )",
            ),
        ),
        tests=(
            "tests/test_worker.py"
            "::test_a_row_that_somebody_holds_while_it_is_sent_is_settled_when_it_is_free",
        ),
    ),
    Mutant(
        failure_mode="F1",
        what="a settle deletes the message of a row that it could not write",
        edits=(Edit(APPLY, "r.answer IN ('applied', 'already', 'late')", "r.answer <> 'gone'"),),
        tests=("tests/test_settle.py::test_every_result_of_a_batch_has_its_own_answer",),
    ),
    Mutant(
        failure_mode="F2",
        what="a send that cannot be recorded now is recorded as a failed one",
        edits=(
            Edit(
                "jtd_worker/settler.py",
                "locked.append(settlement)",
                "locked.append(\n"
                "                    Settlement(\n"
                "                        jtd=settlement.jtd,\n"
                '                        outcome=Retry(code="not_recorded", reason="not recorded"),\n'
                "                        provider=settlement.provider,\n"
                "                        seconds=settlement.seconds,\n"
                "                        settled=settlement.settled,\n"
                "                    )\n"
                "                )",
            ),
        ),
        tests=(
            "tests/test_worker.py"
            "::test_a_row_that_somebody_holds_while_it_is_sent_is_settled_when_it_is_free",
        ),
    ),
    Mutant(
        failure_mode="F2",
        what="a send whose answer cannot be stored is recorded as a failed one",
        edits=(
            Edit(
                "sql/functions/strip_result.sql",
                "WHEN p_result ->> 'delivery' IS NOT NULL THEN 'failed'",
                "WHEN p_result ->> 'outcome' = 'sent' THEN 'retry'",
            ),
        ),
        tests=("tests/test_settle.py::test_a_result_that_cannot_be_stored_keeps_its_outcome_and_says_why",),
    ),
    Mutant(
        failure_mode="F2",
        what="a result that meets an outage of the database is recorded only once",
        edits=(
            Edit(
                "jtd_worker/queue.py", "rows = await self._settles.call(", "rows = await self._settles.once("
            ),
        ),
        tests=(
            "tests/test_failure_modes.py"
            "::test_an_answer_that_comes_during_an_outage_of_the_database_is_recorded_after_it",
        ),
    ),
    Mutant(
        failure_mode="F2",
        what="the hand-off is not on record before the call",
        edits=(Edit("jtd_worker/executor.py", "if not capabilities.needs_hand_off:", "if True:"),),
        tests=("tests/test_worker.py::test_a_killed_worker_loses_nothing",),
    ),
    Mutant(
        failure_mode="F13",
        what="a result is applied whatever attempt it is of",
        edits=(
            Edit(
                APPLY,
                "WHEN j.attempt = r.attempt AND j.status_code = 'executing' AND r.place = 1",
                "WHEN r.place = 1",
            ),
        ),
        tests=(
            "tests/test_settle.py::test_a_stale_result_never_changes_a_newer_attempt",
            "tests/test_failure_modes.py::test_a_worker_that_was_frozen_writes_nothing_over_its_successor",
        ),
    ),
    Mutant(
        failure_mode="F18",
        what="no retries at enqueue are taken for unset",
        edits=(
            Edit(
                "sql/functions/enqueue_row.sql",
                "coalesce(NEW.max_retries, event.default_max_retries)",
                "coalesce(nullif(NEW.max_retries, 0), event.default_max_retries)",
            ),
        ),
        tests=("tests/test_settle.py::test_no_retries_means_none",),
    ),
    Mutant(
        failure_mode="F18",
        what="no retries at a failure are taken for unset",
        edits=(
            Edit(
                UNSENT,
                "j.retry_count < coalesce(j.max_retries, 0)",
                "j.retry_count < coalesce(nullif(j.max_retries, 0), 3)",
            ),
        ),
        tests=("tests/test_settle.py::test_no_retries_means_none",),
    ),
    Mutant(
        failure_mode="F18",
        what="the count of retries is written, not raised",
        edits=(Edit(UNSENT, "SET retry_count = j.retry_count + 1,", "SET retry_count = 1,"),),
        tests=("tests/test_tick.py::test_a_job_that_loses_worker_after_worker_ends",),
    ),
    Mutant(
        failure_mode="F19",
        what="the error of an earlier attempt stays on a row that was sent",
        edits=(
            Edit(
                APPLY,
                "error_code = CASE WHEN r.code = 'result_not_stored' THEN r.code END",
                "error_code = j.error_code",
            ),
        ),
        tests=("tests/test_settle.py::test_what_an_earlier_failure_left_is_cleared_when_it_is_sent",),
    ),
    Mutant(
        failure_mode="F19",
        what="the provider's id is not stored",
        edits=(Edit(APPLY, "provider_message_id = r.provider_message_id,", ""),),
        tests=("tests/test_settle.py::test_sent_fills_every_result_column",),
    ),
    Mutant(
        failure_mode="F19",
        what="the provider's id does not leave the worker",
        edits=(
            Edit(
                "jtd_worker/settler.py",
                "clean(result.provider_message_id) if result.provider_message_id else None",
                "None",
            ),
        ),
        tests=("tests/test_failure_modes.py::test_a_nul_in_an_answer_costs_neither_its_job_nor_the_others",),
    ),
    Mutant(
        failure_mode="F19",
        what="the time of the send is not stored",
        edits=(Edit(APPLY, "executed_at = coalesce(f.handed_off_at, now()),", ""),),
        tests=(
            "tests/test_settle.py::test_sent_fills_every_result_column",
            "tests/test_settle.py::test_the_time_of_the_hand_off_is_kept",
        ),
    ),
    Mutant(
        failure_mode="F19",
        what="what a send costs is not stored",
        edits=(
            Edit(
                APPLY,
                "ELSE jtd.charge(j.cost, c.default_cost_per_unit, coalesce(r.units, f.units)) END",
                "ELSE j.cost END",
            ),
        ),
        tests=(
            "tests/test_cost.py::test_a_sent_message_costs_its_units_times_the_price_of_its_channel",
            "tests/test_content_worker.py::test_a_long_sms_goes_whole_and_costs_its_parts",
        ),
    ),
    Mutant(
        failure_mode="F19",
        what="a send of unknown outcome is taken for free",
        edits=(Edit(UNSENT, "cost = CASE WHEN r.outcome = 'unknown'", "cost = CASE WHEN false"),),
        tests=(
            "tests/test_cost.py::test_what_may_have_left_costs_as_much_as_what_did",
            "tests/test_cost.py::test_a_message_whose_worker_died_after_the_hand_off_is_counted",
        ),
    ),
    Mutant(
        failure_mode="F55",
        what="texts from outside are not cleaned",
        edits=(
            Edit(
                "jtd_worker/foreign.py", '_UNSTORABLE.sub("\\ufffd", str(text)[:limit])', "str(text)[:limit]"
            ),
        ),
        tests=("tests/test_failure_modes.py::test_a_nul_in_an_answer_costs_neither_its_job_nor_the_others",),
    ),
    Mutant(
        failure_mode="F55",
        what="a result that cannot be stored fails its whole batch",
        edits=(Edit("sql/functions/settle_v1.sql", "refusal := SQLERRM;", "RAISE;"),),
        tests=("tests/test_settle.py::test_a_result_that_cannot_be_stored_keeps_its_outcome_and_says_why",),
    ),
    Mutant(
        failure_mode="F58",
        what="a late result leaves no trace",
        edits=(Edit(LATE, "WHERE r.outcome <> 'release';", "WHERE false;"),),
        tests=(
            "tests/test_settle.py::test_a_proof_of_a_send_after_a_newer_one_is_a_known_duplicate",
            "tests/test_settle.py::test_a_job_cancelled_while_it_was_sent_stays_cancelled_with_the_proof",
        ),
    ),
    Mutant(
        failure_mode="F58",
        what="a late proof of a send does not resolve an unknown outcome",
        edits=(Edit(LATE, "AND r.attempt >= j.attempt", "AND false"),),
        tests=("tests/test_settle.py::test_a_late_proof_resolves_an_unknown_outcome_of_the_same_attempt",),
    ),
    Mutant(
        failure_mode="F58",
        what="a late result counts as one that is known already",
        edits=(Edit(APPLY, "ELSE 'late' END", "ELSE 'already' END"),),
        tests=("tests/test_settle.py::test_a_stale_result_never_changes_a_newer_attempt",),
    ),
)
