"""Who may send a job, and for how long: leases, reclaims and the end of a worker."""

from tests.mutants.mutant import Edit, Mutant

DEAD = "sql/functions/reclaim_dead.sql"
EXECUTOR = "jtd_worker/executor.py"
SIGTERM = "tests/test_failure_modes.py::test_sigterm_gives_back_at_once_and_unharmed_what_has_not_begun"

MUTANTS = (
    Mutant(
        failure_mode="F6",
        what="the lease is not renewed",
        edits=(Edit("jtd_worker/heartbeat.py", "await self._renew()", "await asyncio.sleep(0)"),),
        tests=(
            "tests/test_failure_modes.py::test_a_send_that_takes_longer_than_the_lease_is_left_to_its_worker",
        ),
    ),
    Mutant(
        failure_mode="F6",
        what="a send starts at the very end of the lease",
        edits=(
            Edit(
                "jtd_worker/lease.py", "elapsed() < self._ends - self.seconds / 2", "elapsed() < self._ends"
            ),
        ),
        tests=("tests/test_failure_modes.py::test_half_a_lease_must_be_left_for_a_send_to_start",),
    ),
    Mutant(
        failure_mode="F6",
        what="jobs of a live worker are reclaimed",
        edits=(
            Edit(DEAD, "WHERE coalesce(w.lease_until, '-infinity') < clock_timestamp()", "WHERE true"),
            Edit(DEAD, "AND coalesce(w.lease_until, '-infinity') < clock_timestamp()", ""),
        ),
        tests=("tests/test_tick.py::test_the_jobs_of_a_live_worker_are_left_alone",),
    ),
    Mutant(
        failure_mode="F6",
        what="a message that can be read again is taken for the sign of a dead worker",
        edits=(
            Edit(
                "sql/functions/dispose.sql",
                "WHEN f.attempt = j.attempt THEN 'executing' ELSE 'worker_lost' END",
                "WHEN false THEN 'executing' ELSE 'worker_lost' END",
            ),
        ),
        tests=(
            "tests/test_claim.py::test_a_job_that_a_live_worker_executes_keeps_its_message_past_the_lease",
        ),
    ),
    Mutant(
        failure_mode="F12",
        what="a worker that stops leaves what has not begun to the end of its lease",
        edits=(
            Edit(
                EXECUTOR,
                "if item.jtd.id not in answers:\n                item.settle(Release(), None)",
                "pass",
            ),
        ),
        tests=(SIGTERM,),
    ),
    Mutant(
        failure_mode="F12",
        what="a worker that stops uses up an attempt of what has not begun",
        edits=(
            Edit(
                EXECUTOR,
                "if item.jtd.id not in answers:\n                item.settle(Release(), None)",
                "if item.jtd.id not in answers:\n"
                '                lost = Unknown(code="x", reason="x")\n'
                "                item.settle(outcome(lost, outlet.adapter.capabilities.unknown_rule), None)",
            ),
        ),
        tests=(SIGTERM,),
    ),
    Mutant(
        failure_mode="F12",
        what="what is given back has used up an attempt",
        edits=(
            Edit(
                "sql/functions/apply_unsent.sql",
                "PERFORM jtd.step(released, 'pending', 'given_back');",
                "UPDATE public.n_jtd AS j SET retry_count = j.retry_count + 1 WHERE j.id = ANY (released);"
                " PERFORM jtd.step(released, 'pending', 'given_back');",
            ),
        ),
        tests=("tests/test_settle.py::test_a_release_gives_the_job_back_unharmed_and_at_once", SIGTERM),
    ),
    Mutant(
        failure_mode="F12",
        what="sends that run when a worker is stopped get no time to end",
        edits=(
            Edit("jtd_worker/worker.py", "asyncio.sleep(self._settings.drain_seconds)", "asyncio.sleep(0)"),
        ),
        tests=("tests/test_failure_modes.py::test_a_send_that_runs_when_sigterm_comes_may_end",),
    ),
    Mutant(
        failure_mode="F12",
        what="a reader that waits for a provider does not hear that it is to stop",
        edits=(
            Edit(
                "jtd_worker/consumer.py",
                "if self._stopping.is_set():  # it was this that woke it\n                    break",
                "",
            ),
        ),
        tests=("tests/test_failure_modes.py::test_sigterm_ends_a_worker_whose_provider_is_out_of_order",),
    ),
    Mutant(
        failure_mode="F12",
        what="a worker that leaves keeps its lease",
        edits=(
            Edit(
                "sql/functions/leave_v1.sql",
                "UPDATE jtd.workers AS w SET lease_until = '-infinity' WHERE w.id = p_worker;",
                "",
            ),
        ),
        tests=(
            "tests/test_tick.py::test_a_worker_that_leaves_is_gone_at_once_and_what_it_held_is_reclaimed",
        ),
    ),
    Mutant(
        failure_mode="F13",
        what="a send starts when the answer to its hand-off came after the lease",
        edits=(
            Edit(
                EXECUTOR,
                " or not self._lease.allows_start or self._lease.term != term",
                "",
            ),
        ),
        tests=(
            "tests/test_failure_modes.py"
            "::test_a_hand_off_whose_answer_comes_when_the_lease_is_over_starts_no_send",
        ),
    ),
    Mutant(
        failure_mode="F59",
        what="all is reclaimed as soon as the database is up again",
        edits=(Edit(DEAD, "greatest(pg_postmaster_start_time(), me.started_at)", "me.started_at"),),
        tests=("tests/test_tick.py::test_nothing_is_reclaimed_before_the_database_was_up_for_a_whole_lease",),
    ),
    Mutant(
        failure_mode="F59",
        what="all is reclaimed as soon as the first worker is connected",
        edits=(
            Edit(DEAD, "greatest(pg_postmaster_start_time(), me.started_at)", "pg_postmaster_start_time()"),
        ),
        tests=(
            "tests/test_tick.py"
            "::test_nothing_is_reclaimed_before_the_reclaimer_was_connected_for_a_whole_lease",
        ),
    ),
    Mutant(
        failure_mode="F59",
        what="a worker that lost its connection judges the others at once",
        edits=(
            Edit(
                "sql/functions/renew_v1.sql",
                "CASE WHEN w.lease_until < clock_timestamp() THEN clock_timestamp() ELSE w.started_at END",
                "w.started_at",
            ),
        ),
        tests=("tests/test_tick.py::test_a_worker_that_comes_back_counts_as_connected_anew",),
    ),
    Mutant(
        failure_mode="F6",
        what="a hand-off from before the lease was over lets a send start once it is renewed",
        edits=(Edit("jtd_worker/executor.py", " or self._lease.term != term", ""),),
        tests=(
            "tests/test_failure_modes.py"
            "::test_a_hand_off_from_before_the_lease_was_over_starts_no_send_after_it_is_renewed",
        ),
    ),
    Mutant(
        failure_mode="F6",
        what="a worker claims although its lease lets nothing start",
        edits=(Edit("jtd_worker/consumer.py", "if not self._lease.allows_start:", "if False:"),),
        tests=(
            "tests/test_outage.py"
            "::test_a_worker_whose_lease_is_half_over_claims_nothing_that_it_could_only_give_back",
        ),
    ),
)
