"""Messages to one recipient within a tenant's window become one, and what it comes to they come to."""

from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.daemon import eventually, running
from tests.jobs import OTHER_TENANT, TENANT, USER, history, insert_jtd, listed, one, places, row
from tests.worker_calls import Worker, no_triggers, result

SOURCE = "payment_received"


@pytest.fixture
def worker(db: psycopg.Connection) -> Worker:
    return Worker(db)


@pytest.fixture(autouse=True)
def window(db: psycopg.Connection) -> None:
    """Let the tenant have a window of a minute, and a template that reads items."""
    db.execute(
        "INSERT INTO n_jtd_tenant_source_config (tenant_id, source_type_code, batch_window_seconds)"
        " VALUES (%s, %s, 60)",
        [TENANT, SOURCE],
    )
    db.execute(
        "INSERT INTO n_jtd_templates (tenant_id, template_key, name, channel_code, source_type_code, subject,"
        " content) VALUES (%s, 'digest', 'Digest', 'email', %s, 'Your payments',"
        " '{%% for item in items %%}[{{ item.amount }}]{%% endfor %%}')",
        [TENANT, SOURCE],
    )


def insert(db: psycopg.Connection, amount: int, **columns: Any) -> UUID:
    given = {"source_type_code": SOURCE, "template_key": "digest", "payload": {"amount": amount}, **columns}
    return insert_jtd(db, **given)


def window_is_over(db: psycopg.Connection, *jobs: UUID) -> None:
    """Let time pass for these jobs alone."""
    with no_triggers(db):
        db.execute("UPDATE n_jtd SET next_retry_at = now() WHERE id = ANY (%s)", [list(jobs)])
    due(db, *jobs)


def due(db: psycopg.Connection, *jobs: UUID) -> None:
    db.execute("UPDATE jtd.waiting SET due = now() WHERE jtd_id = ANY (%s)", [list(jobs)])


def batch(db: psycopg.Connection, worker: Worker, number: int = 3) -> list[UUID]:
    """Close a window over `number` jobs; the first carries the others."""
    jobs = [insert(db, amount) for amount in range(1, number + 1)]
    due(db, jobs[0])
    assert worker.claim() == []
    worker.tick()
    return jobs


def statuses(db: psycopg.Connection, jobs: list[UUID]) -> list[str]:
    return [row(db, jtd_id)["status_code"] for jtd_id in jobs]


def test_what_comes_within_the_window_becomes_one_message(db: psycopg.Connection, worker: Worker) -> None:
    jobs = batch(db, worker)
    carrier = worker.claim_one()
    assert carrier.id == jobs[0]
    assert carrier.template_variables == {"items": [{"amount": 1}, {"amount": 2}, {"amount": 3}]}
    assert statuses(db, jobs) == ["executing", "pending", "pending"]
    assert places(db) == {"in_flight": 1, "waiting": 2}
    worker.settle(result(carrier, "sent", provider="smtp", provider_message_id="m1"))
    assert statuses(db, jobs) == ["sent"] * 3
    assert [row(db, jtd_id)["carrier_id"] for jtd_id in jobs] == [jobs[0]] * 3
    assert [row(db, jtd_id)["provider_code"] for jtd_id in jobs] == ["smtp"] * 3
    assert all(step.valid for jtd_id in jobs for step in history(db, jtd_id))
    assert places(db) == {"sent": 3}
    db.execute("UPDATE n_jtd SET status_code = 'delivered' WHERE id = %s", [jobs[0]])
    assert statuses(db, jobs) == ["delivered"] * 3, "a receipt counts for all of them"


def test_before_the_window_is_over_nothing_goes(db: psycopg.Connection, worker: Worker) -> None:
    jtd_id = insert(db, 1)
    worker.tick()
    assert worker.claim() == []
    waiting = listed(db, "waiting", jtd_id)
    assert waiting is not None
    assert waiting["reason"] == "batch"
    assert one(db, "SELECT due = j.created_at + interval '60 s' FROM jtd.waiting, n_jtd AS j")
    assert "waits for others to the same recipient, to go with them (batch) until" in one(
        db, "SELECT sentence FROM jtd.explain(%s)", jtd_id
    )


def test_a_single_message_goes_alone_with_its_items(db: psycopg.Connection, worker: Worker) -> None:
    [jtd_id] = batch(db, worker, 1)
    job = worker.claim_one()
    assert (job.id, job.template_variables) == (jtd_id, {"items": [{"amount": 1}]})


@pytest.mark.parametrize(
    "other",
    [
        {"recipient_contact": "jane@example.com"},
        {"tenant_id": OTHER_TENANT},
        {"template_key": "other"},
        {"priority": 9},
        {"is_live": False},
        {"locale": "de"},
    ],
)
def test_only_what_belongs_together_becomes_one(
    db: psycopg.Connection, worker: Worker, other: dict[str, Any]
) -> None:
    first, apart, second = (
        insert(db, 1),
        insert(db, 2, **other),
        insert(db, 3, recipient_contact="JOHN@example.com"),
    )
    due(db, first)
    worker.tick()
    assert row(db, second)["carrier_id"] == first
    assert row(db, apart)["carrier_id"] is None


@pytest.mark.parametrize(
    ("columns", "batches"),
    [
        ({"source_type_code": "user_invite"}, False),
        ({"scheduled_at": "2999-01-01"}, False),
        ({"event_type_code": "document"}, False),
        ({"event_type_code": "reminder"}, True),
    ],
)
def test_what_does_not_batch_waits_for_nobody(
    db: psycopg.Connection, columns: dict[str, Any], batches: bool
) -> None:
    insert(db, 1, **columns)
    assert one(db, "SELECT count(*) FROM jtd.waiting WHERE batch_key IS NOT NULL") == batches


def test_reminders_batch_too(db: psycopg.Connection, worker: Worker) -> None:
    jobs = [insert(db, amount, event_type_code="reminder") for amount in (1, 2)]
    due(db, jobs[0])
    worker.tick()
    worker.settle(result(worker.claim_one(), "sent", provider="smtp"))
    assert statuses(db, jobs) == ["sent", "sent"]
    assert all(step.valid for jtd_id in jobs for step in history(db, jtd_id))


def test_a_template_that_does_not_read_items_gets_one_message_each(
    db: psycopg.Connection, worker: Worker
) -> None:
    db.execute("UPDATE n_jtd_templates SET content = '{{ amount }}' WHERE template_key = 'digest'")
    jobs = batch(db, worker)
    assert {job.id for job in worker.claim()} == set(jobs)


def test_a_large_batch_is_several_messages(db: psycopg.Connection, worker: Worker) -> None:
    jobs = batch(db, worker, 150)
    carriers = worker.claim()
    assert [len(job.template_variables["items"]) for job in carriers] == [100, 50]
    worker.settle(*(result(job, "sent", provider="smtp") for job in carriers))
    assert set(statuses(db, jobs)) == {"sent"}


def test_members_fail_with_their_carrier_and_are_sent_with_its_retry(
    db: psycopg.Connection, worker: Worker
) -> None:
    jobs = batch(db, worker)
    worker.settle(result(worker.claim_one(), "retry", code="busy", reason="busy"))
    assert statuses(db, jobs) == ["pending"] * 3, "it has another attempt"
    assert row(db, jobs[1])["retry_count"] == 0
    db.execute("UPDATE n_jtd SET next_retry_at = now() WHERE id = %s", [jobs[0]])
    worker.tick()
    worker.settle(result(worker.claim_one(), "failed", code="smtp_550", reason="no"))
    assert statuses(db, jobs) == ["failed"] * 3
    assert row(db, jobs[2])["error_code"] == "carrier_failed"
    assert db.execute("SELECT jtd_id FROM jtd.attention").fetchall() == [(jobs[0],)]
    assert one(db, "SELECT jtd.retry(%s)", jobs[0]) == "pending"
    worker.tick()
    again = worker.claim_one()
    assert len(again.template_variables["items"]) == 3
    worker.settle(result(again, "sent", provider="smtp"))
    assert statuses(db, jobs) == ["sent"] * 3
    assert row(db, jobs[1])["error_code"] is None
    assert places(db) == {"sent": 3}


def test_a_cancelled_carrier_takes_no_other_with_it(db: psycopg.Connection, worker: Worker) -> None:
    jobs = batch(db, worker)
    assert one(db, "SELECT jtd.cancel(%s)", jobs[0]) == "cancelled"
    worker.tick()
    claimed = worker.claim()
    assert [(job.id, job.template_variables["items"]) for job in claimed] == [
        (jobs[1], [{"amount": 2}]),
        (jobs[2], [{"amount": 3}]),
    ]


def test_a_cancelled_member_is_left_out(db: psycopg.Connection, worker: Worker) -> None:
    jobs = batch(db, worker)
    assert one(db, "SELECT jtd.cancel(%s)", jobs[1]) == "cancelled"
    carrier = worker.claim_one()
    assert carrier.template_variables["items"] == [{"amount": 1}, {"amount": 3}]
    worker.settle(result(carrier, "sent", provider="smtp"))
    assert statuses(db, jobs) == ["sent", "cancelled", "sent"]


def test_a_carrier_that_is_deleted_leaves_none_behind(db: psycopg.Connection, worker: Worker) -> None:
    jobs = batch(db, worker)
    db.execute("DELETE FROM n_jtd WHERE id = %s", [jobs[0]])
    due(db, *jobs[1:])
    worker.tick()
    assert {job.id for job in worker.claim()} == set(jobs[1:])


def test_a_member_that_somebody_holds_follows_later_and_delays_nobody(
    dsn: str, db: psycopg.Connection, worker: Worker
) -> None:
    jobs = batch(db, worker)
    carrier = worker.claim_one()
    with psycopg.connect(dsn) as user:
        user.execute("SELECT FROM n_jtd WHERE id = %s FOR UPDATE", [jobs[1]])
        worker.settle(result(carrier, "sent", provider="smtp"))
        assert statuses(db, jobs) == ["sent", "pending", "sent"]
    due(db, jobs[1])
    worker.tick()
    assert statuses(db, jobs) == ["sent"] * 3
    assert places(db) == {"sent": 3}


def test_a_job_that_somebody_holds_at_the_close_goes_by_itself(
    dsn: str, db: psycopg.Connection, worker: Worker
) -> None:
    jobs = [insert(db, amount) for amount in (1, 2, 3)]
    due(db, jobs[0])
    with psycopg.connect(dsn) as user:
        user.execute("SELECT FROM n_jtd WHERE id = %s FOR UPDATE", [jobs[1]])
        worker.tick()
    assert worker.claim_one().template_variables["items"] == [{"amount": 1}, {"amount": 3}]
    due(db, jobs[1])
    worker.tick()
    assert worker.claim_one().template_variables["items"] == [{"amount": 2}]


def test_a_member_that_is_retried_by_hand_goes_by_itself(db: psycopg.Connection, worker: Worker) -> None:
    jobs = batch(db, worker, 2)
    worker.settle(result(worker.claim_one(), "failed", code="smtp_550", reason="no"))
    assert one(db, "SELECT jtd.retry(%s)", jobs[1]) == "pending"
    worker.tick()
    job = worker.claim_one()
    assert (job.id, job.template_variables["items"]) == (jobs[1], [{"amount": 2}])
    worker.settle(result(job, "sent", provider="smtp"))
    assert statuses(db, jobs) == ["failed", "sent"]


@pytest.mark.parametrize(
    "odd",
    [
        {"payload": Jsonb([1])},
        {"template_variables": Jsonb("x")},
        {"payload": {"amount": 2, "attachments": []}},
        {"payload": {"amount": 2, "calendar": {"start": "2031-01-01T09:00:00Z", "duration": 30}}},
        {"payload": {"amount": "2" * 60_000}},
        {"metadata": {"template_id": "receipt"}},
        {"metadata": {"whatsapp_template": "receipt"}},
    ],
)
def test_what_cannot_be_an_item_goes_alone(
    db: psycopg.Connection, worker: Worker, odd: dict[str, Any]
) -> None:
    first, alone, second = insert(db, 1), insert(db, 2, **odd), insert(db, 3)
    due(db, first)
    worker.tick()
    claimed = {job.id: job.template_variables for job in worker.claim()}
    assert claimed.keys() == {first, alone}
    assert claimed[first] == {"items": [{"amount": 1}, {"amount": 3}]}
    assert row(db, second)["carrier_id"] == first


@pytest.mark.parametrize("column", ["provider_template_id", "dlt_entity_id", "dlt_template_id"])
def test_an_approved_template_goes_alone_since_its_parameters_are_of_one_job(
    db: psycopg.Connection, worker: Worker, column: str
) -> None:
    db.execute(f"UPDATE n_jtd_templates SET {column} = '7' WHERE template_key = 'digest'".encode())
    jobs = [insert(db, 1), insert(db, 2)]
    due(db, *jobs)
    worker.tick()
    assert {job.id: job.template_variables["items"] for job in worker.claim()} == {
        jobs[0]: [{"amount": 1}],
        jobs[1]: [{"amount": 2}],
    }


@pytest.mark.parametrize(
    ("content", "is_one"),
    [
        ("{% for item in items %}{{ item.amount }}{% endfor %}", True),
        ("{%- for i in items -%}{{ i.amount }}{%- endfor -%}", True),
        ("{{ items | length }} payments", True),
        ("You bought 3 items for {{ amount }}", False),
        ("{# items #}{{ amount }}", False),
        ("{{ order.items }}", False),
    ],
)
def test_only_a_template_that_reads_items_gets_them_together(
    db: psycopg.Connection, worker: Worker, content: str, is_one: bool
) -> None:
    db.execute("UPDATE n_jtd_templates SET content = %s WHERE template_key = 'digest'", [content])
    batch(db, worker)
    assert len(worker.claim()) == (1 if is_one else 3)


def test_a_template_that_changes_after_the_close_counts_for_later_messages(
    db: psycopg.Connection, worker: Worker
) -> None:
    jobs = batch(db, worker)
    before = row(db, jobs[0])["template_version"]
    db.execute("UPDATE n_jtd_templates SET content = '{{ amount }}' WHERE template_key = 'digest'")
    assert worker.claim_one().template_version == before


@pytest.mark.parametrize(
    "change",
    [
        "recipient_contact = 'jane@example.com'",
        """payload = '{"amount": 9}'""",
        "scheduled_at = now() + interval '3 days'",
        "priority = 10",
        "template_key = 'other'",
        "channel_code = 'sms'",
    ],
)
@pytest.mark.parametrize("moment", ["in the window", "carried", "carrier"])
def test_a_job_that_is_edited_while_it_waits_goes_by_itself(
    db: psycopg.Connection, worker: Worker, change: str, moment: str
) -> None:
    jobs = [insert(db, amount) for amount in (1, 2, 3)]
    edited = jobs[0] if moment == "carrier" else jobs[1]
    if moment != "in the window":
        due(db, jobs[0])
        worker.tick()
        assert row(db, jobs[1])["carrier_id"] == jobs[0]
    db.execute(f"UPDATE n_jtd SET {change} WHERE id = %s".encode(), [edited])
    due(db, jobs[0])
    worker.tick()
    for job in worker.claim() + worker.claim("jtd_email_urgent") + worker.claim("jtd_sms"):
        carries = row(db, job.id)["carries"] or [job.id]
        assert edited not in carries or carries == [edited]
    assert row(db, edited)["carrier_id"] == edited
    assert places(db)


def test_who_may_not_get_it_any_more_is_left_out(db: psycopg.Connection, worker: Worker) -> None:
    jobs = [insert(db, 1), insert(db, 2, expires_at="2999-01-01"), insert(db, 3, recipient_id=USER)]
    due(db, jobs[0])
    worker.tick()
    assert [row(db, jtd_id)["carrier_id"] for jtd_id in jobs] == [jobs[0]] * 3
    db.execute("UPDATE n_jtd SET expires_at = now() WHERE id = %s", [jobs[1]])
    db.execute("SELECT jtd.set_preference(%s, %s, NULL, NULL, false)", [TENANT, str(USER)])
    carrier = worker.claim_one()
    assert carrier.template_variables["items"] == [{"amount": 1}]
    worker.settle(result(carrier, "sent", provider="smtp"))
    due(db, *jobs[1:])
    worker.tick()
    assert worker.claim() == []
    assert statuses(db, jobs) == ["sent", "expired", "cancelled"]


def test_what_expires_in_its_window_waits_for_nobody(db: psycopg.Connection) -> None:
    soon = one(db, "SELECT now() + interval '30 s'")
    assert row(db, insert(db, 1, expires_at=soon))["status_code"] == "queued"


def test_what_a_worker_has_taken_in_a_carrier_is_not_cancelled(
    db: psycopg.Connection, worker: Worker
) -> None:
    jobs = batch(db, worker)
    job = worker.claim_one()
    assert one(db, "SELECT jtd.cancel(%s)", jobs[1]) == "too_late"
    worker.settle(result(job, "retry", code="busy", reason="busy"))
    assert one(db, "SELECT jtd.cancel(%s)", jobs[1]) == "too_late"


def test_a_member_of_unknown_outcome_is_not_sent_again_without_a_word(
    db: psycopg.Connection, worker: Worker
) -> None:
    jobs = batch(db, worker)
    job = worker.claim_one()
    assert one(db, "SELECT jtd.retry(%s)", jobs[1]) == "not_failed"
    worker.settle(result(job, "unknown", rule="hold", code="lost", reason="lost"))
    assert statuses(db, jobs) == ["failed"] * 3
    assert one(db, "SELECT jtd.retry(%s)", jobs[1]) == "unknown"
    assert one(db, "SELECT jtd.retry(%s, true)", jobs[1]) == "pending"
    assert "possible_duplicate" in [step.action for step in history(db, jobs[1])]
    assert one(db, "SELECT jtd.resolve(%s, 'sent')", jobs[0]) == "sent"
    assert statuses(db, jobs) == ["sent", "pending", "sent"]


def test_members_of_a_carrier_that_may_have_been_sent_and_expires_are_held(
    db: psycopg.Connection, worker: Worker
) -> None:
    jobs = batch(db, worker)
    worker.settle(result(worker.claim_one(), "unknown", rule="resend", code="lost", reason="lost"))
    assert statuses(db, jobs) == ["pending"] * 3
    db.execute("UPDATE n_jtd SET expires_at = now(), next_retry_at = now() WHERE id = %s", [jobs[0]])
    worker.tick()
    assert statuses(db, jobs) == ["expired", "failed", "failed"]
    assert row(db, jobs[1])["error_code"] == "outcome_unknown"


def test_members_of_a_carrier_deleted_after_its_hand_off_are_held(
    db: psycopg.Connection, worker: Worker
) -> None:
    jobs = batch(db, worker)
    job = worker.claim_one()
    assert worker.hand_off(job) == {job.id}
    db.execute("DELETE FROM n_jtd WHERE id = %s", [jobs[0]])
    assert [(row(db, j)["status_code"], row(db, j)["error_code"]) for j in jobs[1:]] == [
        ("failed", "outcome_unknown")
    ] * 2


def test_members_of_a_carrier_that_failed_and_is_cancelled_go_by_themselves(
    db: psycopg.Connection, worker: Worker
) -> None:
    jobs = batch(db, worker)
    worker.settle(result(worker.claim_one(), "failed", code="smtp_550", reason="no"))
    assert one(db, "SELECT jtd.cancel(%s)", jobs[0]) == "cancelled"
    worker.tick()
    assert {job.id for job in worker.claim()} == set(jobs[1:])


def test_more_than_one_close_takes_wait_for_the_next(db: psycopg.Connection, worker: Worker) -> None:
    jobs = [insert(db, 1)]
    db.execute(
        "INSERT INTO n_jtd (tenant_id, event_type_code, source_type_code, channel_code, recipient_contact,"
        " payload, template_key) SELECT tenant_id, event_type_code, source_type_code, channel_code,"
        " recipient_contact, payload, template_key FROM n_jtd, generate_series(1, 1499)"
    )
    db.execute("UPDATE jtd.waiting SET due = now()")
    worker.tick()
    worker.tick()
    assert len(jobs) + 1499 == sum(len(job.template_variables["items"]) for job in worker.claim(limit=500))


def test_a_member_that_takes_no_change_keeps_no_result_back(db: psycopg.Connection, worker: Worker) -> None:
    jobs = batch(db, worker)
    job = worker.claim_one()
    db.execute(
        f"ALTER TABLE n_jtd ADD CHECK (id <> '{jobs[1]}' OR status_code = 'pending') NOT VALID".encode()
    )
    assert worker.settle(result(job, "sent", provider="smtp")) == ["applied"]
    assert statuses(db, jobs)[0] == "sent"


def refuse_unless(db: psycopg.Connection, condition: str, *jobs: UUID) -> None:
    """Let jobs take no change after which `condition` is not true."""
    for jtd_id in jobs:
        db.execute(f"ALTER TABLE n_jtd ADD CHECK (id <> '{jtd_id}' OR {condition}) NOT VALID".encode())


def test_of_jobs_of_which_one_takes_no_carrier_each_goes_by_itself_with_its_items(
    db: psycopg.Connection, worker: Worker
) -> None:
    jobs = [insert(db, amount) for amount in (1, 2, 3)]
    refuse_unless(db, "carrier_id IS NULL", jobs[1])
    window_is_over(db, jobs[0])
    worker.tick()
    assert {job.id: job.template_variables for job in worker.claim()} == {
        jobs[0]: {"items": [{"amount": 1}]},
        jobs[2]: {"items": [{"amount": 3}]},
    }
    later = insert(db, 4)
    window_is_over(db, jobs[1])
    worker.tick()
    assert worker.claim_one().id == jobs[1], "nobody is tried with it again"
    assert row(db, later)["carrier_id"] is None
    assert places(db) == {"in_flight": 3, "waiting": 1}


def test_of_jobs_that_take_no_carrier_and_no_step_the_others_go_and_these_are_named(
    db: psycopg.Connection, worker: Worker
) -> None:
    jobs = [insert(db, amount) for amount in (1, 2, 3)]
    refuse_unless(db, "(carrier_id IS NULL AND status_code = 'pending')", *jobs[:2])
    window_is_over(db, *jobs)
    for _ in range(4):  # bisected a half at a time
        worker.tick()
    assert [job.id for job in worker.claim()] == [jobs[2]]
    for poison in jobs[:2]:
        assert "note" in [step.action for step in history(db, poison)]
        waiting = listed(db, "waiting", poison)
        assert waiting is not None
        assert waiting["reason"] == "refused"


def test_a_carrier_whose_company_takes_no_change_goes_alone_and_no_other_does(
    db: psycopg.Connection, worker: Worker
) -> None:
    jobs = [insert(db, 1), insert(db, 2, recipient_id=USER), insert(db, 3)]
    others = [insert(db, amount, recipient_contact="jane@example.com") for amount in (4, 5)]
    due(db, jobs[0], others[0])
    worker.tick()
    db.execute("SELECT jtd.set_preference(%s, %s, NULL, NULL, false)", [TENANT, str(USER)])
    refuse_unless(db, f"carrier_id = '{jobs[0]}'", jobs[1])  # it is left out, but cannot be let go
    carrier, other = sorted(worker.claim(), key=lambda job: job.id)
    assert carrier.template_variables == {"items": [{"amount": 1}]}
    assert other.template_variables == {"items": [{"amount": 4}, {"amount": 5}]}
    assert worker.settle(result(carrier, "sent", provider="smtp")) == ["applied"]
    due(db, *jobs[1:])
    worker.tick()
    worker.tick()
    assert worker.claim_one().template_variables == {"items": [{"amount": 3}]}
    assert listed(db, "waiting", jobs[1]), "it is tried again within the hour"
    assert places(db) == {"sent": 1, "in_flight": 2, "waiting": 2}


def test_a_member_says_with_whom_it_goes(db: psycopg.Connection, worker: Worker) -> None:
    jobs = batch(db, worker)
    sentence = one(db, "SELECT sentence FROM jtd.explain(%s)", jobs[1])
    assert sentence.endswith(
        f"waits for the message that carries it, too (batched); then it ends as that does: job {jobs[0]}."
    )
    worker.settle(result(worker.claim_one(), "sent", provider="smtp"))
    assert f"was sent with job {jobs[0]} by smtp" in one(db, "SELECT sentence FROM jtd.explain(%s)", jobs[1])
    assert "was sent by smtp" in one(db, "SELECT sentence FROM jtd.explain(%s)", jobs[0])


def test_a_producer_writes_no_carrier(db: psycopg.Connection) -> None:
    jtd_id = insert(db, 1, carrier_id=TENANT)
    assert row(db, jtd_id)["carrier_id"] is None


def test_a_daemon_sends_the_batch_as_one(dsn: str, db: psycopg.Connection, tmp_path: Path) -> None:
    db.execute("UPDATE n_jtd_tenant_source_config SET batch_window_seconds = 1")
    jobs = [insert(db, amount) for amount in (1, 2, 3)]
    with running(dsn, "email:outbox", tmp_path):
        eventually(lambda: statuses(db, jobs) == ["sent"] * 3)
    assert db.execute("SELECT jtd_id, content FROM n_jtd_outbox").fetchall() == [(jobs[0], "[1][2][3]")]
