"""What an outage of the database, or of its notifications, does to a worker."""

from tests.mutants.mutant import Edit, Mutant

DATABASE = "jtd_worker/database.py"
OUTAGE = "tests/test_failure_modes.py::test_an_outage_of_the_database_costs_no_job_and_little_time"
NOT_NOTIFIED = "tests/test_failure_modes.py::test_a_sleeping_worker_that_nobody_notifies_is_woken_by_a_tick"

MUTANTS = (
    Mutant(
        failure_mode="F3",
        what="a template that cannot be read now is taken for a missing one",
        edits=(
            Edit(
                "jtd_worker/queue.py",
                'await self._claims.call(\n            f"SELECT {',
                'await self._claims.once(\n            f"SELECT {',
            ),
            Edit(
                "jtd_worker/executor.py",
                "            for row in await self._queue.templates(missing):\n",
                "            try:\n"
                "                rows = await self._queue.templates(missing)\n"
                "            except Exception:\n"
                "                rows = []\n"
                "            for row in rows:\n",
            ),
        ),
        tests=(
            "tests/test_failure_modes.py"
            "::test_a_template_that_cannot_be_read_now_is_not_taken_for_a_missing_one",
        ),
    ),
    Mutant(
        failure_mode="F14",
        what="a worker ends when the database cannot be reached",
        edits=(Edit(DATABASE, "retry_if_exception(is_transient)", "retry_if_exception(lambda _: False)"),),
        tests=(OUTAGE,),
    ),
    Mutant(
        failure_mode="F14",
        what="a worker ends when its lease cannot be renewed",
        edits=(
            Edit("jtd_worker/heartbeat.py", "except TRANSIENT as error:", "except TimeoutError as error:"),
        ),
        tests=(OUTAGE,),
    ),
    Mutant(
        failure_mode="F14",
        what="a worker hangs on a database that does not answer",
        edits=(Edit(DATABASE, "asyncio.timeout(ANSWER_TIMEOUT)", "asyncio.timeout(None)"),),
        tests=(
            "tests/test_failure_modes.py::test_a_database_that_does_not_answer_is_given_up_and_asked_anew",
        ),
    ),
    Mutant(
        failure_mode="F14",
        what="a worker that connects anew listens no more",
        edits=(Edit(DATABASE, "if self._listening is not connection:", "if self._listening is None:"),),
        tests=("tests/test_failure_modes.py::test_a_worker_listens_again_after_an_outage",),
    ),
    Mutant(
        failure_mode="F59",
        what="a server that took over without the last commits is not told what was sent",
        edits=(
            Edit(
                "jtd_worker/queue.py",
                "results = [result for _, result in self._settled]",
                "results: list[dict[str, Json]] = []",
            ),
        ),
        tests=(
            "tests/test_outage.py"
            "::test_a_server_that_lost_its_last_commits_learns_from_the_workers_what_was_sent",
        ),
    ),
    Mutant(
        failure_mode="F15",
        what="a tick does not say where messages wait",
        edits=(Edit("sql/functions/tick_v1.sql", "to_jsonb(jtd.readable_queues(p_queues))", "'[]'::jsonb"),),
        tests=(
            "tests/test_tick.py::test_a_tick_names_the_callers_queues_that_can_be_read",
            NOT_NOTIFIED,
        ),
    ),
    Mutant(
        failure_mode="F15",
        what="a worker reads its queue only when it is notified",
        edits=(Edit("jtd_worker/scheduler.py", "if name in tick.wake or (", "if ("),),
        tests=(NOT_NOTIFIED,),
    ),
)
