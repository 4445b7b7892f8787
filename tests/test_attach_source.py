"""A source type attached to a service's own table: each row inserted there makes one job, harming nothing."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg.types.json import Jsonb

from tests.command import call
from tests.daemon import run_until_idle
from tests.jobs import TENANT, USER, history, messages, one, row, whereabouts
from tests.test_check import SERVED, found
from tests.test_enqueue import TO_FAILED, TO_QUEUED
from tests.test_readme import DOCS, README, blocks

MAPPING: dict[str, Any] = {
    "tenant_id": "tenant_id",
    "recipient_contact": "email",
    "recipient_name": "invitee",
    "payload": {"inviter_name": "inviter", "tenant_name": {"value": "Acme"}, "invite_link": "link"},
}
INVITATIONS = """
    CREATE TABLE {} (
        id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
        number bigint GENERATED ALWAYS AS IDENTITY,
        tenant_id uuid NOT NULL,
        maybe_tenant_id uuid,
        email text,
        invitee text,
        inviter text DEFAULT 'Jane',
        link text DEFAULT 'https://example.com/i',
        is_wanted boolean,
        urgency integer,
        asked_by text,
        at timestamptz,
        extra jsonb,
        "odd 'name" text)"""


@pytest.fixture
def service(db: psycopg.Connection) -> psycopg.Connection:
    """The connection to a database in which a service has a table of invitations."""
    db.execute(sql.SQL(INVITATIONS).format(sql.Identifier("invitations")))
    return db


def describe(db: psycopg.Connection, mapping: Any = MAPPING, table: str | None = "invitations") -> None:
    db.execute(
        "UPDATE n_jtd_source_types SET source_table = %s, payload_mapping = %s WHERE code = 'user_invite'",
        (table, Jsonb(mapping)),
    )


def attach(db: psycopg.Connection, **more: Any) -> None:
    """Attach invitations with the mapping that most tests need, and `more` of it."""
    describe(db, MAPPING | more)
    db.execute("SELECT jtd.attach_source('user_invite')")


def invite(db: psycopg.Connection, *emails: str | None, **columns: Any) -> list[UUID]:
    """Insert one invitation per address in one statement; returns their jobs in that order."""
    given = {"tenant_id": TENANT, **columns}
    rows = db.execute(
        sql.SQL(
            "INSERT INTO invitations (email, {}) SELECT e, {} FROM unnest(%s::text[]) AS e RETURNING id"
        ).format(
            sql.SQL(", ").join(map(sql.Identifier, given)),
            sql.SQL(", ").join([sql.Placeholder()] * len(given)),
        ),
        [*given.values(), list(emails)],
    ).fetchall()
    jobs = dict(
        db.execute("SELECT source_id, id FROM n_jtd WHERE source_type_code = 'user_invite'").fetchall()
    )
    return [jobs[found[0]] for found in rows if found[0] in jobs]


def refused(db: psycopg.Connection, state: str, says: str, statement: str) -> None:
    with pytest.raises(psycopg.Error, match=says) as raised:
        db.execute(statement.encode())
    assert raised.value.sqlstate == state
    assert raised.value.diag.message_hint


# The worked example


@pytest.mark.parametrize(
    "example",
    [
        next(block for block in blocks(text, "sql") if "attach_source('user_invite')" in block)
        for text in (README, DOCS["sources.md"])
    ],
    ids=["README", "docs"],
)
def test_the_example_sends_its_invitation(
    db: psycopg.Connection, dsn: str, tmp_path: Path, example: str
) -> None:
    db.execute(example.encode())
    run_until_idle(dsn, "email:outbox", tmp_path)
    recipient, content = db.execute("SELECT recipient, content FROM n_jtd_outbox").fetchall()[0]
    assert recipient == "john@example.com"
    assert content.startswith("Hello John Doe,")
    assert one(db, "SELECT status_code FROM n_jtd") == "sent"


# What a row becomes


def test_an_inserted_row_is_queued_in_the_transaction_of_the_service(service: psycopg.Connection) -> None:
    attach(service)
    with service.transaction(force_rollback=True):
        assert len(invite(service, "a@example.com")) == 1
    assert one(service, "SELECT count(*) FROM n_jtd") == 0
    [jtd_id] = invite(service, "john@example.com", invitee="John")
    job = row(service, jtd_id)
    source_id = one(service, "SELECT id FROM invitations")
    assert history(service, jtd_id) == TO_QUEUED
    assert messages(service, "jtd_email") == [jtd_id]
    assert (job["tenant_id"], job["event_type_code"], job["channel_code"]) == (
        TENANT,
        "notification",
        "email",
    )
    assert (job["source_id"], job["source_ref"]) == (source_id, None)
    assert job["idempotency_key"] == f"user_invite:{source_id}"
    assert (job["recipient_contact"], job["recipient_name"]) == ("john@example.com", "John")
    assert job["payload"] == {
        "inviter_name": "Jane", "tenant_name": "Acme", "invite_link": "https://example.com/i",
    }  # fmt: skip
    assert job["is_live"] is True


def test_every_column_that_may_be_mapped_takes_a_column_or_a_constant(service: psycopg.Connection) -> None:
    attach(
        service,
        event_type_code={"value": "reminder"},
        channel_code={"value": "sms"},
        jtd_number="number",
        recipient_type={"value": "user"},
        recipient_id="asked_by",
        recipient_contact={"value": "+14155550101"},
        scheduled_at="at",
        expires_at={"value": "2099-01-01T00:00:00Z"},
        priority="urgency",
        max_retries={"value": 0},
        template_id={"value": str(UUID(int=7))},
        template_key={"value": "it's"},
        locale={"value": None},
        is_live="is_wanted",
        payload={"n": "urgency", "x": "extra", "odd": "odd 'name", "k'ey": {"value": {"value": [None]}}},
        template_variables={"inviter": "inviter"},
        metadata={},
        business_context={"deal": {"value": 5}},
    )
    [jtd_id] = invite(
        service, "-", asked_by=str(USER), at="2098-01-01T00:00:00Z", urgency=7, is_wanted=False,
        extra=Jsonb({"a": None}), **{"odd 'name": "o"},
    )  # fmt: skip
    job = row(service, jtd_id)
    assert (job["event_type_code"], job["channel_code"], job["status_code"]) == (
        "reminder",
        "sms",
        "scheduled",
    )
    assert (job["jtd_number"], job["recipient_type"], job["recipient_id"]) == ("1", "user", USER)
    assert (job["recipient_contact"], job["scheduled_at"].year, job["expires_at"].year) == (
        "+14155550101",
        2098,
        2099,
    )
    assert (job["priority"], job["max_retries"], job["is_live"]) == (7, 0, False)
    assert (job["template_id"], job["template_key"], job["locale"]) == (UUID(int=7), "it's", None)
    assert job["payload"] == {"n": 7, "x": {"a": None}, "odd": "o", "k'ey": {"value": [None]}}
    assert (job["template_variables"], job["metadata"]) == ({"inviter": "Jane"}, {})
    assert job["business_context"] == {"deal": 5}


def test_nulls_are_left_out_and_defaults_stand(service: psycopg.Connection) -> None:
    attach(service, is_live="is_wanted", priority="urgency", event_type_code="odd 'name")
    [jtd_id] = invite(service, "john@example.com", inviter=None, is_wanted=None)
    job = row(service, jtd_id)
    assert job["payload"] == {"tenant_name": "Acme", "invite_link": "https://example.com/i"}
    assert (job["is_live"], job["priority"], job["event_type_code"]) == (True, 5, "notification")


def test_only_rows_that_are_wanted_make_jobs(service: psycopg.Connection) -> None:
    attach(service, when="is_wanted")
    assert [len(invite(service, "a@example.com", is_wanted=wanted)) for wanted in (True, False, None)] == [
        1,
        0,
        0,
    ]


@pytest.mark.parametrize(
    ("field", "source_ref"),
    [("number", "1"), ("invitee", "INV/7"), ("odd 'name", "o" * 200), ("asked_by", None)],
)
def test_a_row_that_is_not_named_by_a_uuid_is_told_by_its_text(
    service: psycopg.Connection, field: str, source_ref: str | None
) -> None:
    service.execute("UPDATE n_jtd_source_types SET source_id_field = %s WHERE code = 'user_invite'", (field,))
    attach(service)
    for _ in range(2):
        service.execute(
            'INSERT INTO invitations (tenant_id, email, invitee, "odd \'name", number)'
            " OVERRIDING SYSTEM VALUE VALUES (%s, 'a@example.com', 'INV/7', %s, 1)",
            (TENANT, "o" * 5000),
        )
    jobs = service.execute("SELECT source_ref, source_id, idempotency_key FROM n_jtd").fetchall()
    assert len(jobs) == (1 if source_ref else 2)  # without a name nothing tells that two rows are one
    assert jobs[0][:2] == (source_ref, None)
    assert (jobs[0][2] is None) == (source_ref is None)


def test_the_same_row_makes_one_job(service: psycopg.Connection) -> None:
    attach(service)
    again = "INSERT INTO invitations (id, tenant_id, email) VALUES (%s, %s, 'a@example.com')"
    upsert = f"{again} ON CONFLICT (id) DO UPDATE SET email = excluded.email"
    key = uuid4()
    for statement in (again, upsert, "DELETE FROM invitations WHERE (%s, %s) IS NOT NULL", again):
        service.execute(statement.encode(), (key, TENANT))
    assert one(service, "SELECT count(*) FROM n_jtd") == 1


def test_a_statement_of_many_rows_is_one_insert_of_jobs(service: psycopg.Connection) -> None:
    attach(service)
    service.execute(
        "CREATE TABLE statements (jobs bigint);"
        "CREATE FUNCTION count_jobs() RETURNS trigger LANGUAGE plpgsql AS"
        " $$BEGIN INSERT INTO public.statements SELECT count(*) FROM new_rows; RETURN NULL; END$$;"
        "CREATE TRIGGER count_jobs AFTER INSERT ON n_jtd REFERENCING NEW TABLE AS new_rows"
        " FOR EACH STATEMENT EXECUTE FUNCTION count_jobs()"
    )
    service.execute(
        "INSERT INTO invitations (tenant_id, email)"
        " SELECT %s, 'a' || n || '@example.com' FROM generate_series(1, 500) AS n",
        (TENANT,),
    )
    service.execute("INSERT INTO invitations (tenant_id) SELECT %s WHERE false", (TENANT,))
    assert service.execute("SELECT jobs FROM statements").fetchall() == [(500,)]
    assert len(messages(service, "jtd_email")) == 500


@pytest.mark.parametrize("table", ['app."The Invites"', '"Invitations"'])
def test_a_table_of_any_schema_and_a_partitioned_one_can_be_attached(
    db: psycopg.Connection, table: str
) -> None:
    db.execute("CREATE SCHEMA app")
    definition = INVITATIONS.format(table).replace("PRIMARY KEY", "NOT NULL") + " PARTITION BY HASH (id)"
    db.execute(definition.encode())
    db.execute(f"CREATE TABLE part PARTITION OF {table} FOR VALUES WITH (MODULUS 1, REMAINDER 0)".encode())
    describe(db, table=table)
    assert one(db, "SELECT jtd.attach_source('user_invite')::regclass") == one(
        db, "SELECT %s::regclass", table
    )
    db.execute(f"INSERT INTO {table} (tenant_id, email) VALUES ('{TENANT}', 'a@example.com')".encode())
    assert len(messages(db, "jtd_email")) == 1


def test_the_service_needs_no_right_of_ours_and_is_named_as_actor(
    service: psycopg.Connection, dsn: str
) -> None:
    attach(service)
    with login(service) as name, psycopg.connect(make_conninfo(dsn, user=name), autocommit=True) as client:
        assert (
            one(
                client,
                "SELECT has_schema_privilege('jtd', 'USAGE') OR has_table_privilege('n_jtd', 'INSERT')",
            )
            is False
        )
        client.execute("SET search_path = pg_temp")
        client.execute(
            "INSERT INTO public.invitations (tenant_id, email) VALUES (%s, 'a@example.com')", (TENANT,)
        )
        assert service.execute(
            "SELECT DISTINCT performed_by_type, performed_by_name FROM n_jtd_history"
        ).fetchall() == [("system", name)]


@contextmanager
def login(db: psycopg.Connection) -> Iterator[str]:
    """Yield a role that may log in and insert invitations, and nothing else."""
    name = f"jtd_test_{uuid4().hex[:8]}"
    db.execute(f"CREATE ROLE {name} LOGIN; GRANT INSERT ON invitations TO {name}".encode())
    try:
        yield name
    finally:
        db.execute(f"DROP OWNED BY {name}; DROP ROLE {name}".encode())


# Rows that cannot become a job


def test_a_bad_recipient_is_kept_as_failed(service: psycopg.Connection) -> None:
    attach(service)
    good, none, bad = invite(service, "a@example.com", None, "nobody")
    assert [history(service, jtd_id) for jtd_id in (good, none, bad)] == [TO_QUEUED, TO_FAILED, TO_FAILED]


@pytest.mark.parametrize(
    ("mapping", "bad", "says"),
    [
        ({"channel_code": "asked_by"}, {"asked_by": "fax"}, "channel 'fax' is not allowed"),
        (
            {"event_type_code": "asked_by"},
            {"asked_by": "e" * 90},
            "value too long for type character varying(50)",
        ),
        ({"priority": "urgency"}, {"urgency": 11}, "priority '11' is not allowed"),
        ({"recipient_id": "asked_by"}, {"asked_by": "secret"}, "a value cannot be cast (SQLSTATE 22P02)"),
        ({}, {"invitee": "i" * 201}, "value too long for type character varying(200)"),
        ({"expires_at": "at"}, {"at": "20000-01-01"}, "violates check constraint"),
    ],
)
def test_one_bad_row_among_many_is_kept_as_a_failed_job_and_the_others_go(
    service: psycopg.Connection, mapping: dict[str, Any], bad: dict[str, Any], says: str
) -> None:
    attach(service, **mapping)
    columns = {"asked_by": None, "urgency": 5, "invitee": "John", "at": None} | {"tenant_id": TENANT}
    good, worse = tuple(columns.values()), tuple((columns | bad).values())
    rows = [good] * 7 + [worse] + [good] * 3 + [worse]
    service.execute(
        "INSERT INTO invitations (asked_by, urgency, invitee, at, tenant_id, email) VALUES "
        + ", ".join(["(%s, %s, %s, %s, %s, 'a@example.com')"] * 12),
        [value for values in rows for value in values],
    )
    assert one(service, "SELECT count(*) FROM invitations") == 12
    assert len(messages(service, "jtd_email")) == 10
    failed = service.execute("SELECT id, source_id FROM n_jtd WHERE status_code = 'failed'").fetchall()
    assert len(failed) == 2
    job = row(service, failed[0][0])
    assert (job["error_code"], job["recipient_contact"]) == ("source_refused", "a@example.com")
    assert says in job["error_message"]
    assert job["payload"]["inviter_name"] == "Jane"
    assert whereabouts(service, job["id"]).place == "final"
    assert [step.action for step in history(service, job["id"])] == ["imported", "note"]
    assert one(service, "SELECT count(*) FROM jtd.attention WHERE reason = 'source_refused'") == 2
    told = one(service, "SELECT string_agg(reason, '') FROM n_jtd_history WHERE action = 'note'")
    assert says in told
    assert "secret" not in told + job["error_message"]


def test_a_refused_row_is_sent_by_a_retry_once_the_cause_is_mended(
    service: psycopg.Connection, dsn: str, tmp_path: Path
) -> None:
    attach(service)
    service.execute("UPDATE n_jtd_source_types SET is_active = false WHERE code = 'user_invite'")
    [jtd_id] = invite(service, "a@example.com")
    assert "source type 'user_invite' is not allowed" in row(service, jtd_id)["error_message"]
    service.execute("UPDATE n_jtd_source_types SET is_active = true WHERE code = 'user_invite'")
    assert one(service, "SELECT jtd.retry(%s)", jtd_id) == "pending"
    run_until_idle(dsn, "email:outbox", tmp_path)
    job = row(service, jtd_id)
    assert (job["status_code"], job["error_code"], job["max_retries"]) == ("sent", None, 3)


def test_a_session_that_wants_strict_recipients_has_them(service: psycopg.Connection) -> None:
    attach(service)
    service.execute("SET jtd.strict_recipients = 'on'")
    with pytest.raises(psycopg.Error, match="the recipient is missing") as raised:
        invite(service, None)
    assert raised.value.sqlstate == "JT007"


# Attaching


MISTAKES: list[tuple[str, Callable[[], Any], str]] = [
    ("no object", lambda: ["tenant_id"], "payload_mapping is not a JSON object"),
    ("no tenant", dict, "does not say where tenant_id comes from"),
    ("nullable tenant", lambda: MAPPING | {"tenant_id": "maybe_tenant_id"}, "not a uuid and NOT NULL"),
    ("tenant of another type", lambda: MAPPING | {"tenant_id": "email"}, "not a uuid and NOT NULL"),
    ("null tenant", lambda: MAPPING | {"tenant_id": {"value": None}}, "tenant_id is null"),
    ("empty tenant", lambda: MAPPING | {"tenant_id": {}}, "tenant_id is neither the name of a column"),
    (
        "no tenant's id",
        lambda: MAPPING | {"tenant_id": {"value": "x"}},
        "is uuid, and its value cannot be cast",
    ),
    ("ours to set", lambda: MAPPING | {"status_code": "email"}, "status_code cannot be mapped"),
    ("unknown", lambda: MAPPING | {"recipient": "email"}, "recipient cannot be mapped"),
    (
        "no such column",
        lambda: MAPPING | {"recipient_contact": "mail"},
        "column 'mail', which public.invitations does not",
    ),
    (
        "injection",
        lambda: MAPPING | {"recipient_contact": "email, r.link"},
        "'email, r.link', which public.invitations does not",
    ),
    ("system column", lambda: MAPPING | {"payload": {"a": "ctid"}}, "payload.a comes from column 'ctid'"),
    (
        "no value",
        lambda: MAPPING | {"priority": {"valeu": 5}},
        "priority is neither the name of a column nor",
    ),
    ("more than a value", lambda: MAPPING | {"payload": {"a": {"value": 5, "b": 1}}}, "payload.a is neither"),
    ("an object for a scalar", lambda: MAPPING | {"priority": {"value": {}}}, "priority takes no object"),
    (
        "a bad constant",
        lambda: MAPPING | {"priority": {"value": "high"}},
        "priority is integer, and its value cannot",
    ),
    (
        "a bad type",
        lambda: MAPPING | {"scheduled_at": "urgency"},
        "column 'urgency' of type integer cannot be cast",
    ),
    ("payload of one column", lambda: MAPPING | {"payload": "extra"}, "payload is not an object of keys"),
    (
        "a condition that is none",
        lambda: MAPPING | {"when": "email"},
        "when is not the name of a boolean column",
    ),
    (
        "a constant condition",
        lambda: MAPPING | {"when": {"value": True}},
        "when is not the name of a boolean",
    ),
]


@pytest.mark.parametrize(
    ("mapping", "says"), [case[1:] for case in MISTAKES], ids=[case[0] for case in MISTAKES]
)
def test_a_mistake_in_the_mapping_is_refused_when_attached(
    service: psycopg.Connection, mapping: Callable[[], Any], says: str
) -> None:
    describe(service, mapping())
    refused(service, "JT061", says, "SELECT jtd.attach_source('user_invite')")
    assert one(service, "SELECT attached_at FROM n_jtd_source_types WHERE code = 'user_invite'") is None
    invite(service, "a@example.com")
    assert one(service, "SELECT count(*) FROM n_jtd") == 0


@pytest.mark.parametrize(
    "table", [None, "", "nowhere", "a.b.c", "'", "n_jtd", "n_jtd_history", "jtd.ready", "a_view"]
)
def test_what_is_no_table_of_a_service_is_refused(service: psycopg.Connection, table: str | None) -> None:
    service.execute("CREATE VIEW a_view AS SELECT * FROM invitations")
    describe(service, table=table)
    refused(service, "JT060", "has no table of a service", "SELECT jtd.attach_source('user_invite')")
    refused(service, "JT060", "'nobody' has no table", "SELECT jtd.attach_source('nobody')")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("source_id_field = 'nr'", "source_id_field is 'nr', which public.invitations does not have"),
        ("source_id_field = NULL", "source_id_field is NULL"),
        ("default_event_type = NULL", "neither default_event_type nor event_type_code"),
    ],
)
def test_a_source_type_that_lacks_what_a_job_needs_is_refused(
    service: psycopg.Connection, change: str, says: str
) -> None:
    describe(service)
    service.execute(f"UPDATE n_jtd_source_types SET {change} WHERE code = 'user_invite'".encode())
    refused(service, "JT061", says, "SELECT jtd.attach_source('user_invite')")


def triggers(db: psycopg.Connection) -> list[tuple[str, str]]:
    return db.execute(
        "SELECT tgrelid::regclass::text, tgname::text FROM pg_trigger"
        " WHERE tgfoid = 'jtd.source_inserted'::regproc"
    ).fetchall()


def test_to_attach_again_replaces_and_to_detach_removes(service: psycopg.Connection) -> None:
    for _ in range(2):
        attach(service)
    assert triggers(service) == [("invitations", "jtd_source_user_invite")]
    service.execute(sql.SQL(INVITATIONS).format(sql.Identifier("invites")))
    describe(service, table="invites")
    service.execute("SELECT jtd.attach_source('user_invite')")
    assert triggers(service) == [("invites", "jtd_source_user_invite")]
    assert [one(service, "SELECT jtd.detach_source('user_invite')") for _ in range(2)] == [True, False]
    assert triggers(service) == []
    assert one(service, "SELECT attached_at FROM n_jtd_source_types WHERE code = 'user_invite'") is None


def test_two_source_types_of_one_table_each_make_their_job(service: psycopg.Connection) -> None:
    name = "ü" * 50  # longer in bytes than a trigger's name
    service.execute(
        "INSERT INTO n_jtd_source_types"
        " (code, name, default_event_type, default_channels, source_table, payload_mapping)"
        " VALUES (%s, 'x', 'notification', '{email}', 'invitations', %s)",
        (name, Jsonb(MAPPING)),
    )
    attach(service)
    for _ in range(2):
        service.execute("SELECT jtd.attach_source(%s)", (name,))
    invite(service, "a@example.com")
    assert service.execute("SELECT source_type_code FROM n_jtd ORDER BY 1").fetchall() == [
        ("user_invite",),
        (name,),
    ]
    assert one(service, "SELECT jtd.detach_source(%s)", name) is True
    assert len(triggers(service)) == 1


def test_a_changed_mapping_counts_from_the_next_statement_on_and_a_wrong_one_is_refused(
    service: psycopg.Connection,
) -> None:
    attach(service)
    describe(service, MAPPING | {"payload": {"by": "inviter"}})
    [jtd_id] = invite(service, "a@example.com")
    assert row(service, jtd_id)["payload"] == {"by": "Jane"}
    wrong = "UPDATE n_jtd_source_types SET payload_mapping = '{}' WHERE code = 'user_invite'"
    refused(service, "JT061", "is attached to public.invitations: payload_mapping does not say", wrong)
    refused(service, "JT061", "has no such row", "DELETE FROM n_jtd_source_types WHERE code = 'user_invite'")
    service.execute("SELECT jtd.detach_source('user_invite')")
    service.execute(wrong.encode())


def test_a_column_that_is_gone_fails_the_insert_with_a_clear_error(service: psycopg.Connection) -> None:
    attach(service)
    service.execute("ALTER TABLE invitations RENAME TO invites")
    service.execute("INSERT INTO invites (tenant_id, email) VALUES (%s, 'a@example.com')", (TENANT,))
    service.execute("ALTER TABLE invites DROP COLUMN invitee")
    insert = f"INSERT INTO invites (tenant_id, email) VALUES ('{TENANT}', 'a@example.com')"
    refused(
        service,
        "JT062",
        "source type user_invite: recipient_name comes from column 'invitee', which public.invites",
        insert,
    )
    assert one(service, "SELECT count(*) FROM n_jtd") == 1


def test_only_owner_and_operator_attach_and_detach(service: psycopg.Connection) -> None:
    describe(service)
    for function in ("attach_source", "detach_source"):
        for role, allowed in (("jtd_operator", True), ("jtd_worker", False), ("jtd_producer", False)):
            with service.transaction(force_rollback=True):
                service.execute(f"SET LOCAL ROLE {role}".encode())
                call = f"SELECT jtd.{function}('user_invite')".encode()
                if allowed:
                    service.execute(call)
                else:
                    with pytest.raises(psycopg.errors.InsufficientPrivilege), service.transaction():
                        service.execute(call)


def test_attaching_waits_for_no_long_transaction_of_the_service(
    service: psycopg.Connection, dsn: str
) -> None:
    setting = "SELECT proconfig FROM pg_proc WHERE proname = %s AND pronamespace = 'jtd'::regnamespace"
    for function in ("attach_source", "detach_source"):
        assert "lock_timeout=5s" in one(service, setting, function)


# The self-check


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("DROP TABLE invitations", "its trigger is gone: invitations was dropped, or the trigger was;"),
        ("DROP TRIGGER jtd_source_user_invite ON invitations", "its trigger is gone"),
        ("ALTER TABLE invitations DISABLE TRIGGER USER", "its trigger on public.invitations is disabled;"),
        (
            "ALTER TABLE invitations RENAME TO invites",
            "attached to public.invites, but source_table says invitations",
        ),
        ("ALTER TABLE invitations DROP COLUMN invitee", "recipient_name comes from column 'invitee'"),
        (
            "ALTER TABLE invitations ALTER tenant_id DROP NOT NULL",
            "'tenant_id', which is not a uuid and NOT NULL",
        ),
    ],
)
def test_check_names_attached_sources_that_no_longer_fit(
    service: psycopg.Connection, dsn: str, change: str, says: str
) -> None:
    attach(service)
    worker = make_conninfo(dsn, options="-c role=jtd_worker")
    before = call(worker, "check", **SERVED)
    assert found(before, "ok")["source user_invite"] == "makes a job of each row inserted into its table"
    assert "source user_invite" not in found(before, "warning")
    service.execute(change.encode())
    after = call(worker, "check", **SERVED)
    assert after.code == 0
    told = found(after, "warning")["source user_invite"]
    assert says in told
    assert told.endswith(
        "; correct n_jtd_source_types and call jtd.attach_source again, or jtd.detach_source"
    )


def test_check_names_schemas_and_what_of_them_is_not_checked(service: psycopg.Connection, dsn: str) -> None:
    service.execute("UPDATE n_jtd_event_types SET payload_schema = '{}' WHERE code IN ('task', 'payment')")
    service.execute("ALTER TABLE n_jtd_event_types DISABLE TRIGGER n_jtd_event_types_keep_schema")
    service.execute(
        "UPDATE n_jtd_event_types SET payload_schema = '{\"pattern\": \"a\"}' WHERE code = 'task'"
    )
    ended = call(dsn, "check", **SERVED)
    assert found(ended, "ok")["schema payment"] == "is checked when a job is made"
    assert found(ended, "warning")["schema task"].startswith(
        "payload: keyword 'pattern' is not supported; correct"
    )
