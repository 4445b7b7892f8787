"""What providers report: lost, taken twice, taken back, or believed where it proves nothing."""

from tests.mutants.mutant import Edit, Mutant

JUDGE = "sql/functions/judge_receipts.sql"
SETTLE = "sql/functions/settle_receipts.sql"
STORE = "sql/functions/store_receipts.sql"
APPLY = "sql/functions/apply_receipts_v1.sql"
TESTS = "tests/test_receipts.py::"

MUTANTS = (
    Mutant(
        failure_mode="F46",
        what="a receipt is not looked at again although a transaction was saving the id meanwhile",
        edits=(Edit(APPLY, "WHERE u.id <> ALL (looked_at_before);", "WHERE false;"),),
        tests=(TESTS + "test_an_id_that_is_being_saved_is_found_when_it_is",),
    ),
    Mutant(
        failure_mode="F46",
        what="the end of an attempt does not wake the receipts that waited for it",
        edits=(Edit("sql/functions/sent_updated.sql", "PERFORM jtd.wake_receipts('{}', ids);", "NULL;"),),
        tests=(TESTS + "test_a_receipt_that_comes_before_the_send_returned_waits_for_it[True]",),
    ),
    Mutant(
        failure_mode="F46",
        what="a provider's id that is saved does not wake the receipts that waited for it",
        edits=(
            Edit("sql/functions/save_sent_ids.sql", "PERFORM jtd.wake_receipts(p_message_keys, '{}');", ""),
        ),
        tests=(TESTS + "test_a_receipt_that_comes_before_the_send_returned_waits_for_it[False]",),
    ),
    Mutant(
        failure_mode="F46",
        what="a receipt of a job that somebody holds is dropped",
        edits=(
            Edit(
                APPLY,
                "FROM unnest(done.locked) AS u (id)\n    UNION",
                "FROM unnest('{}'::bigint[]) AS u (id)\n    UNION",
            ),
        ),
        tests=(TESTS + "test_a_receipt_of_a_job_that_somebody_holds_is_applied_when_it_is_free",),
    ),
    Mutant(
        failure_mode="F46",
        what="receipts of held jobs stay at the head of the list",
        edits=(Edit(APPLY, "::bigint + 10000, u.id", "::bigint - 10, u.id"),),
        tests=(TESTS + "test_receipts_of_jobs_that_somebody_holds_delay_no_other",),
    ),
    Mutant(
        failure_mode="F46",
        what="a copy of an event that came in the same call is stored as another",
        edits=(
            Edit(STORE, "DISTINCT ON (x.event_key) x.*", "x.*"),
            Edit(STORE, "t.event_key, t.kind,", "t.event_key || t.i, t.kind,"),
        ),
        tests=(TESTS + "test_an_event_is_stored_once_for_its_channel_and_provider",),
    ),
    Mutant(
        failure_mode="F46",
        what="a failure that comes late takes a delivery back",
        edits=(Edit(JUDGE, "WHEN g.status = 'sent' OR (", "WHEN g.status IN ('sent', 'delivered') OR ("),),
        tests=(TESTS + "test_a_receipt_that_says_nothing_new_is_ignored_with_the_reason",),
    ),
    Mutant(
        failure_mode="F46",
        what="a receipt moves a job that is being sent",
        edits=(
            Edit(
                JUDGE,
                "WHEN NOT g.is_message OR g.status = 'executing' THEN NULL",
                "WHEN NOT g.is_message THEN NULL",
            ),
            Edit(
                JUDGE,
                "WHEN g.status = 'pending' OR g.is_held THEN ARRAY['sent', g.kind]",
                "WHEN g.status IN ('pending', 'executing') OR g.is_held THEN ARRAY['sent', g.kind]",
            ),
            Edit(
                JUDGE,
                "WHEN d.status = 'executing' AND d.is_message THEN 'parked'",
                "WHEN false THEN 'parked'",
            ),
        ),
        tests=(TESTS + "test_a_receipt_that_comes_before_the_send_returned_waits_for_it[True]",),
    ),
    Mutant(
        failure_mode="F46",
        what="an earlier copy that failed ends a job that was sent since",
        edits=(Edit(JUDGE, "AND NOT g.is_other_copy THEN", "THEN"),),
        tests=(TESTS + "test_an_earlier_copy_that_came_to_nothing_does_not_end_the_job",),
    ),
    Mutant(
        failure_mode="F46",
        what="one job that takes no change stops the receipts of the others",
        edits=(Edit(SETTLE, "IF cardinality(p_ids) > 1 THEN", "IF false THEN"),),
        tests=(TESTS + "test_a_job_that_takes_no_change_stops_no_other",),
    ),
    Mutant(
        failure_mode="F46",
        what="the actor stays the webhook for the rest of the transaction",
        edits=(
            Edit(APPLY, "SET jtd.actor = 'webhook'\n", ""),
            Edit(
                APPLY,
                "    IF taken IS NULL THEN",
                "    PERFORM set_config('jtd.actor', 'webhook', true);\n    IF taken IS NULL THEN",
            ),
        ),
        tests=(TESTS + "test_what_the_same_transaction_does_next_is_not_the_webhooks",),
    ),
    Mutant(
        failure_mode="F46",
        what="the list of receipts begins behind what a running transaction brings",
        edits=(
            Edit(
                "sql/functions/raise_receipts_floor.sql",
                "pg_snapshot_xmin(pg_current_snapshot())",
                "pg_snapshot_xmax(pg_current_snapshot())",
            ),
            Edit(
                "sql/functions/receipts_floor.sql",
                "pg_snapshot_xmin(pg_current_snapshot())",
                "pg_snapshot_xmax(pg_current_snapshot())",
            ),
        ),
        tests=(TESTS + "test_the_list_begins_no_later_than_what_a_running_transaction_brings",),
    ),
    Mutant(
        failure_mode="F5",
        what="a job that waits for a receipt is queued when its time is over",
        edits=(Edit("sql/functions/release_due.sql", "IF unreported <> '{}' THEN", "IF false THEN"),),
        tests=(TESTS + "test_a_job_waits_for_a_receipt_and_is_held_without_one",),
    ),
    Mutant(
        failure_mode="F5",
        what="a bare message queues a job that waits for a receipt",
        edits=(Edit("sql/functions/hasten.sql", "AND j.transition_note IS DISTINCT FROM 'receipt'", ""),),
        tests=(TESTS + "test_nothing_sends_a_job_that_waits_for_a_receipt",),
    ),
    Mutant(
        failure_mode="F5",
        what="the sweep makes a job ready that waits for a receipt",
        edits=(
            Edit(
                "sql/functions/place.sql",
                "j.status_code = 'scheduled' OR (j.transition_note = 'receipt') IS TRUE AS",
                "j.status_code = 'scheduled' AS",
            ),
        ),
        tests=(TESTS + "test_nothing_sends_a_job_that_waits_for_a_receipt",),
    ),
)
