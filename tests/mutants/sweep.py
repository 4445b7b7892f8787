"""What becomes of jobs whose queue, list or past is another: never found again, or sent again."""

from tests.mutants.mutant import Edit, Mutant

LOST = "sql/functions/lost.sql"

MUTANTS = (
    Mutant(
        failure_mode="F15",
        what="jobs of producers whose triggers did not run are never found",
        edits=(Edit(LOST, "WHEN j.status_code = 'created' OR", "WHEN"),),
        tests=("tests/test_sweep.py::test_jobs_that_were_inserted_without_triggers_are_adopted",),
    ),
    Mutant(
        failure_mode="F16",
        what="a job whose message was purged is not told from one that has it",
        edits=(
            Edit(
                "sql/functions/whereabouts.sql",
                "CASE WHEN m.jtd_id IS NOT NULL THEN 'queued' ELSE 'lost' END",
                "'queued'",
            ),
        ),
        tests=("tests/test_operate.py::test_conservation_counts_every_job_once_and_names_the_lost",),
    ),
    Mutant(
        failure_mode="F16",
        what="a queued job that has no message is not found",
        edits=(Edit(LOST, "WHEN j.status_code = 'queued' THEN m.jtd_id IS NULL", "WHEN false THEN false"),),
        tests=(
            "tests/test_sweep.py::test_queued_jobs_of_a_purged_queue_get_new_messages",
            "tests/test_sweep.py::test_rebuild_queues_makes_everything_from_the_jobs_alone",
        ),
    ),
    Mutant(
        failure_mode="F16",
        what="a job that waits on no list is not found",
        edits=(Edit(LOST, "THEN (w.jtd_id IS NULL) = (r.jtd_id IS NULL)", "THEN false"),),
        tests=(
            "tests/test_sweep.py::test_waiting_jobs_whose_list_was_emptied_are_listed_again",
            "tests/test_sweep.py::test_rebuild_queues_makes_everything_from_the_jobs_alone",
        ),
    ),
    Mutant(
        failure_mode="F16",
        what="nobody looks for lost jobs unless asked to",
        edits=(Edit("sql/functions/tick_v1.sql", "found := jtd.sweep(batch);", ""),),
        tests=("tests/test_failure_modes.py::test_a_worker_finds_the_jobs_of_a_purged_queue",),
    ),
    Mutant(
        failure_mode="F16",
        what="a purge is not noticed before the next sweep",
        edits=(
            Edit(
                "sql/functions/begin_sweep.sql",
                "CASE WHEN messages < jobs THEN sweep.differed + 1 ELSE 0 END",
                "0",
            ),
        ),
        tests=("tests/test_sweep.py::test_fewer_messages_than_jobs_make_a_sweep_due_at_the_third_look",),
    ),
    Mutant(
        failure_mode="F16",
        what="a restored backup sends what was sent since",
        edits=(Edit("sql/functions/is_adopted.sql", "SELECT EXISTS (", "SELECT true OR EXISTS ("),),
        tests=(
            "tests/test_instance.py::test_nothing_is_claimed_on_a_copy",
            "tests/test_instance.py::test_nothing_is_handed_off_on_a_copy",
        ),
    ),
    Mutant(
        failure_mode="F56",
        what="rows of a restore are enqueued anew",
        edits=(
            Edit(
                "sql/functions/enqueue_row.sql",
                "IF NEW.status_code <> 'created' OR",
                "IF false AND",
            ),
        ),
        tests=(
            "tests/test_enqueue.py::test_a_state_given_by_the_producer_is_an_import_even_when_dated_now",
            "tests/test_enqueue.py::test_a_restore_keeps_every_row_as_it_was_and_sends_nothing",
        ),
    ),
    Mutant(
        failure_mode="F56",
        what="a message is sent for each row that is stored as queued",
        edits=(Edit("sql/functions/place_inserted.sql", " AND n.status_changed_at = now()", ""),),
        tests=(
            "tests/test_enqueue.py::test_a_state_given_by_the_producer_is_an_import_even_when_dated_now",
            "tests/test_enqueue.py::test_a_restore_keeps_every_row_as_it_was_and_sends_nothing",
        ),
    ),
    Mutant(
        failure_mode="F56",
        what="what was brought from elsewhere is taken for lost",
        edits=(Edit("sql/functions/mend.sql", "resting := jtd.imported(lost);", "resting := '{}';"),),
        tests=(
            "tests/test_sweep.py::test_imported_jobs_rest_and_are_not_lost",
            "tests/test_sweep.py::test_jobs_restored_without_triggers_rest_too",
        ),
    ),
)
