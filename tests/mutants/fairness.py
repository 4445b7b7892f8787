"""What a large tenant, or a long list, does to the others: they wait, and ticks fall behind."""

from tests.mutants.mutant import Edit, Mutant

ADMIT = "sql/functions/admit.sql"
WINDOW = "sql/functions/window_closed.sql"
ROOM = "sql/functions/queue_room.sql"

MUTANTS = (
    Mutant(
        failure_mode="F21",
        what="a tick that leaves work over is followed by the next a second later",
        edits=(
            Edit("sql/functions/tick_v1.sql", "'more', greatest(", "'more', false, 'was_more', greatest("),
        ),
        tests=(
            "tests/test_tick.py::test_more_due_jobs_than_a_tick_takes_are_drained_by_the_next",
            "tests/test_fairness.py"
            "::test_while_jobs_wait_for_room_and_messages_are_read_the_next_tick_comes_soon",
        ),
    ),
    Mutant(
        failure_mode="F21",
        what="a tick takes one round, whatever that leaves of the room",
        edits=(Edit(ADMIT, "IN 1 .. rounds LOOP", "IN 1 .. 1 LOOP"),),
        tests=(
            "tests/test_tick.py::test_what_small_tenants_leave_goes_to_the_large_one_at_once",
            "tests/test_fairness.py::test_tenants_whose_jobs_have_ended_keep_nobody_waiting",
        ),
    ),
    Mutant(
        failure_mode="F25",
        what="what comes in many statements all goes straight to the queue",
        edits=(Edit(WINDOW, "q.closes_at <= coalesce(", "0 > coalesce("),),
        tests=(
            "tests/test_fairness.py::test_a_flood_of_statements_fills_the_queue_to_its_bound_even_where_nobody_ticks",
            "tests/test_fairness.py::test_between_two_ticks_producers_fill_a_queue_to_twice_its_target",
            "tests/test_fairness.py::test_of_a_campaign_no_more_than_the_target_goes_before_another_tenant[500]",
        ),
    ),
    Mutant(
        failure_mode="F25",
        what="new jobs of a tenant overtake his older ones",
        edits=(Edit(WINDOW, "AND w.tenant_id = p_tenant", "AND false"),),
        tests=(
            "tests/test_tick.py::test_a_window_is_closed_while_older_jobs_of_the_tenant_wait_and_opens_after",
        ),
    ),
    Mutant(
        failure_mode="F25",
        what="ten seconds of a campaign are in the queue before another tenant",
        edits=(Edit(ROOM, "WHEN 'urgent' THEN 0.3 ELSE 0.6 END", "WHEN 'urgent' THEN 10 ELSE 10 END"),),
        tests=("tests/test_tick.py::test_the_target_follows_what_was_read",),
    ),
    Mutant(
        failure_mode="F25",
        what="each round begins with the same tenants",
        edits=(
            Edit(
                "sql/functions/admit_queue.sql",
                "SET next_tenant = coalesce(tenants[p_room + 1], (",
                "SET next_tenant = coalesce(nobody, (",
            ),
        ),
        tests=(
            "tests/test_tick.py::test_with_more_tenants_than_room_the_round_goes_on_where_it_ended",
            "tests/test_fairness.py::test_ten_thousand_tenants_take_turns_and_each_has_one",
        ),
    ),
    Mutant(
        failure_mode="F25",
        what="messages that are being sent keep others from the queue",
        edits=(Edit(ROOM, "count(*) FILTER (WHERE m.vt <= clock_timestamp())", "count(*)"),),
        tests=("tests/test_fairness.py::test_messages_that_are_being_sent_take_no_room",),
    ),
    Mutant(
        failure_mode="F25",
        what="a tenant whose transaction was slow to commit is forgotten",
        edits=(
            Edit(
                "sql/functions/close_windows.sql",
                "CASE WHEN came = most THEN least(last, complete) ELSE complete END",
                "last + 1",
            ),
        ),
        tests=("tests/test_fairness.py::test_a_tenant_whose_transaction_is_slow_to_commit_is_found",),
    ),
)
