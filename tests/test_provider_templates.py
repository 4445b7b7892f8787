"""What a provider has approved goes as its id with parameters: in order, checked, the same on every retry."""

from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.rows import dict_row

from jtd_worker.errors import RenderError
from jtd_worker.message import ProviderTemplate
from jtd_worker.render import render
from jtd_worker.templates import CompiledTemplate, Template, Variable
from jtd_worker.testing.http_server import ThreadedHttpServer, answer
from tests.daemon import eventually, running
from tests.jobs import TENANT, insert_jtd, one, row
from tests.test_render import SECRET, compiled, jtd
from tests.test_worker import webhook
from tests.worker_calls import Worker, move, result

PINNED = [
    "provider_template_id",
    "parameter_format",
    "language",
    "locale",
    "dlt_entity_id",
    "dlt_template_id",
]


def approved(*names: str, **changes: Any) -> CompiledTemplate:
    """A template known to a provider as `order_update`, whose variables are all optional."""
    variables = tuple(Variable(name=name, required=False) for name in names)
    return compiled(**{"provider_template_id": "order_update", "variables": variables, **changes})


def filled(template: CompiledTemplate, **changes: Any) -> ProviderTemplate:
    found = render(jtd(**changes), template).template
    assert found is not None
    return found


def refused(template: CompiledTemplate, **changes: Any) -> tuple[str, str]:
    with pytest.raises(RenderError) as caught:
        render(jtd(**changes), template)
    assert SECRET not in str(caught.value)
    return caught.value.code, str(caught.value)


# Parameters


def test_an_approved_template_goes_as_its_id_with_the_declared_variables_in_their_order() -> None:
    template = compiled(
        "Dear {{ name }}, {{ order }} comes on {{ day }}.{{ note or '' }}",
        provider_template_id="order_update",
        language="en_US",
        dlt_entity_id="1201159",
        dlt_template_id="1207160",
        variables=(
            Variable(name="order"),
            Variable(name="name"),
            Variable(name="note", required=False),
            Variable(name="day", required=False, default="Monday"),
        ),
    )
    message = render(jtd(payload={"name": "Ann", "order": 42, "extra": "x"}), template)
    assert message.template == ProviderTemplate(
        id="order_update",
        language="en_US",
        format="positional",
        parameters=(("order", "42"), ("name", "Ann"), ("note", ""), ("day", "Monday")),
        dlt_entity_id="1201159",
        dlt_template_id="1207160",
    )
    assert message.text == "Dear Ann, 42 comes on Monday."
    assert "Ann" not in repr(message)


def test_a_template_that_no_provider_knows_goes_as_text_alone() -> None:
    assert render(jtd(), compiled("Hi", language="en", parameter_format="named")).template is None


def test_with_dlt_ids_alone_the_registered_text_is_the_text_of_the_message() -> None:
    template = compiled("Code {{ code }}", dlt_template_id="1207160", variables=(Variable(name="code"),))
    message = render(jtd(payload={"code": "123"}, channel_code="sms"), template)
    assert message.text == "Code 123"
    assert message.template == ProviderTemplate(
        id="", language="en", format="positional", parameters=(("code", "123"),), dlt_template_id="1207160"
    )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(JSON.filter(lambda value: value is not None))
def test_a_parameter_is_what_its_name_in_braces_would_write(value: Any) -> None:
    written = compiled("{{ x }}").render({"x": value}, jtd().created_at).text
    assert filled(approved("x"), payload={"x": value}).parameters == (("x", written),)


def test_a_positional_parameter_may_stand_in_two_places_and_have_any_name() -> None:
    template = approved("first name", "order", "first name")
    assert filled(template, payload={"first name": "Ann", "order": "7"}).parameters == (
        ("first name", "Ann"),
        ("order", "7"),
        ("first name", "Ann"),
    )


def test_many_parameters_of_a_large_value_cost_too_much() -> None:
    payload = {"x": SECRET * 50_000}
    assert refused(approved(*["x"] * 20), payload=payload)[0] == "template_too_costly"


def test_what_is_missing_is_named_before_anything_is_sent() -> None:
    template = approved(content="{{ undeclared }}", variables=(Variable(name="b"), Variable(name="a")))
    assert refused(template) == ("variables_missing", "missing: a, b, undeclared")


@pytest.mark.parametrize("name", ["now", "items"])
def test_what_only_a_template_knows_is_no_parameter(name: str) -> None:
    assert refused(approved(variables=(Variable(name=name),))) == ("variables_missing", f"missing: {name}")


def test_named_parameters_keep_their_names() -> None:
    template = approved("order_id", "name2", parameter_format="named")
    found = filled(template, payload={"name2": "Ann", "order_id": "7"})
    assert (found.format, found.parameters) == ("named", (("order_id", "7"), ("name2", "Ann")))


@pytest.mark.parametrize("names", [["Order"], ["order-id"], ["größe"], ["a b"], ["x", "y", "x"], ["a\n"]])
def test_a_named_parameter_without_a_proper_name_of_its_own_is_an_invalid_template(names: list[str]) -> None:
    code, reason = refused(approved("fine", *names, parameter_format="named"))
    assert code == "template_invalid"
    assert names[0] in reason
    assert "fine" not in reason


def test_an_unknown_format_is_an_invalid_template() -> None:
    with pytest.raises(RenderError) as caught:
        Template.from_row({**EMPTY, "parameter_format": "both"})
    assert caught.value.code == "template_invalid"


EMPTY = {
    "id": UUID(int=9), "version": 1, "template_key": "k", "channel_code": "whatsapp", "locale": None,
    "subject": None, "content": "", "content_html": None, "variables": ["a"], "layouts": {},
    "provider_template_id": "", "parameter_format": None, "language": "", "dlt_entity_id": "",
    "dlt_template_id": "",
}  # fmt: skip


def test_empty_columns_name_no_approved_template() -> None:
    assert render(jtd(payload={"a": "x"}), CompiledTemplate(Template.from_row(EMPTY))).template is None


# WhatsApp


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ("", "is blank"),
        (None, "is blank"),
        (" \u00a0 ", "is blank"),
        (f"{SECRET}\n", "has a line break"),
        (f"{SECRET}\r\nb", "has a line break"),
        (f"{SECRET}\u2028b", "has a line break"),
        (f"{SECRET}\x85b", "has a line break"),
        (f"{SECRET}\tb", "has a tab"),
        (f"{SECRET}     b", "has more than 4 spaces in a row"),
    ],
)
def test_what_whatsapp_would_take_and_not_deliver_is_refused(value: str | None, fault: str) -> None:
    template, payload = approved("fine", "odd"), {"fine": "x", "odd": value}
    code, reason = refused(template, channel_code="whatsapp", payload=payload)
    assert code == "parameter_unsafe"
    assert reason.endswith(f": odd {fault}")
    assert filled(template, channel_code="sms", payload=payload).parameters[1] == ("odd", value or "")


def test_every_parameter_that_would_not_be_delivered_is_named() -> None:
    payload = {"a": "", "b": "fine", "c": "x\ty"}
    reason = refused(approved("a", "b", "c"), channel_code="whatsapp", payload=payload)[1]
    assert reason == "WhatsApp delivers no such parameters: a is blank, c has a tab"


@pytest.mark.parametrize("value", ["x", "a    b", " a ", "नमस्ते 🙂", 0, False])
def test_other_values_go_to_whatsapp_as_they_are(value: Any) -> None:
    found = filled(approved("x"), channel_code="whatsapp", payload={"x": value})
    assert found.parameters == (("x", str(value)),)


# What the row says


@pytest.mark.parametrize(
    ("channel", "metadata", "expected"),
    [
        ("whatsapp", {"whatsapp_template": "w", "template_id": "t"}, "w"),
        ("whatsapp", {"whatsapp_template": "w", "template_id": 7}, "w"),
        ("whatsapp", {"whatsapp_template": None, "template_id": "t"}, "t"),
        ("whatsapp", {"whatsapp_template": ""}, "order_update"),
        ("sms", {"whatsapp_template": "w", "template_id": "t"}, "t"),
        ("sms", {"whatsapp_template": 7}, "order_update"),
        ("email", {"template_id": "t" * 200}, "t" * 200),
        ("email", {"template_id": None}, "order_update"),
    ],
)
def test_the_metadata_of_a_row_may_name_another_template(
    channel: str, metadata: dict[str, Any], expected: str
) -> None:
    assert filled(approved(), channel_code=channel, metadata=metadata).id == expected


def test_the_metadata_of_a_row_may_name_a_template_where_none_was_entered() -> None:
    template = compiled("Hi {{ name }}", variables=(Variable(name="name"),))
    found = filled(template, payload={"name": "Ann"}, metadata={"template_id": "hello"})
    assert (found.id, found.parameters) == ("hello", (("name", "Ann"),))


@pytest.mark.parametrize("key", ["whatsapp_template", "template_id"])
@pytest.mark.parametrize("odd", [7, True, ["t"], {"id": "t"}, "t" * 201, "a\nb", " "])
def test_metadata_that_names_no_template_is_refused(key: str, odd: Any) -> None:
    code, reason = refused(approved(), channel_code="whatsapp", metadata={key: odd})
    assert (code, key in reason) == ("payload_invalid", True)


@pytest.mark.parametrize(
    ("language", "of_row", "of_template", "expected"),
    [
        ("en_GB", "de", "fr", "en_GB"),
        (None, "de", "fr", "de"),
        (None, None, "fr", "fr"),
        (None, None, None, None),
    ],
)
def test_the_language_is_the_approved_one_else_the_rows_else_the_templates(
    language: str | None, of_row: str | None, of_template: str | None, expected: str | None
) -> None:
    assert filled(approved(language=language, locale=of_template), locale=of_row).language == expected


# The same on every retry


def add_template(db: psycopg.Connection, **columns: Any) -> UUID:
    given = {
        "template_key": "k",
        "name": "k",
        "channel_code": "whatsapp",
        "content": "Dear {{ name }}",
        "variables": '["name"]',
        "provider_template_id": "first",
        "parameter_format": "positional",
        "language": "en",
        "locale": None,
        "dlt_entity_id": "1",
        "dlt_template_id": "2",
    } | columns
    names, marks = ", ".join(given), ", ".join(["%s"] * len(given))
    statement = f"INSERT INTO n_jtd_templates ({names}) VALUES ({marks}) RETURNING id"
    return UUID(str(one(db, statement, *given.values())))


def sent_by(db: psycopg.Connection, job: Any) -> ProviderTemplate | None:
    """What a worker that claimed `job` would send."""
    with db.cursor(row_factory=dict_row) as cursor:
        keys = [[job.template_id], [job.template_version]]
        [found] = cursor.execute("SELECT * FROM jtd.templates_v2(%s, %s)", keys).fetchall()
    claimed = jtd(
        channel_code=job.channel_code, payload=job.payload, metadata=job.metadata, locale=job.locale
    )
    return render(claimed, CompiledTemplate(Template.from_row(found))).template


def insert(db: psycopg.Connection, **columns: Any) -> UUID:
    given = {"channel_code": "whatsapp", "recipient_contact": "+4915112345678", "template_key": "k"}
    return insert_jtd(db, **{**given, "payload": {"name": "Ann"}, **columns})


def test_a_retry_sends_the_parameters_of_its_first_attempt_to_the_same_template(
    db: psycopg.Connection,
) -> None:
    worker = Worker(db)
    template = add_template(db, language=None, locale="en")
    retried = insert(db, template_id=template)
    first = worker.claim_one("jtd_whatsapp")
    sent = sent_by(db, first)
    assert sent == ProviderTemplate(
        id="first", language="en", format="positional", parameters=(("name", "Ann"),),
        dlt_entity_id="1", dlt_template_id="2",
    )  # fmt: skip
    worker.settle(result(first, "retry", code="later"))
    db.execute(
        "UPDATE n_jtd_templates SET variables = '[]', provider_template_id = 'second', dlt_entity_id = '3',"
        " dlt_template_id = '4', parameter_format = 'named', locale = 'de' WHERE id = %s",
        [template],
    )
    move(db, retried, "next_retry_at = NULL")
    insert(db, template_id=template)
    worker.tick()
    second, new = sorted(worker.claim("jtd_whatsapp"), key=lambda job: -job.attempt)
    assert (second.id, second.attempt, second.template_version) == (retried, 2, 1)
    assert sent_by(db, second) == sent
    assert sent_by(db, new) == ProviderTemplate(
        id="second", language="de", format="named", parameters=(), dlt_entity_id="3", dlt_template_id="4"
    )


@pytest.mark.parametrize("column", PINNED)
@pytest.mark.parametrize("new", ["named", None])
def test_another_approved_template_is_a_new_version_and_the_former_one_is_kept(
    db: psycopg.Connection, column: str, new: str | None
) -> None:
    template = add_template(db, locale="en")
    old = one(db, f"SELECT {column} FROM n_jtd_templates WHERE id = %s", template)
    for _ in range(2):  # the second one changes nothing
        db.execute(f"UPDATE n_jtd_templates SET {column} = %s WHERE id = %s".encode(), [new, template])
    assert one(db, "SELECT version FROM n_jtd_templates WHERE id = %s", template) == 2
    statement = f"SELECT version, {column} FROM jtd.templates_v2(%s, %s) ORDER BY version"
    assert db.execute(statement.encode(), [[template] * 2, [1, 2]]).fetchall() == [(1, old), (2, new)]


def test_a_version_that_a_layout_ended_keeps_what_providers_know_it_by(db: psycopg.Connection) -> None:
    template = add_template(
        db,
        content="{% extends 'layout_k' %}",
        parameter_format="named",
        locale="en",
    )
    db.execute("BEGIN")
    db.execute("UPDATE n_jtd_templates SET created_at = now() - interval '1 day' WHERE id = %s", [template])
    add_template(db, template_key="layout_k", content="L")
    db.execute("COMMIT")
    names = ", ".join(PINNED)
    statement = f"SELECT version, {names} FROM jtd.templates_v2(%s, %s) ORDER BY version"
    rows = db.execute(statement.encode(), [[template] * 2, [1, 2]]).fetchall()
    assert rows == [(version, "first", "named", "en", "en", "1", "2") for version in (1, 2)]


def test_a_running_worker_sends_a_retry_from_the_version_of_its_first_attempt(
    dsn: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    template = add_template(db, channel_code="email", provider_template_id=None, variables='["name", "Name"]')
    columns = {"template_key": "k", "channel_code": "email", "payload": {"name": "Ann", "Name": "ANN"}}
    with (
        ThreadedHttpServer(answer(500)) as failing,
        running(dsn, "email:webhook", tmp_path, **webhook(failing)),
    ):
        retried = insert_jtd(db, **columns)
        eventually(lambda: row(db, retried)["retry_count"] == 1)
    # two names that no named parameters can have
    db.execute(
        "UPDATE n_jtd_templates SET provider_template_id = 'x', parameter_format = 'named' WHERE id = %s",
        [template],
    )
    new = insert_jtd(db, **columns)
    move(db, retried, "next_retry_at = NULL")
    with (
        ThreadedHttpServer(answer(200)) as server,
        running(dsn, "email:webhook", tmp_path, **webhook(server)),
    ):
        eventually(lambda: row(db, retried)["status_code"] == "sent")
        eventually(lambda: row(db, new)["error_code"] == "template_invalid")


def test_a_job_whose_parameter_whatsapp_would_not_deliver_fails_and_says_which(
    dsn: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    add_template(db, tenant_id=TENANT)
    sent, unsafe = insert(db), insert(db, payload={"name": f"Ann\n{SECRET}"})
    with running(dsn, "whatsapp:outbox", tmp_path) as daemon:
        eventually(lambda: row(db, sent)["status_code"] == "sent")
        eventually(lambda: row(db, unsafe)["status_code"] == "failed")
    failed = row(db, unsafe)
    assert failed["error_code"] == "parameter_unsafe"
    assert failed["error_message"].endswith("name has a line break")
    assert SECRET not in failed["error_message"] + daemon.text
