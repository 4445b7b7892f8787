"""What becomes of an INSERT into n_jtd: the state it is stored in, where it is listed, what is refused."""

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.types.json import Jsonb

from jtd_worker.migrations import sql_directory
from tests.jobs import (
    DEFAULTS,
    TENANT,
    USER,
    Place,
    Step,
    history,
    insert_jtd,
    insert_many,
    listed,
    messages,
    one,
    places,
    row,
    wait_for_lock,
    whereabouts,
)
from tests.postgres import Databases, psql

CREATED = Step("created", None, "created", True)
PENDING = Step("status_changed", "created", "pending", True)
QUEUED = Step("status_changed", "pending", "queued", True)
TO_QUEUED = [CREATED, PENDING, QUEUED]
TO_FAILED = [CREATED, PENDING, Step("status_changed", "pending", "failed", True)]
IMPORTED = "imported"
TOMORROW = datetime.now(UTC) + timedelta(days=1)
LATER = TOMORROW + timedelta(days=1)

# the example of the founding document, with ids in place of its placeholders
SEED_EXAMPLE = """
    INSERT INTO n_jtd (
        tenant_id, event_type_code, channel_code, source_type_code, source_id, recipient_type, recipient_name,
        recipient_contact, payload, template_key, performed_by_type, performed_by_id, performed_by_name
    ) VALUES (
        '10000000-0000-0000-0000-000000000001', 'notification', 'email', 'user_invite',
        '30000000-0000-0000-0000-000000000001', 'user', 'John Doe', 'john@example.com',
        '{"inviter_name": "Jane Smith", "tenant_name": "Acme Corp", "invite_link": "https://..."}',
        'user_invite_email_v1', 'vani', '00000000-0000-0000-0000-000000000001', 'VaNi'
    ) RETURNING id"""
KEY_CONFLICT = "ON CONFLICT (tenant_id, idempotency_key) WHERE idempotency_key IS NOT NULL"
KEYED = """
    INSERT INTO n_jtd (
        tenant_id, event_type_code, source_type_code, recipient_contact, idempotency_key, payload)
    SELECT '10000000-0000-0000-0000-000000000001', 'notification', 'user_invite', 'a@b.c', k, '{"n": 2}'
    FROM unnest(%s::text[]) AS k """
MASTER_FILES = ("001_create_jtd_master_tables", "002_seed_jtd_master_data")


def jobs(db: psycopg.Connection) -> list[UUID]:
    return [found[0] for found in db.execute("SELECT id FROM n_jtd ORDER BY id").fetchall()]


def by_key(db: psycopg.Connection, key: str) -> UUID:
    return UUID(str(one(db, "SELECT id FROM n_jtd WHERE idempotency_key = %s", key)))


def enqueue(db: psycopg.Connection, **arguments: Any) -> tuple[UUID, bool]:
    """Call jtd.enqueue by named arguments, over a set that is enough for an e-mail."""
    given = {
        "tenant_id": TENANT,
        "event_type": "notification",
        "source_type": "user_invite",
        "recipient": "john@example.com",
        "payload": DEFAULTS["payload"],
        **arguments,
    }
    call = sql.SQL("SELECT id, created FROM jtd.enqueue({})").format(
        sql.SQL(", ").join(sql.SQL("{} => %s").format(sql.Identifier(name)) for name in given)
    )
    values = [Jsonb(v) if isinstance(v, dict) else v for v in given.values()]
    found = db.execute(call, values).fetchall()
    assert len(found) == 1
    return found[0][0], found[0][1]


# One job


def test_the_insert_of_the_founding_document_is_queued_by_valid_steps(db: psycopg.Connection) -> None:
    jtd_id = one(db, SEED_EXAMPLE)
    assert history(db, jtd_id) == TO_QUEUED
    assert messages(db, "jtd_email") == [jtd_id]
    assert whereabouts(db, jtd_id) == Place(status="queued", place="queued")
    job = row(db, jtd_id)
    assert (job["previous_status_code"], job["is_valid_transition"]) == ("pending", True)
    assert job["status_id"] == one(
        db, "SELECT id FROM n_jtd_statuses WHERE event_type_code = 'notification' AND code = 'queued'"
    )
    by = db.execute(
        "SELECT DISTINCT performed_by_type, performed_by_id, performed_by_name, tenant_id, channel_code,"
        " event_type_code FROM n_jtd_history"
    ).fetchall()
    assert by == [
        ("vani", UUID("00000000-0000-0000-0000-000000000001"), "VaNi", TENANT, "email", "notification")
    ]


def test_tables_and_master_data_alone_accept_audit_and_flag(empty_dsn: str) -> None:
    files = [sql_directory() / f"{name}.sql" for name in MASTER_FILES]
    ran = psql(empty_dsn, *files)
    assert ran.returncode == 0, ran.stderr
    with psycopg.connect(empty_dsn, autocommit=True) as db:
        jtd_id = one(db, SEED_EXAMPLE)
        assert history(db, jtd_id) == [CREATED]
        for status in ("pending", "queued", "executing", "sent", "created"):
            db.execute("UPDATE n_jtd SET status_code = %s WHERE id = %s", (status, jtd_id))
        assert history(db, jtd_id)[1:] == [
            PENDING,
            QUEUED,
            Step("status_changed", "queued", "executing", True),
            Step("status_changed", "executing", "sent", True),
            Step("status_changed", "sent", "created", False),
        ]
        job = row(db, jtd_id)
        assert job["status_code"] == "created"
        assert job["is_valid_transition"] is False
        assert job["previous_status_code"] == "sent"


def test_what_the_producer_leaves_out_comes_from_the_masters(db: psycopg.Connection) -> None:
    job = row(
        db, insert_jtd(db, event_type_code="reminder", source_type_code="payment_due", channel_code=None)
    )
    assert (job["priority"], job["max_retries"], job["channel_code"]) == (6, 3, "email")
    assert job["id"].version == 7
    given = row(db, insert_jtd(db, priority=1, max_retries=0))
    assert (given["priority"], given["max_retries"]) == (1, 0)


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ({}, ("system", None, None)),
        ({"performed_by_id": USER}, ("user", USER, None)),
        ({"performed_by_type": "user"}, ("user", None, "session user")),
        ({"performed_by_type": "user", "performed_by_name": "Jane"}, ("user", None, "Jane")),
        ({"performed_by_type": "webhook"}, ("webhook", None, None)),
    ],
)
def test_the_maker_of_a_job_is_named(
    db: psycopg.Connection, given: dict[str, Any], stored: tuple[str, UUID | None, str | None]
) -> None:
    login = one(db, "SELECT session_user::text")
    job = row(db, insert_jtd(db, **given))
    expected = (*stored[:2], login if stored[2] == "session user" else stored[2])
    assert (job["performed_by_type"], job["performed_by_id"], job["performed_by_name"]) == expected
    audited = db.execute("SELECT performed_by_type, performed_by_name FROM n_jtd_history").fetchall()
    assert set(audited) == {(expected[0], expected[2] or (None if given.get("performed_by_id") else login))}


@pytest.mark.parametrize(
    ("event", "source", "channel"),
    [
        ("task", "manual", None),
        ("task", "manual", "inapp"),
        ("appointment", "appointment_created", "email"),
        ("service_visit", "service_scheduled", "sms"),
    ],
)
def test_work_stays_created_and_is_never_queued(
    db: psycopg.Connection, event: str, source: str, channel: str | None
) -> None:
    jtd_id = insert_jtd(
        db, event_type_code=event, source_type_code=source, channel_code=channel, recipient_contact=None
    )
    assert history(db, jtd_id) == [CREATED]
    assert whereabouts(db, jtd_id) == Place(status="created", place="work")
    assert one(db, "SELECT count(*) FROM jtd.queue_messages()") == 0


@pytest.mark.parametrize(
    ("event", "source", "status"),
    [("reminder", "payment_due", "scheduled"), ("notification", "user_invite", "pending")],
)
def test_a_job_for_later_waits_for_its_time(
    db: psycopg.Connection, event: str, source: str, status: str
) -> None:
    jtd_id = insert_jtd(db, event_type_code=event, source_type_code=source, scheduled_at=TOMORROW)
    assert history(db, jtd_id) == [CREATED, Step("status_changed", "created", status, True)]
    assert whereabouts(db, jtd_id) == Place(status=status, place="waiting")
    waiting = listed(db, "waiting", jtd_id)
    assert waiting is not None
    assert (waiting["due"], waiting["reason"], waiting["channel_code"]) == (TOMORROW, "scheduled", "email")
    assert messages(db, "jtd_email") == []


def test_a_time_in_the_past_and_minus_infinity_are_due(db: psycopg.Connection) -> None:
    for due in ("yesterday", "-infinity"):
        assert whereabouts(db, insert_jtd(db, scheduled_at=due)).place == "queued"


def test_a_job_that_would_expire_before_its_time_is_looked_at_when_it_expires(db: psycopg.Connection) -> None:
    jtd_id = insert_jtd(db, scheduled_at=LATER, expires_at=TOMORROW)
    waiting = listed(db, "waiting", jtd_id)
    assert waiting is not None
    assert waiting["due"] == TOMORROW


def test_a_job_without_end_and_times_that_no_worker_can_read(db: psycopg.Connection) -> None:
    assert row(db, insert_jtd(db, expires_at="infinity"))["expires_at"] is None
    for times in (
        {"expires_at": "10000-01-01"},
        {"expires_at": "-infinity"},
        {"created_at": "infinity"},
        {"created_at": "0044-03-15 BC"},
    ):
        with pytest.raises(psycopg.errors.CheckViolation, match="n_jtd_times_check"):
            insert_jtd(db, **times)


def test_an_urgent_job_takes_the_urgent_lane(db: psycopg.Connection) -> None:
    urgent = insert_jtd(db, priority=9)
    db.execute("UPDATE n_jtd_source_types SET is_urgent = true WHERE code = 'user_created'")
    by_source = insert_jtd(db, source_type_code="user_created", priority=1)
    assert messages(db, "jtd_email_urgent") == [urgent, by_source]
    assert messages(db, "jtd_email") == []


def test_only_a_sleeping_worker_is_notified(db: psycopg.Connection, dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as listener:
        listener.execute("LISTEN jtd_wake")
        insert_jtd(db)
        db.execute("INSERT INTO jtd.sleepers (queue_name, worker_id) VALUES ('jtd_email', %s)", (uuid4(),))
        insert_jtd(db)
        insert_jtd(db, channel_code="inapp", recipient_id=USER)
        db.execute("NOTIFY jtd_wake, 'the end'")
        heard = [notify.payload for notify in listener.notifies(timeout=10, stop_after=2)]
    assert heard == ["jtd_email", "the end"]


# Recipients


@pytest.mark.parametrize(
    ("channel", "given", "stored"),
    [
        ("email", {"recipient_contact": "\u00a0\t john@example.com \r\n"}, "john@example.com"),
        ("email", {"recipient_contact": "\ufeffjohn@example.com\u200b"}, "john@example.com"),
        ("email", {"payload": {"recipient_data": {"email": "a@b.c\u00a0"}}}, "a@b.c"),
        ("sms", {"recipient_contact": "\u202a+91 98765 43210\u202c"}, "+91 98765 43210"),
        ("sms", {"payload": {"recipient_data": {"mobile": "+919876543210"}}}, "+919876543210"),
        (
            "sms",
            {"payload": {"recipient_data": {"mobile": "9876543210", "country_code": "+91"}}},
            "+919876543210",
        ),
        ("sms", {"payload": {"recipient_data": {"mobile": 9876543210, "country_code": 91}}}, "+919876543210"),
        (
            "sms",
            {"payload": {"recipient_data": {"mobile": "+14155550100", "country_code": "1"}}},
            "+14155550100",
        ),
        ("sms", {"payload": {"recipient_data": {"mobile": "9876543210", "country_code": ""}}}, "9876543210"),
        ("inapp", {"payload": {"recipient_data": {"user_id": str(USER)}}}, None),
        ("inapp", {"recipient_id": USER}, None),
        ("inapp", {"recipient_contact": str(USER)}, str(USER)),
        ("push", {"recipient_id": USER, "recipient_contact": "john@example.com"}, "john@example.com"),
    ],
)
def test_a_recipient_is_found_wherever_producers_put_it(
    db: psycopg.Connection, channel: str, given: dict[str, Any], stored: str | None
) -> None:
    jtd_id = insert_jtd(db, channel_code=channel, **{"recipient_contact": None, **given})
    assert whereabouts(db, jtd_id).place == "queued"
    assert row(db, jtd_id)["recipient_contact"] == stored


@pytest.mark.parametrize(
    ("channel", "given", "wrong"),
    [
        ("email", {}, "missing"),
        ("email", {"recipient_contact": " \u200b\u00a0"}, "missing"),
        ("email", {"recipient_contact": "john"}, "not usable"),
        ("email", {"recipient_contact": "a@b.c, d@e.f"}, "not usable"),
        ("email", {"recipient_contact": "a@b.c\nBcc: d@e.f"}, "not usable"),
        ("email", {"payload": {"recipient_data": {"email": ["a@b.c"]}}}, "missing"),
        ("email", {"payload": {"recipient_data": {"email": "a@" + "b" * 600 + ".c"}}}, "not usable"),
        ("email", {"payload": {"recipient_data": "a@b.c"}}, "missing"),
        ("email", {"payload": Jsonb(["recipient_data"])}, "missing"),
        ("email", {"payload": Jsonb("recipient_data")}, "missing"),
        ("email", {"payload": Jsonb(None)}, "missing"),
        ("sms", {"recipient_contact": "a@b.c"}, "not usable"),
        ("sms", {"payload": {"recipient_data": {"mobile": "", "country_code": "91"}}}, "missing"),
        ("sms", {"payload": {"recipient_data": {"mobile": None, "country_code": "91"}}}, "missing"),
        ("sms", {"payload": {"recipient_data": {"mobile": {"a": 1}, "country_code": "91"}}}, "not usable"),
        ("inapp", {"recipient_contact": "john@example.com"}, "not usable"),
        ("inapp", {"payload": {"recipient_data": {"user_id": 7}}}, "missing"),
    ],
)
def test_a_bad_recipient_is_stored_as_failed_with_the_reason(
    db: psycopg.Connection, channel: str, given: dict[str, Any], wrong: str
) -> None:
    jtd_id = insert_jtd(db, channel_code=channel, **{"recipient_contact": None, **given})
    assert history(db, jtd_id) == TO_FAILED
    job = row(db, jtd_id)
    assert (job["error_code"], job["error_message"]) == (
        "invalid_recipient",
        f"the recipient is {wrong} for channel {channel}",
    )
    assert job["completed_at"] is not None
    assert whereabouts(db, jtd_id) == Place(status="failed", place="final")
    assert one(db, "SELECT reason FROM n_jtd_history ORDER BY id DESC LIMIT 1") == "invalid_recipient"
    assert one(db, "SELECT count(*) FROM jtd.queue_messages()") == 0


def test_a_strict_producer_has_a_bad_recipient_refused(db: psycopg.Connection) -> None:
    db.execute("SET jtd.strict_recipients = on")
    with pytest.raises(psycopg.Error, match="the recipient is not usable for channel email") as caught:
        insert_jtd(db, recipient_contact="john")
    assert caught.value.sqlstate == "JT007"
    assert "payload.recipient_data.email" in str(caught.value.diag.message_hint)
    assert "john" not in str(caught.value)
    insert_jtd(db)
    insert_jtd(
        db, event_type_code="task", source_type_code="manual", channel_code=None, recipient_contact=None
    )


# Refusals


@pytest.mark.parametrize(
    ("given", "sqlstate", "message", "hint"),
    [
        (
            {"event_type_code": "newsletter"},
            "JT001",
            "event type 'newsletter' is not allowed",
            "notification, reminder,",
        ),
        ({"event_type_code": None}, "JT001", "event type is missing", "notification"),
        (
            {"channel_code": "fax"},
            "JT002",
            "channel 'fax' is not allowed",
            "email, sms, whatsapp, push, inapp.",
        ),
        ({"channel_code": ""}, "JT002", "channel '' is not allowed", "email"),
        ({"source_type_code": "nobody"}, "JT003", "source type 'nobody' is not allowed", "user_invite"),
        (
            {"event_type_code": "payment", "channel_code": "inapp"},
            "JT004",
            "channel of event type payment 'inapp' is not allowed",
            "email, sms, whatsapp.",
        ),
        ({"priority": 0}, "JT005", "priority '0' is not allowed", "1 to 10"),
        ({"priority": 11}, "JT005", "priority '11' is not allowed", "1 to 10"),
        (
            {"event_type_code": "payment", "source_type_code": "manual", "channel_code": None},
            "JT008",
            "channel is missing",
            "email, sms, whatsapp.",
        ),
        (
            {"performed_by_type": "robot"},
            "JT009",
            "performed_by_type 'robot'",
            "user, vani, system, webhook.",
        ),
    ],
)
def test_a_structural_mistake_is_refused_and_says_what_is_allowed(
    db: psycopg.Connection, given: dict[str, Any], sqlstate: str, message: str, hint: str
) -> None:
    with pytest.raises(psycopg.Error) as caught:
        insert_jtd(db, **given)
    assert caught.value.sqlstate == sqlstate
    assert message in str(caught.value.diag.message_primary)
    assert hint in str(caught.value.diag.message_hint)
    assert jobs(db) == []
    assert one(db, "SELECT count(*) FROM n_jtd_history") == 0


def test_what_was_switched_off_is_not_allowed(db: psycopg.Connection) -> None:
    for table, code, sqlstate in (
        ("n_jtd_source_types", "user_invite", "JT003"),
        ("n_jtd_channels", "email", "JT002"),
        ("n_jtd_event_types", "notification", "JT001"),
    ):
        db.execute(
            sql.SQL("UPDATE {} SET is_active = false WHERE code = %s").format(sql.Identifier(table)), (code,)
        )
        with pytest.raises(psycopg.Error) as caught:
            insert_jtd(db)
        assert caught.value.sqlstate == sqlstate
        db.execute(
            sql.SQL("UPDATE {} SET is_active = true WHERE code = %s").format(sql.Identifier(table)), (code,)
        )


def test_a_channel_that_is_switched_off_is_no_default(db: psycopg.Connection) -> None:
    db.execute("UPDATE n_jtd_channels SET is_active = false WHERE code = 'email'")
    job = row(db, insert_jtd(db, source_type_code="user_role_changed", channel_code=None, recipient_id=USER))
    assert job["channel_code"] == "inapp"


def test_a_priority_out_of_range_is_refused_in_an_update_too(db: psycopg.Connection) -> None:
    jtd_id = insert_jtd(db)
    for priority in (0, 11):
        with pytest.raises(psycopg.errors.CheckViolation, match="priority"):
            db.execute("UPDATE n_jtd SET priority = %s WHERE id = %s", (priority, jtd_id))


def test_wild_rows_are_refused_by_name_or_end_in_a_sound_place(db: psycopg.Connection) -> None:
    chance = random.Random(20)
    errors: list[psycopg.Error] = []
    for _ in range(400):
        try:
            insert_jtd(db, **wild(chance))
        except psycopg.Error as error:
            errors.append(error)
    assert {str(error.sqlstate)[:2] for error in errors} == {"JT", "22", "23"}
    assert all(error.diag.message_primary for error in errors)
    stored = jobs(db)
    assert len(stored) == 400 - len(errors)
    assert min(len(stored), len(errors)) > 50
    assert sum(places(db).values()) == len(stored)
    assert one(db, "SELECT count(DISTINCT jtd_id) FROM n_jtd_history") == len(stored)
    assert one(db, "SELECT count(*) FROM n_jtd_history WHERE NOT is_valid_transition") == 0
    assert one(db, "SELECT count(*) FROM jtd.queue_messages()") == one(
        db, "SELECT count(*) FROM n_jtd WHERE status_code = 'queued'"
    )
    unexplained = (
        "SELECT count(*) FROM n_jtd AS j LEFT JOIN jtd.explain(j.id) AS e ON true WHERE e.sentence IS NULL"
    )
    assert one(db, unexplained) == 0


def wild(chance: random.Random) -> dict[str, Any]:
    """A job of which one to three columns hold what no producer should write."""
    text: list[Any] = [
        "", " ", "\u00a0\u200b", "é" * 90, "x" * 5000, "' OR 1=1 --", "%s {} \\ \x01\x1f", "🜁🜂@🜃.🜄",
        "\u202e", "{}", "[1]", "null", "NaN", "email", "notification", None,
    ]  # fmt: skip
    document: list[Any] = [
        Jsonb(None), Jsonb([]), Jsonb("x"), Jsonb(1e300), Jsonb({"": {"": ""}}), Jsonb({"a": "\u0000"}),
        Jsonb({"recipient_data": None}), Jsonb({"recipient_data": [1, {"email": "a@b.c"}]}),
        Jsonb({"recipient_data": {"email": True, "mobile": [], "user_id": {}, "country_code": 1.5}}),
        Jsonb({"a": "x" * 100_000}), Jsonb([[[[[[[[{"a": []}]]]]]]]]), None,
    ]  # fmt: skip
    moment: list[Any] = ["infinity", "-infinity", "epoch", "4714-11-24 00:00:00 BC", TOMORROW, None]
    number: list[Any] = [-(2**31), -1, 0, 1, 10, 11, 2**31 - 1, None]
    choices = {
        **dict.fromkeys(("event_type_code", "source_type_code", "channel_code"), text),
        **dict.fromkeys(
            ("recipient_contact", "recipient_name", "template_key", "performed_by_name", "locale"), text
        ),
        **dict.fromkeys(("performed_by_type", "transition_note", "idempotency_key", "source_ref"), text),
        **dict.fromkeys(("payload", "template_variables", "metadata", "business_context"), document),
        **dict.fromkeys(
            ("scheduled_at", "expires_at", "next_retry_at", "status_changed_at", "completed_at"), moment
        ),
        **dict.fromkeys(("priority", "max_retries", "retry_count", "attempt"), number),
        "channel_code": ["email", "sms", "whatsapp", "push", "inapp", "fax", "", None],
        "event_type_code": [
            "reminder",
            "payment",
            "document",
            "task",
            "appointment",
            "service_visit",
            "",
            None,
        ],
        "status_code": ["created", None],
        "tags": [[], [None], ["x" * 1000], None],
        "is_live": [True, False, None],
    }
    return {
        name: chance.choice(choices[name]) for name in chance.sample(sorted(choices), chance.randint(1, 3))
    }


# Statements of every shape


def test_every_row_of_a_statement_is_placed_by_its_own_state(db: psycopg.Connection) -> None:
    db.execute(
        """INSERT INTO n_jtd (
            tenant_id, event_type_code, source_type_code, channel_code, recipient_contact, scheduled_at,
            idempotency_key)
        SELECT %s, v.event, v.source, v.channel, v.contact, v.scheduled_at, v.key
        FROM (VALUES
            ('notification', 'user_invite', 'email', 'a@b.c', NULL::timestamptz, 'now'),
            ('reminder', 'payment_due', 'sms', '+919876543210', now() + interval '1 day', 'later'),
            ('notification', 'user_invite', 'email', 'nobody', NULL, 'bad'),
            ('task', 'manual', NULL, NULL, NULL, 'work')
        ) AS v (event, source, channel, contact, scheduled_at, key)""",
        (TENANT,),
    )
    assert places(db) == {"queued": 1, "waiting": 1, "final": 1, "work": 1}
    assert history(db, by_key(db, "now")) == TO_QUEUED
    assert history(db, by_key(db, "bad")) == TO_FAILED
    assert history(db, by_key(db, "work")) == [CREATED]
    assert messages(db, "jtd_email") == [by_key(db, "now")]


def test_one_refused_row_refuses_its_statement(db: psycopg.Connection) -> None:
    with pytest.raises(psycopg.Error):
        db.execute(
            "INSERT INTO n_jtd (tenant_id, event_type_code, source_type_code, recipient_contact)"
            " VALUES (%(t)s, 'notification', 'user_invite', 'a@b.c'), (%(t)s, 'fax', 'user_invite', 'a@b.c')",
            {"t": TENANT},
        )
    assert (jobs(db), messages(db, "jtd_email")) == ([], [])


def test_copied_rows_are_enqueued_like_inserted_ones(db: psycopg.Connection) -> None:
    columns = "(tenant_id, event_type_code, source_type_code, recipient_contact)"
    with db.cursor().copy(f"COPY n_jtd {columns} FROM STDIN") as copy:
        for contact in ("a@b.c", "d@e.f", "nobody"):
            copy.write_row((TENANT, "notification", "user_invite", contact))
    assert places(db) == {"queued": 2, "final": 1}
    assert sorted(messages(db, "jtd_email")) == [
        jtd_id for jtd_id in jobs(db) if row(db, jtd_id)["status_code"] == "queued"
    ]


def test_a_merge_enqueues_what_it_inserts_and_leaves_what_it_updates_in_place(db: psycopg.Connection) -> None:
    old = insert_jtd(db, idempotency_key="old")
    db.execute(
        """MERGE INTO n_jtd AS j USING (VALUES ('old'), ('new')) AS s (key)
        ON j.idempotency_key = s.key
        WHEN MATCHED THEN UPDATE SET source_ref = 'merged'
        WHEN NOT MATCHED THEN INSERT (
            tenant_id, event_type_code, source_type_code, recipient_contact, idempotency_key)
            VALUES ('10000000-0000-0000-0000-000000000001', 'notification', 'user_invite', 'a@b.c', s.key)"""
    )
    assert messages(db, "jtd_email") == [old, by_key(db, "new")]
    assert history(db, old) == history(db, by_key(db, "new")) == TO_QUEUED
    assert row(db, old)["source_ref"] == "merged"


def test_on_conflict_do_nothing_leaves_no_phantom(db: psycopg.Connection) -> None:
    old = insert_jtd(db, idempotency_key="old")
    db.execute(KEYED + "ON CONFLICT DO NOTHING", (["old", "new", "old"],))
    new = by_key(db, "new")
    assert messages(db, "jtd_email") == [old, new]
    assert history(db, old) == history(db, new) == TO_QUEUED
    assert one(db, "SELECT count(*) FROM n_jtd_history") == 6
    db.execute(KEYED + "ON CONFLICT DO NOTHING", (["old", "new"],))
    assert messages(db, "jtd_email") == [old, new]
    assert places(db) == {"queued": 2}


@pytest.mark.parametrize("status", ["queued", "sent", "failed", "pending"])
def test_an_upsert_changes_a_job_without_sending_it_again(db: psycopg.Connection, status: str) -> None:
    old = insert_jtd(db, idempotency_key="old", scheduled_at=TOMORROW if status == "pending" else None)
    if status in ("sent", "failed"):
        db.execute("UPDATE n_jtd SET status_code = 'executing' WHERE id = %s", (old,))
        db.execute("UPDATE n_jtd SET status_code = %s WHERE id = %s", (status, old))
    before = (whereabouts(db, old), history(db, old), messages(db, "jtd_email"))
    db.execute(KEYED + KEY_CONFLICT + " DO UPDATE SET payload = excluded.payload", (["old", "new"],))
    new = by_key(db, "new")
    assert (whereabouts(db, old), history(db, old), messages(db, "jtd_email")) == (
        *before[:2],
        [*before[2], new],
    )
    assert row(db, old)["payload"] == {"n": 2}
    assert history(db, new) == TO_QUEUED


def test_an_upsert_may_not_give_a_job_another_id(db: psycopg.Connection) -> None:
    insert_jtd(db, idempotency_key="old", scheduled_at=TOMORROW)
    with pytest.raises(psycopg.Error) as caught:
        db.execute(KEYED + KEY_CONFLICT + " DO UPDATE SET id = excluded.id", (["old"],))
    assert caught.value.sqlstate == "JT010"
    db.execute("UPDATE n_jtd SET id = id")


def test_what_is_rolled_back_was_never_there(db: psycopg.Connection) -> None:
    with db.transaction(force_rollback=True):
        insert_jtd(db)
        insert_jtd(db, scheduled_at=TOMORROW)
    with db.transaction():
        first = insert_jtd(db)
        with db.transaction(force_rollback=True):
            insert_jtd(db)
        second = insert_jtd(db)
    assert jobs(db) == sorted([first, second])
    assert messages(db, "jtd_email") == [first, second]
    assert one(db, "SELECT count(*) FROM n_jtd_history") == 6
    assert places(db) == {"queued": 2}


def test_a_restore_keeps_every_row_as_it_was_and_sends_nothing(
    db: psycopg.Connection, databases: Databases, template: str
) -> None:
    # a life elsewhere: every status of every event type, but for messages that were never enqueued
    db.execute(
        """INSERT INTO n_jtd (
            tenant_id, event_type_code, source_type_code, channel_code, recipient_contact, status_code,
            status_changed_at, created_at, completed_at)
        SELECT %s, s.event_type_code, 'manual', 'email', ' odd ', s.code, '2020-01-02', '2020-01-01',
            CASE WHEN s.is_terminal OR s.is_failure THEN timestamptz '2020-01-03' END
        FROM n_jtd_statuses AS s JOIN n_jtd_event_types AS e ON e.code = s.event_type_code
        WHERE s.code <> 'created' OR NOT e.is_message""",
        (TENANT,),
    )
    with (
        databases.database(template=template) as target,
        psycopg.connect(target, autocommit=True) as restored,
    ):
        restored.execute("UPDATE n_jtd_source_types SET is_active = false WHERE code = 'manual'")
        out = db.cursor().copy("COPY n_jtd TO STDOUT")
        into = restored.cursor().copy("COPY n_jtd FROM STDIN")
        with out as source, into as sink:
            for data in source:
                sink.write(data)
        whole = "SELECT * FROM n_jtd ORDER BY id"
        assert restored.execute(whole).fetchall() == db.execute(whole).fetchall()
        for jtd_id in jobs(restored):
            assert history(restored, jtd_id) == [
                Step(IMPORTED, None, row(restored, jtd_id)["status_code"], True)
            ]
        assert one(restored, "SELECT count(*) FROM jtd.queue_messages()") == 0
        assert (
            one(restored, "SELECT count(*) FROM jtd.waiting")
            == one(restored, "SELECT count(*) FROM jtd.ready")
            == 0
        )
        # what was under way is not hidden: it rests under a name of its own until somebody adopts it
        assert one(restored, "SELECT bool_and(sound) FROM jtd.conservation()")
        resting = restored.execute("SELECT status_code FROM jtd.conservation() WHERE place = 'imported'")
        assert {status for (status,) in resting.fetchall()} == {
            "scheduled",
            "pending",
            "queued",
            "executing",
            "no_credits",
        }


@pytest.mark.parametrize("status", ["pending", "queued", "failed", "sent"])
def test_a_state_given_by_the_producer_is_an_import_even_when_dated_now(
    db: psycopg.Connection, status: str
) -> None:
    jtd_id = one(
        db,
        "INSERT INTO n_jtd (tenant_id, event_type_code, source_type_code, channel_code, status_code,"
        " status_changed_at) VALUES (%s, 'notification', 'manual', 'email', %s, now()) RETURNING id",
        TENANT,
        status,
    )
    assert history(db, jtd_id) == [Step(IMPORTED, None, status, True)]
    assert one(db, "SELECT count(*) FROM jtd.queue_messages()") == 0
    assert one(db, "SELECT count(*) FROM jtd.ready") == 0


def test_an_imported_failure_is_final_though_nobody_said_when(db: psycopg.Connection) -> None:
    jtd_id = insert_jtd(db, status_code="failed", completed_at=None, status_changed_at="2020-01-02")
    assert whereabouts(db, jtd_id) == Place(status="failed", place="final")
    assert row(db, jtd_id)["completed_at"] == row(db, jtd_id)["status_changed_at"]


def test_a_replicated_row_is_stored_untouched_and_named_as_lost(db: psycopg.Connection) -> None:
    db.execute("SET session_replication_role = replica")
    jtd_id = insert_jtd(db)
    db.execute("RESET session_replication_role")
    assert (history(db, jtd_id), messages(db, "jtd_email")) == ([], [])
    assert whereabouts(db, jtd_id) == Place(status="created", place="lost")
    db.execute("DELETE FROM n_jtd")
    assert places(db) == {}


# Many at once


def test_a_thousand_rows_of_a_statement_are_queued_and_the_rest_await_admission(
    db: psycopg.Connection,
) -> None:
    ids = insert_many(db, 1005, expires_at=TOMORROW)
    assert places(db) == {"queued": 1000, "ready": 5}
    assert len(set(messages(db, "jtd_email"))) == 1000
    late = [jtd_id for jtd_id in ids if row(db, jtd_id)["status_code"] == "pending"]
    assert len(late) == 5
    assert history(db, late[0]) == [CREATED, PENDING]
    db.execute("UPDATE jtd.queues SET target_depth = 2000")
    assert one(db, "SELECT jtd.admit(100)") == 5
    assert places(db) == {"queued": 1005}
    assert history(db, late[0]) == TO_QUEUED


def test_the_next_statement_of_a_transaction_counts_anew(db: psycopg.Connection) -> None:
    with db.transaction():
        insert_many(db, 600)
        insert_many(db, 600)
    assert places(db) == {"queued": 1200}


def test_a_closed_window_sends_new_jobs_behind_older_ones(db: psycopg.Connection) -> None:
    db.execute(
        "INSERT INTO jtd.windows (channel_code, lane, tenant_id) VALUES ('email', 'normal', %s)", (TENANT,)
    )
    held = insert_jtd(db, expires_at=TOMORROW)
    assert whereabouts(db, held) == Place(status="pending", place="ready")
    assert history(db, held) == [CREATED, PENDING]
    ready = listed(db, "ready", held)
    assert ready is not None
    assert (ready["lane"], ready["tenant_id"], ready["priority"]) == ("normal", TENANT, 5)
    for through in (
        {"priority": 10},
        {"tenant_id": uuid4()},
        {"channel_code": "inapp", "recipient_id": USER},
    ):
        assert whereabouts(db, insert_jtd(db, **through)).place == "queued"


# jtd.enqueue


def test_enqueue_answers_with_the_id_and_whether_it_is_new(db: psycopg.Connection) -> None:
    jtd_id, created = enqueue(
        db, idempotency_key="k", priority=7, max_retries=0, metadata={"a": 1}, locale="de"
    )
    assert created is True
    assert history(db, jtd_id) == TO_QUEUED
    job = row(db, jtd_id)
    assert (job["channel_code"], job["priority"], job["max_retries"], job["locale"]) == ("email", 7, 0, "de")
    assert enqueue(db, idempotency_key="k", priority=7) == (jtd_id, False)
    assert enqueue(db, idempotency_key="k", recipient=" john@example.com\u00a0", channel="email") == (
        jtd_id,
        False,
    )
    assert messages(db, "jtd_email") == [jtd_id]
    assert len(history(db, jtd_id)) == 3


def test_a_key_belongs_to_its_tenant_and_no_key_is_no_promise(db: psycopg.Connection) -> None:
    ids = {enqueue(db, idempotency_key="k"), enqueue(db, idempotency_key="k", tenant_id=uuid4())}
    ids |= {enqueue(db), enqueue(db)}
    assert len(ids) == 4
    assert all(created for _, created in ids)


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"payload": {"other": 1}}, "payload"),
        ({"recipient": "jane@example.com"}, "recipient"),
        ({"channel": "inapp"}, "channel"),
        ({"template_key": "x", "is_live": False}, "template_key, is_live"),
        ({"event_type": "reminder"}, "event_type"),
        ({"source_type": "user_created"}, "source_type"),
        ({"recipient_id": USER}, "recipient_id"),
        ({"recipient_name": "Jane"}, "recipient_name"),
        ({"template_variables": {"a": 1}}, "template_variables"),
        ({"scheduled_at": TOMORROW}, "scheduled_at"),
        ({"source_id": USER}, "source_id"),
    ],
)
def test_a_key_that_is_taken_by_another_content_is_refused(
    db: psycopg.Connection, changed: dict[str, Any], named: str
) -> None:
    jtd_id, _ = enqueue(db, idempotency_key="k")
    with pytest.raises(psycopg.Error) as caught:
        enqueue(db, idempotency_key="k", **changed)
    assert caught.value.sqlstate == "JT006"
    assert caught.value.diag.message_primary == (
        f"idempotency key 'k' is taken by job {jtd_id}, which has another {named}"
    )
    assert messages(db, "jtd_email") == [jtd_id]


def test_enqueue_refuses_what_an_insert_refuses(db: psycopg.Connection) -> None:
    with pytest.raises(psycopg.Error) as caught:
        enqueue(db, channel="fax")
    assert caught.value.sqlstate == "JT002"


@pytest.fixture
def other(dsn: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(dsn, autocommit=True) as conn:
        yield conn


@pytest.mark.parametrize("first_commits", [True, False])
def test_two_producers_with_one_key_make_one_job(
    db: psycopg.Connection, other: psycopg.Connection, dsn: str, first_commits: bool
) -> None:
    with ThreadPoolExecutor(1) as pool, psycopg.connect(dsn, autocommit=True) as watcher:
        with db.transaction(force_rollback=not first_commits):
            first, _ = enqueue(db, idempotency_key="k")
            second = pool.submit(enqueue, other, idempotency_key="k")
            wait_for_lock(watcher, other)
        jtd_id, created = second.result(timeout=10)
    assert created is not first_commits
    assert (jtd_id == first) is first_commits
    assert jobs(db) == [jtd_id]
    assert messages(db, "jtd_email") == [jtd_id]
    assert history(db, jtd_id) == TO_QUEUED


# Changes by hand


def test_a_change_of_time_moves_a_waiting_job(db: psycopg.Connection) -> None:
    jtd_id = insert_jtd(db, scheduled_at=TOMORROW)
    db.execute("UPDATE n_jtd SET scheduled_at = %s WHERE id = %s", (LATER, jtd_id))
    waiting = listed(db, "waiting", jtd_id)
    assert waiting is not None
    assert waiting["due"] == LATER
    db.execute("UPDATE n_jtd SET scheduled_at = NULL, expires_at = %s WHERE id = %s", (TOMORROW, jtd_id))
    assert whereabouts(db, jtd_id) == Place(status="pending", place="ready")
    db.execute("UPDATE n_jtd SET next_retry_at = %s WHERE id = %s", (LATER, jtd_id))
    waiting = listed(db, "waiting", jtd_id)
    assert waiting is not None
    assert (waiting["due"], waiting["reason"]) == (TOMORROW, "retry")
    assert places(db) == {"waiting": 1}
    assert len(history(db, jtd_id)) == 2


@pytest.mark.parametrize("moment", ["yesterday", None])
def test_a_scheduled_job_that_is_made_due_is_queued_by_valid_steps(
    db: psycopg.Connection, moment: str | None
) -> None:
    jtd_id = insert_jtd(db, event_type_code="reminder", source_type_code="payment_due", scheduled_at=TOMORROW)
    db.execute("UPDATE n_jtd SET scheduled_at = %s WHERE id = %s", (moment, jtd_id))
    assert whereabouts(db, jtd_id) == Place(status="scheduled", place="waiting")
    db.execute("SELECT jtd.release_due(10)")
    assert whereabouts(db, jtd_id) == Place(status="pending", place="ready")
    db.execute("SELECT jtd.admit(10)")
    assert messages(db, "jtd_email") == [jtd_id]
    assert [(step.to_status, step.valid) for step in history(db, jtd_id)] == [
        ("created", True),
        ("scheduled", True),
        ("pending", True),
        ("queued", True),
    ]


def test_a_change_of_priority_or_channel_moves_a_listed_job(db: psycopg.Connection) -> None:
    db.execute(
        "INSERT INTO jtd.windows (channel_code, lane, tenant_id) VALUES ('email', 'normal', %s)", (TENANT,)
    )
    ready_id = insert_jtd(db, recipient_id=USER)
    db.execute("UPDATE n_jtd SET priority = 10 WHERE id = %s", (ready_id,))
    ready = listed(db, "ready", ready_id)
    assert ready is not None
    assert (ready["lane"], ready["priority"]) == ("urgent", 10)
    waiting_id = insert_jtd(db, recipient_id=USER, scheduled_at=TOMORROW)
    db.execute("UPDATE n_jtd SET channel_code = 'inapp'")
    ready, waiting = listed(db, "ready", ready_id), listed(db, "waiting", waiting_id)
    assert ready is not None
    assert waiting is not None
    assert ready["channel_code"] == waiting["channel_code"] == "inapp"
    assert places(db) == {"ready": 1, "waiting": 1}


def test_a_failed_job_that_is_put_back_to_pending_by_hand_is_enqueued(db: psycopg.Connection) -> None:
    jtd_id = insert_jtd(db, recipient_contact="nobody")
    db.execute(
        "UPDATE n_jtd SET recipient_contact = 'a@b.c', status_code = 'pending' WHERE id = %s", (jtd_id,)
    )
    assert history(db, jtd_id) == [*TO_FAILED, Step("status_changed", "failed", "pending", True)]
    assert row(db, jtd_id)["completed_at"] is None
    assert whereabouts(db, jtd_id) == Place(status="pending", place="ready")
    db.execute("SELECT jtd.admit(10)")
    assert messages(db, "jtd_email") == [jtd_id]


def test_a_job_that_is_put_to_queued_by_hand_gets_a_message(db: psycopg.Connection) -> None:
    jtd_id = insert_jtd(db, scheduled_at=TOMORROW)
    db.execute("UPDATE n_jtd SET status_code = 'queued' WHERE id = %s", (jtd_id,))
    assert messages(db, "jtd_email") == [jtd_id]
    assert listed(db, "waiting", jtd_id) is None


def test_a_job_that_ends_by_hand_leaves_its_list(db: psycopg.Connection) -> None:
    jtd_id = insert_jtd(db, scheduled_at=TOMORROW)
    db.execute("UPDATE n_jtd SET status_code = 'cancelled' WHERE id = %s", (jtd_id,))
    assert whereabouts(db, jtd_id) == Place(status="cancelled", place="final")
    assert listed(db, "waiting", jtd_id) is None


def test_a_deleted_job_is_on_no_list(db: psycopg.Connection) -> None:
    db.execute(
        "INSERT INTO jtd.windows (channel_code, lane, tenant_id) VALUES ('email', 'normal', %s)", (TENANT,)
    )
    ids = [insert_jtd(db), insert_jtd(db, scheduled_at=TOMORROW), insert_jtd(db, priority=9)]
    db.execute("SELECT jtd.register_v1(%s, 'w', '{email}', 60)", (USER,))
    db.execute("SELECT jtd.claim_v1(%s, 'jtd_email_urgent', 1)", (USER,))
    assert places(db) == {"ready": 1, "waiting": 1, "in_flight": 1}
    db.execute("DELETE FROM n_jtd")
    for jtd_id in ids:
        assert all(listed(db, name, jtd_id) is None for name in ("ready", "waiting", "inflight"))


# Channels


def test_a_new_channel_has_its_queues_at_once(db: psycopg.Connection) -> None:
    db.execute("INSERT INTO n_jtd_channels (code, name, queue_name) VALUES ('voice', 'Voice', 'jtd_voice')")
    db.execute(
        "UPDATE n_jtd_event_types SET allowed_channels = allowed_channels || '{voice}'"
        " WHERE code = 'notification'"
    )
    normal = insert_jtd(db, channel_code="voice", recipient_id=USER)
    urgent = insert_jtd(db, channel_code="voice", recipient_id=USER, priority=10)
    assert (messages(db, "jtd_voice"), messages(db, "jtd_voice_urgent")) == ([normal], [urgent])
    assert places(db) == {"queued": 2}


@pytest.mark.parametrize("queue", ["jtd_email_urgent", "jtd_dlq", "Jtd", "jtd email", "1"])
def test_a_channel_cannot_take_a_queue_that_serves_something_else(db: psycopg.Connection, queue: str) -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        db.execute("INSERT INTO n_jtd_channels (code, name, queue_name) VALUES ('x', 'X', %s)", (queue,))


def test_a_recipient_pattern_that_cannot_be_compiled_is_refused_when_written(db: psycopg.Connection) -> None:
    with pytest.raises(psycopg.errors.InvalidRegularExpression):
        db.execute("UPDATE n_jtd_channels SET recipient_pattern = '(' WHERE code = 'email'")


# Rights


@pytest.fixture
def login(db: psycopg.Connection) -> Iterator[str]:
    """A login with no rights of its own."""
    name = f"jtd_test_login_{uuid4().hex[:12]}"
    db.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(name)))
    yield name
    db.execute("RESET SESSION AUTHORIZATION")
    db.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(name)))
    db.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


def become(db: psycopg.Connection, login: str) -> None:
    db.execute(sql.SQL("SET SESSION AUTHORIZATION {}").format(sql.Identifier(login)))


def test_a_producer_may_enqueue_and_nothing_else(db: psycopg.Connection, login: str) -> None:
    db.execute(sql.SQL("GRANT jtd_producer TO {}").format(sql.Identifier(login)))
    become(db, login)
    jtd_id = insert_jtd(db, performed_by_type="user")
    first, created = enqueue(db, idempotency_key="k")
    assert created
    assert enqueue(db, idempotency_key="k") == (first, False)
    db.execute(KEYED + "ON CONFLICT DO NOTHING", (["k", "new"],))
    assert one(db, "SELECT status_code FROM n_jtd WHERE id = %s", jtd_id) == "queued"
    for forbidden in (
        "SELECT jtd.claim_v1(gen_random_uuid(), 'jtd_email', 1)",
        "SELECT jtd.place(ARRAY[gen_random_uuid()])",
        "SELECT jtd.cancel(gen_random_uuid())",
        "SELECT payload FROM n_jtd",
        "SELECT recipient_contact FROM n_jtd",
        "UPDATE n_jtd SET priority = 10",
        "DELETE FROM n_jtd",
        "SELECT FROM n_jtd_history",
        "SELECT FROM jtd.waiting",
        "SELECT FROM pgmq.q_jtd_email",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            db.execute(forbidden)
    db.execute("RESET SESSION AUTHORIZATION")
    assert row(db, jtd_id)["performed_by_name"] == login
    assert places(db) == {"queued": 3}


def test_the_right_to_insert_is_enough_to_make_a_job(db: psycopg.Connection, login: str) -> None:
    db.execute(sql.SQL("GRANT INSERT ON n_jtd TO {}").format(sql.Identifier(login)))
    become(db, login)
    db.execute(
        "INSERT INTO n_jtd (tenant_id, event_type_code, source_type_code, recipient_contact)"
        " VALUES (%s, 'notification', 'user_invite', 'a@b.c')",
        (TENANT,),
    )
    db.execute("RESET SESSION AUTHORIZATION")
    assert places(db) == {"queued": 1}


def test_what_runs_with_the_owners_rights_is_pinned_and_not_for_everybody(db: psycopg.Connection) -> None:
    functions = db.execute(
        "SELECT p.proname, p.prosecdef, p.proconfig, has_function_privilege('public', p.oid, 'EXECUTE')"
        " FROM pg_proc AS p WHERE p.pronamespace = 'jtd'::regnamespace"
    ).fetchall()
    assert {name for name, _, _, public in functions if public} == {"uuid7"}
    for name, is_definer, settings, _ in functions:
        if is_definer:
            assert "search_path=pg_catalog, pg_temp" in (settings or []), name
