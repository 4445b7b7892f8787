"""The adapters that send nothing out of the house: outbox, in-app, memory and no-op."""

from dataclasses import replace
from datetime import UTC, datetime
from types import ModuleType
from typing import Any
from uuid import UUID

import pytest
from pydantic import ValidationError

from jtd_worker.channels import any_memory, any_noop, any_outbox, inapp_db
from jtd_worker.message import Attachment, Message
from jtd_worker.result import Delivery, Refused, Retry, Scope, Sent

USER = "01890000-0000-7000-8000-0000000000cc"
MODULES = [any_memory, any_noop, any_outbox, inapp_db]

MESSAGE = Message(
    jtd_id=UUID("01890000-0000-7000-8000-000000000001"),
    tenant_id=UUID("01890000-0000-7000-8000-0000000000aa"),
    channel="inapp",
    event_type="notification",
    source_type="payment_received",
    idempotency_key="jtd-1",
    created_at=datetime(2030, 1, 2, tzinfo=UTC),
    to=USER,
    name="Zoë",
    subject="Paid",
    text="First line\nsecond line",
    html="<p>First line</p>",
    attachments=(Attachment(name="r.pdf", media_type="application/pdf", content=b"12345"),),
    reply_to="billing@tenant.example",
    locale="en-IE",
    metadata={"reminder_key": "r-1"},
)


async def notification(**changes: Any) -> dict[str, Any]:
    [result] = await inapp_db.build(inapp_db.Settings(), "inapp").send([replace(MESSAGE, **changes)])
    assert isinstance(result, Sent), result
    assert result.delivery is not None
    assert result.delivery.kind == "inapp"
    return dict(result.delivery.row)


async def refusal(**changes: Any) -> Refused:
    [result] = await inapp_db.build(inapp_db.Settings(), "inapp").send([replace(MESSAGE, **changes)])
    assert isinstance(result, Refused), result
    assert result.retry is Retry.NEVER
    return result


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__.rpartition(".")[2])
async def test_every_module_builds_an_adapter_that_answers_each_message_of_a_full_batch(
    module: ModuleType,
) -> None:
    adapter = module.build(module.Settings(), "inapp")
    assert adapter.capabilities == module.CAPABILITIES
    batch = [MESSAGE] * adapter.capabilities.batch_size
    results = await adapter.send(batch)
    assert [type(result) for result in results] == [Sent] * len(batch)
    assert await adapter.send([]) == []
    await adapter.aclose()


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__.rpartition(".")[2])
def test_no_module_has_a_setting(module: ModuleType) -> None:
    with pytest.raises(ValidationError, match="Extra inputs"):
        module.Settings(colour="red")


@pytest.mark.parametrize("module", [any_noop, any_outbox, inapp_db])
def test_what_stays_in_the_database_needs_no_hand_off_and_takes_a_thousand(module: ModuleType) -> None:
    assert module.CAPABILITIES.transactional
    assert not module.CAPABILITIES.needs_hand_off
    assert module.CAPABILITIES.batch_size == 1000


async def test_the_outbox_keeps_what_would_have_been_sent() -> None:
    [result] = await any_outbox.build(any_outbox.Settings(), "email").send([MESSAGE])
    assert result == Sent(
        delivery=Delivery(
            kind="outbox",
            row={
                "jtd_id": "01890000-0000-7000-8000-000000000001",
                "tenant_id": "01890000-0000-7000-8000-0000000000aa",
                "channel_code": "inapp",
                "recipient": USER,
                "recipient_name": "Zoë",
                "subject": "Paid",
                "content": "First line\nsecond line",
                "content_html": "<p>First line</p>",
                "metadata": {
                    "reply_to": "billing@tenant.example",
                    "locale": "en-IE",
                    "attachments": [{"name": "r.pdf", "media_type": "application/pdf", "bytes": 5}],
                },
            },
        )
    )


async def test_the_noop_adapter_writes_nothing() -> None:
    assert await any_noop.build(any_noop.Settings(), "sms").send([MESSAGE, MESSAGE]) == [Sent(), Sent()]


async def test_the_memory_keeps_messages_in_order_with_duplicates_and_after_closing() -> None:
    adapter = any_memory.build(any_memory.Settings(), "sms")
    other = replace(MESSAGE, idempotency_key="jtd-2")
    first = await adapter.send([MESSAGE, other])
    second = await adapter.send([MESSAGE])
    await adapter.aclose()
    assert adapter.messages == [MESSAGE, other, MESSAGE]
    ids = [result.provider_message_id for result in [*first, *second] if isinstance(result, Sent)]
    assert ids == ["memory-1", "memory-2", "memory-3"]
    assert adapter.capabilities.needs_hand_off


def test_each_memory_has_a_list_of_its_own() -> None:
    settings = any_memory.Settings()
    assert any_memory.build(settings, "sms").messages is not any_memory.build(settings, "sms").messages


async def test_a_notification_has_the_columns_of_its_table() -> None:
    assert await notification() == {
        "tenant_id": "01890000-0000-7000-8000-0000000000aa",
        "user_id": USER,
        "title": "Paid",
        "body": "First line\nsecond line",
        "notification_type": "info",
        "category": "payment_received",
        "action_url": None,
        "action_label": None,
        "metadata": {"reminder_key": "r-1"},
        "source_jtd_id": "01890000-0000-7000-8000-000000000001",
    }


@pytest.mark.parametrize("to", ["", "zoe@example.com", "+14155550123", USER[:-1], f"{USER} "])
async def test_a_recipient_that_is_no_user_id_is_refused_for_good_and_not_shown(to: str) -> None:
    result = await refusal(to=to)
    assert (result.scope, result.code) == (Scope.RECIPIENT, "not_a_user_id")
    assert not to or to not in result.reason


async def test_a_user_id_is_written_in_its_usual_form() -> None:
    assert (await notification(to=USER.upper()))["user_id"] == USER


@pytest.mark.parametrize("subject", [None, ""])
async def test_without_a_subject_the_first_line_is_the_title(subject: str | None) -> None:
    row = await notification(subject=subject, text="\n\n  A line \nanother")
    assert (row["title"], row["body"]) == ("A line", "\n\n  A line \nanother")
    assert len((await notification(subject=subject, text="x" * 1000))["title"]) == 120


async def test_a_notification_that_says_nothing_is_refused() -> None:
    result = await refusal(subject=None, text=" \n ")
    assert (result.scope, result.code) == (Scope.MESSAGE, "message_empty")


@pytest.mark.parametrize("kind", ["info", "success", "warning", "error", "action"])
async def test_the_metadata_names_the_type(kind: str) -> None:
    assert (await notification(metadata={"notification_type": kind}))["notification_type"] == kind


@pytest.mark.parametrize("kind", ["urgent", "", None, 3, ["info"], {"info": True}])
async def test_any_other_type_is_info(kind: Any) -> None:
    assert (await notification(metadata={"notification_type": kind}))["notification_type"] == "info"


async def test_the_action_comes_from_the_metadata_else_from_the_variables() -> None:
    variables = {"action_url": "/from/variables", "action_label": "Open"}
    row = await notification(
        metadata={"action_url": " /from/metadata ", "action_label": 7}, variables=variables
    )
    assert (row["action_url"], row["action_label"]) == ("/from/metadata", "Open")
    row = await notification(variables=variables)
    assert (row["action_url"], row["action_label"]) == ("/from/variables", "Open")


@pytest.mark.parametrize("value", ["", "  ", None, 7, ["/x"], {"url": "javascript:1"}])
async def test_an_action_that_is_no_text_is_none(value: Any) -> None:
    assert (await notification(metadata={"action_url": value}))["action_url"] is None


@pytest.mark.parametrize(
    "url",
    [
        "/contracts/12?at=10:30#top",
        "contracts/12?next=javascript:1",
        "?tab=2:1",
        "#a:b",
        "https://app.example/x",
        "HTTP://app.example/",
        "mailto:zoe@example.com",
        "tel:+14155550123",
    ],
)
async def test_a_link_that_runs_no_script_is_kept(url: str) -> None:
    assert (await notification(metadata={"action_url": url}))["action_url"] == url


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "JavaScript:alert(1)",
        "\x01javascript:alert(1)",
        "java\tscript:alert(1)",
        "java\nscript:alert(1)",
        "\u00a0javascript:alert(1)\x00",
        "javascript&colon;alert(1):",
        "data:text/html,<script>1</script>",
        "vbscript:x",
        "blob:https://app.example/1",
        "file:///etc/passwd",
        ":x",
    ],
)
@pytest.mark.parametrize("source", ["metadata", "variables"])
async def test_a_link_that_could_run_a_script_is_refused_for_good(url: str, source: str) -> None:
    result = await refusal(**{source: {"action_url": url}})
    assert (result.scope, result.code) == (Scope.MESSAGE, "action_url_unsafe")
    assert url not in result.reason


async def test_one_bad_message_does_not_harm_its_neighbours() -> None:
    batch = [MESSAGE, replace(MESSAGE, to="nobody"), MESSAGE]
    results = await inapp_db.build(inapp_db.Settings(), "inapp").send(batch)
    assert [type(result) for result in results] == [Sent, Refused, Sent]
