"""What follows a failure: nothing, or another attempt without end."""

from tests.mutants.mutant import Edit, Mutant

UNSENT = "sql/functions/apply_unsent.sql"

MUTANTS = (
    Mutant(
        failure_mode="F4",
        what="an attempt that failed with retries left stays failed",
        edits=(Edit(UNSENT, "PERFORM jtd.step(again, 'pending', 'retry');", ""),),
        tests=("tests/test_settle.py::test_a_retry_uses_an_attempt_and_waits",),
    ),
    Mutant(
        failure_mode="F4",
        what="nothing moves a retry that has come due",
        edits=(Edit("sql/functions/tick_v1.sql", "due := jtd.release_due(batch);", ""),),
        tests=("tests/test_tick.py::test_time_alone_moves_a_retry",),
    ),
    Mutant(
        failure_mode="F4",
        what="a job that failed for good is not marked as ended",
        edits=(Edit(UNSENT, "WHERE j.id = ANY (failed) AND j.id <> ALL (again);", "WHERE false;"),),
        tests=("tests/test_settle.py::test_failed_is_the_end",),
    ),
    Mutant(
        failure_mode="F4",
        what="the flow of a message has no step from failed to pending",
        edits=(
            Edit(
                "sql/002_seed_jtd_master_data.sql",
                "        ('message',       'failed',      'pending',     false),\n",
                "",
            ),
        ),
        tests=(
            "tests/test_master_data.py::test_flows_are_those_of_the_data_model",
            "tests/test_settle.py::test_a_retry_uses_an_attempt_and_waits",
        ),
    ),
    Mutant(
        failure_mode="F9",
        what="a refusal for good is tried again",
        edits=(
            Edit(
                "jtd_worker/outcome.py",
                "case results.Refused(retry=results.Retry.LATER):",
                "case results.Refused(retry=results.Retry.LATER | results.Retry.NEVER):",
            ),
        ),
        tests=("tests/test_worker.py::test_an_http_server_that_misbehaves_gives_the_right_state",),
    ),
    Mutant(
        failure_mode="F9",
        what="a wrong password fails every message for good",
        edits=(
            Edit(
                "jtd_worker/outcome.py",
                "return Snooze(code=result.code, reason=result.reason, delay=AFTER_OPERATOR_PAUSE)",
                "return Failed(code=result.code, reason=result.reason)",
            ),
        ),
        tests=("tests/test_worker.py::test_an_http_server_that_misbehaves_gives_the_right_state",),
    ),
    Mutant(
        failure_mode="F9",
        what="a wait for the operator uses an attempt",
        edits=(
            Edit(
                UNSENT,
                "SET next_retry_at = now() + make_interval(secs => coalesce(r.delay, 0))",
                "SET retry_count = j.retry_count + 1, next_retry_at = now()",
            ),
        ),
        tests=("tests/test_settle.py::test_a_snooze_costs_no_attempt",),
    ),
    Mutant(
        failure_mode="F9",
        what="a wrong password is tried with every message",
        edits=(
            Edit(
                "jtd_worker/breaker.py",
                "if failures >= FAILURES or _is_certain(result) or provider in self._open_until:",
                "if False:",
            ),
        ),
        tests=(
            "tests/test_breaker.py"
            "::test_a_failing_provider_is_asked_by_probes_alone_and_everything_arrives_when_it_works[401]",
        ),
    ),
    Mutant(
        failure_mode="F10",
        what="an unknown outcome is sent again whatever its rule",
        edits=(
            Edit(
                UNSENT,
                "(r.outcome = 'unknown' AND r.rule IN ('idempotent_retry', 'resend'))",
                "r.outcome = 'unknown'",
            ),
        ),
        tests=(
            "tests/test_settle.py::test_an_unknown_outcome_is_held_unless_its_rule_allows_another_attempt",
        ),
    ),
    Mutant(
        failure_mode="F10",
        what="after an unknown outcome any provider is asked",
        edits=(
            Edit(
                UNSENT,
                "'bound_to', CASE WHEN r.outcome = 'unknown' AND r.rule = 'idempotent_retry' THEN",
                "'bound_to', CASE WHEN false THEN",
            ),
        ),
        tests=(
            "tests/test_tick.py::test_a_job_that_was_handed_off_follows_its_rule",
            "tests/test_hostile.py::test_after_an_unknown_outcome_no_other_provider_sends_in_silence",
        ),
    ),
    Mutant(
        failure_mode="F11",
        what="an attempt that was lost with its worker after the hand-off does not count",
        edits=(
            Edit(
                "sql/functions/reclaim.sql",
                "ELSE 'unknown' END",
                "ELSE 'release' END",
            ),
        ),
        tests=("tests/test_tick.py::test_a_job_that_was_handed_off_follows_its_rule",),
    ),
    Mutant(
        failure_mode="F11",
        what="attempts have no bound",
        edits=(Edit(UNSENT, "AND j.retry_count < coalesce(j.max_retries, 0)", ""),),
        tests=(
            "tests/test_settle.py::test_the_last_attempt_that_fails_ends_the_job",
            "tests/test_tick.py::test_a_job_that_loses_worker_after_worker_ends",
        ),
    ),
    Mutant(
        failure_mode="F11",
        what="a job that ends its workers before the hand-off is claimed for ever",
        edits=(Edit(UNSENT, "> greatest(2, coalesce(j.max_retries, 0) + 1)", "> 1000000"),),
        tests=("tests/test_claim.py::test_a_job_that_takes_a_third_worker_with_it_ends",),
    ),
    Mutant(
        failure_mode="F11",
        what="a job that may have ended its worker is claimed with others again",
        edits=(Edit("sql/functions/claim_v1.sql", "IF lost <> '{}' THEN", "IF false THEN"),),
        tests=("tests/test_claim.py::test_a_job_whose_worker_was_lost_with_it_is_claimed_alone",),
    ),
    Mutant(
        failure_mode="F11",
        what="jobs that may have ended a worker run side by side, and cost one another attempts",
        edits=(
            Edit(
                "sql/functions/claim_v1.sql",
                "WHERE f.worker_id = p_worker AND jtd.is_suspect(j.execution_result));",
                "WHERE false);",
            ),
        ),
        tests=(
            "tests/test_claim.py::test_a_job_is_claimed_alone_once_two_workers_were_lost_before_a_hand_off",
        ),
    ),
)
