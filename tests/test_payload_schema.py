"""A payload that does not fit the schema of its event type is accepted, and noted without its values."""

import json
from typing import Any
from uuid import UUID

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.types.json import Jsonb

from tests.command import call
from tests.jobs import TENANT, Step, history, insert_jtd, insert_many, messages, one
from tests.test_enqueue import TO_QUEUED

KEYWORDS = (
    "type", "required", "properties", "enum", "items", "minLength", "maxLength", "minimum", "maximum",
    "additionalProperties",
)  # fmt: skip
PAYMENT = {
    "type": "object",
    "required": ["amount", "currency"],
    "properties": {"amount": {"type": "number", "minimum": 0}, "currency": {"enum": ["EUR", "USD"]}},
}


def misfits(db: psycopg.Connection, schema: Any, payload: Any) -> list[str]:
    found: list[str] = one(db, "SELECT jtd.misfits(%s, %s)", Jsonb(schema), Jsonb(payload))
    return found


def mistakes(db: psycopg.Connection, schema: Any) -> list[str]:
    found: list[str] = one(db, "SELECT jtd.schema_mistakes(%s)", Jsonb(schema))
    return found


def set_schema(db: psycopg.Connection, schema: Any, event_type: str = "notification") -> None:
    db.execute(
        "UPDATE n_jtd_event_types SET payload_schema = %s WHERE code = %s", (Jsonb(schema), event_type)
    )


def notes(db: psycopg.Connection, jtd_id: UUID) -> list[str]:
    rows = db.execute(
        "SELECT reason FROM n_jtd_history WHERE jtd_id = %s AND action = 'note' ORDER BY id", (jtd_id,)
    ).fetchall()
    return [reason for (reason,) in rows]


# The job


def test_a_payload_that_does_not_fit_is_accepted_and_noted(db: psycopg.Connection, dsn: str) -> None:
    set_schema(db, PAYMENT)
    jtd_id = insert_jtd(db, payload={"amount": "whisper", "currency": "whisper"})
    assert messages(db, "jtd_email") == [jtd_id]
    assert history(db, jtd_id) == [*TO_QUEUED, Step("note", "queued", "queued", True)]
    [reason] = notes(db, jtd_id)
    assert sorted(reason.removeprefix("the payload does not fit its schema: ").split("; ")) == [
        "payload.amount is string, not number",
        "payload.currency is not one of those allowed",
    ]
    shown = call(dsn, "show", str(jtd_id)).out
    assert "payload.amount is string, not number" in " ".join(shown.split())
    assert "whisper" not in shown


def test_only_jobs_that_do_not_fit_get_a_note(db: psycopg.Connection) -> None:
    set_schema(db, PAYMENT, "payment")
    rows = [
        ("payment", {"amount": 5, "currency": "EUR"}, 0),
        ("payment", {"amount": -5}, 1),
        ("notification", {"amount": -5}, 0),
        ("payment", {}, 1),
    ]
    found = db.execute(
        "INSERT INTO n_jtd ("
        " tenant_id, event_type_code, source_type_code, channel_code, recipient_contact, payload)"
        " SELECT %s, e, 'user_invite', 'email', 'a@b.example', p"
        " FROM unnest(%s::text[], %s::jsonb[]) AS r (e, p) RETURNING id",
        (TENANT, [event for event, _, _ in rows], [Jsonb(payload) for _, payload, _ in rows]),
    ).fetchall()
    assert [len(notes(db, jtd_id)) for (jtd_id,) in found] == [count for _, _, count in rows]


def test_work_is_checked_too_and_imported_jobs_are_not(db: psycopg.Connection) -> None:
    set_schema(db, PAYMENT, "task")
    set_schema(db, PAYMENT)
    task = insert_jtd(db, event_type_code="task", source_type_code="manual", channel_code=None, payload={})
    assert len(notes(db, task)) == 1
    assert notes(db, insert_jtd(db, status_code="sent", payload={})) == []


def test_the_note_names_who_made_the_job(db: psycopg.Connection) -> None:
    set_schema(db, PAYMENT)
    with db.transaction():
        db.execute("SET LOCAL jtd.actor = 'vani'")
        insert_jtd(db, payload={})
    insert_jtd(db, payload={})
    by = "SELECT performed_by_type, performed_by_name FROM n_jtd_history WHERE action = 'note' ORDER BY id"
    assert db.execute(by.encode()).fetchall() == [
        ("vani", "VaNi"),
        ("system", one(db, "SELECT session_user::text")),
    ]


def test_without_a_schema_no_payload_is_looked_at(db: psycopg.Connection) -> None:
    db.execute("DROP FUNCTION jtd.misfits")  # its caller would fail
    assert len(insert_many(db, 100)) == 100
    set_schema(db, PAYMENT)
    with pytest.raises(psycopg.errors.UndefinedFunction):
        insert_jtd(db)


# The schema


@pytest.mark.parametrize(
    ("schema", "payload", "expected"),
    [
        ({}, {"a": [1]}, []),
        ({"type": "object"}, {}, []),
        ({"type": "object"}, [], [" is array, not object"]),
        ({"type": ["string", "null"]}, None, []),
        ({"type": ["string", "null"]}, 5, [" is number, not string or null"]),
        ({"type": "integer"}, 1.0, []),
        ({"type": "integer"}, 1.5, [" is number, not integer"]),
        ({"type": "integer"}, "1", [" is string, not integer"]),
        ({"type": "number"}, 10**400, []),
        ({"type": "boolean"}, False, []),
        ({"type": []}, 5, [" is number, not "]),
        ({"required": ["a", "b"]}, {"b": None}, [".a is missing"]),
        ({"required": ["a"]}, "no object", []),
        (
            {"properties": {"a": {"properties": {"b": {"type": "string"}}}}},
            {"a": {"b": 1}},
            [".a.b is number, not string"],
        ),
        ({"properties": {"a": {"type": "string"}}}, {}, []),
        ({"properties": {"a": {"type": "string"}}}, ["a"], []),
        (
            {"items": {"type": "string"}},
            ["a", 1, "b", None],
            ["[1] is number, not string", "[3] is null, not string"],
        ),
        ({"items": {"items": {"minimum": 2}}}, [[2], [3, 1]], ["[1][1] is less than 2"]),
        ({"items": {"type": "string"}}, {"a": 1}, []),
        ({"enum": ["a", 1, None, {"b": [1]}]}, {"b": [1.0]}, []),
        ({"enum": [1, "a"]}, "1", [" is not one of those allowed"]),
        ({"enum": []}, 1, [" is not one of those allowed"]),
        ({"minLength": 2, "maxLength": 2}, "äö", []),
        ({"minLength": 2}, "ä", [" is shorter than 2"]),
        ({"maxLength": 1}, "äö", [" is longer than 1"]),
        ({"maxLength": 1}, 55, []),
        ({"minimum": 0, "maximum": 0}, 0, []),
        ({"minimum": 0.5}, 0, [" is less than 0.5"]),
        ({"maximum": -1}, 0, [" is more than -1"]),
        ({"minimum": 5}, "1", []),
        (
            {"properties": {"a": {}}, "additionalProperties": False},
            {"a": 1, "tpyo": 2},
            [".tpyo is not known"],
        ),
        ({"additionalProperties": False}, {"john@example.com": 1}, [" has a key that is not known"]),
        ({"additionalProperties": True}, {"a": 1}, []),
        ({"additionalProperties": False}, ["a"], []),
        ({"title": "Pay", "default": {"type": 5}}, 5, []),
    ],
)
def test_what_does_not_fit_is_named_by_its_place(
    db: psycopg.Connection, schema: Any, payload: Any, expected: list[str]
) -> None:
    assert misfits(db, schema, payload) == [f"payload{place}" for place in expected]
    if schema != {"type": []}:
        assert mistakes(db, schema) == []


@pytest.mark.parametrize(
    ("schema", "says"),
    [
        (5, "payload: the schema is not an object"),
        ({"pattern": "^a"}, "payload: keyword 'pattern' is not supported"),
        ({"properties": {"a": {"format": "email"}}}, "payload.a: keyword 'format' is not supported"),
        ({"items": {"items": {"const": 1}}}, "payload[][]: keyword 'const' is not supported"),
        ({"properties": {"a": True}}, "payload.a: the schema is not an object"),
        ({"items": [{}]}, "payload[]: the schema is not an object"),
        ({"type": "text"}, "payload: type is not one of"),
        ({"type": ["string", 5]}, "payload: type is not one of"),
        ({"type": []}, "payload: type is not one of"),
        ({"required": "a"}, "payload: required is not a list of names"),
        ({"required": [5]}, "payload: required is not a list of names"),
        ({"properties": ["a"]}, "payload: properties is not an object"),
        ({"enum": "a"}, "payload: enum is not a list"),
        ({"maximum": "5"}, "payload: maximum is not a number"),
        ({"additionalProperties": {}}, "payload: additionalProperties is neither true nor false"),
    ],
)
def test_a_schema_that_would_not_be_checked_is_refused_when_it_is_written_and_named_if_it_is_there(
    db: psycopg.Connection, dsn: str, schema: Any, says: str
) -> None:
    with pytest.raises(
        psycopg.Error, match="payload_schema of event type notification cannot be checked"
    ) as raised:
        set_schema(db, schema)
    assert raised.value.sqlstate == "JT063"
    assert says in str(raised.value)
    db.execute("ALTER TABLE n_jtd_event_types DISABLE TRIGGER n_jtd_event_types_keep_schema")
    set_schema(db, schema)
    insert_jtd(db)
    found = one(db, "SELECT mistake FROM jtd.masters_v1() WHERE subject = 'schema' AND name = 'notification'")
    assert says in found


def nested(levels: int, inner: Any, key: str) -> Any:
    for _ in range(levels):
        inner = {key: {"a": inner}} if key == "properties" else {"a": inner}
    return inner


def test_a_check_goes_eight_levels_deep(db: psycopg.Connection) -> None:
    for levels, refused in ((8, False), (9, True), (300, True)):
        schema = nested(levels, {"type": "string"}, "properties")
        payload = nested(levels, 5, "payload")
        assert bool(mistakes(db, schema)) is refused
        assert bool(misfits(db, schema, payload)) is not refused


def test_a_check_is_bounded_in_what_it_looks_at_and_what_it_names(db: psycopg.Connection) -> None:
    assert len(misfits(db, {"items": {"type": "string"}}, list(range(100)))) == 10
    assert misfits(db, {"items": {"type": "string"}}, [*["a"] * 998, 5]) == [
        "payload[998] is number, not string"
    ]
    assert misfits(db, {"items": {"type": "string"}}, [*["a"] * 999, 5]) == []
    set_schema(db, {"required": [f"{'k' * 40}{n}" for n in range(100)]})
    [reason] = notes(db, insert_jtd(db))
    assert len(reason) < 2000


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from([*KEYWORDS, "string", "object", "array", "integer", "a", ""]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from([*KEYWORDS, "a", "b", ""]), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(schema=JSON, payload=JSON)
def test_no_schema_at_all_fails_the_insert_of_a_job(
    db: psycopg.Connection, schema: Any, payload: Any
) -> None:
    with db.transaction(force_rollback=True):
        db.execute("ALTER TABLE n_jtd_event_types DISABLE TRIGGER n_jtd_event_types_keep_schema")
        set_schema(db, schema)
        jtd_id = insert_jtd(
            db, payload=json.loads(json.dumps(payload)) if isinstance(payload, dict) else {"a": payload}
        )
        assert len(notes(db, jtd_id)) <= 1
        assert len(mistakes(db, schema)) <= 10
