"""Several messages in one request: results by place, and none suffers for another."""

import asyncio
import json
from collections.abc import Callable, Sequence
from contextlib import aclosing

import pytest
from pydantic import HttpUrl

from jtd_worker.adapter import Capabilities, UnknownRule
from jtd_worker.errors import ConfigurationError, RecipientError
from jtd_worker.http_adapter import BatchHttpAdapter, HttpSettings, json_body
from jtd_worker.http_exchange import Answer, HttpRequest
from jtd_worker.message import Attachment, Message
from jtd_worker.result import Refused, Retry, Scope, SendResult, Sent, Throttled, Unknown
from jtd_worker.testing import sample
from jtd_worker.testing.http_server import HttpServer, Request, Script, Step, Steps, answer
from jtd_worker.verdict import accepted, refusal


def adapter(
    server: HttpServer,
    *,
    size: int = 50,
    read: Callable[[Answer, Sequence[Message]], Sequence[SendResult]] | None = None,
) -> BatchHttpAdapter:
    settings = HttpSettings(base_url=HttpUrl(server.url.removesuffix("/hook")), timeout_seconds=3)

    def write(messages: Sequence[Message]) -> HttpRequest:
        for message in messages:
            if message.to == "no key":
                raise ConfigurationError("the key cannot be read")
            if " " in message.to:
                raise RecipientError("a blank in the address")
        return HttpRequest(
            url=settings.url("/batch"), body=json_body({"to": [message.to for message in messages]})
        )

    return BatchHttpAdapter(
        settings,
        Capabilities(unknown_rule=UnknownRule.HOLD, batch_size=size),
        lambda message: message.source_type,
        write,
        read or _each,
    )


def _each(answer: Answer, messages: Sequence[Message]) -> Sequence[SendResult]:
    if not answer.is_success:
        return [refusal(answer)] * len(messages)
    return [accepted(answer, answer.text_at(message.to)) for message in messages]


def message(to: str, source_type: str = "a") -> Message:
    return sample("sms", to=to, source_type=source_type)


def ids(request: Request) -> Steps:
    """Accept everybody, with an id made of each recipient."""
    return answer(200, json.dumps({to: f"id-{to}" for to in request.json["to"]}).encode())


def all_but(refused: str, status: int) -> Callable[[Request], Steps]:
    """Refuse each request that names `refused`, as providers do that refuse a request whole."""
    return lambda request: answer(status) if refused in request.json["to"] else ids(request)


async def send(
    script: Script, messages: Sequence[Message], *, size: int = 50
) -> tuple[Sequence[SendResult], list[list[str]]]:
    async with HttpServer(script) as server, aclosing(adapter(server, size=size)) as sender:
        results = await sender.send(messages)
    return results, sorted(request.json["to"] for request in server.requests)


def told(results: Sequence[SendResult]) -> list[str | None]:
    return [one.provider_message_id if isinstance(one, Sent) else type(one).__name__ for one in results]


async def test_messages_of_one_group_go_in_one_request_and_results_come_by_place() -> None:
    messages = [message("1", "a"), message("2", "b"), message("3", "a"), message("4", "b")]
    results, asked = await send(ids, messages)
    assert told(results) == ["id-1", "id-2", "id-3", "id-4"]
    assert asked == [["1", "3"], ["2", "4"]]


async def test_a_request_holds_no_more_than_the_batch_size() -> None:
    results, asked = await send(ids, [message(str(n)) for n in range(5)], size=2)
    assert told(results) == [f"id-{n}" for n in range(5)]
    assert asked == [["0", "1"], ["2", "3"], ["4"]]


async def test_no_request_names_a_recipient_twice() -> None:
    results, asked = await send(ids, [message("1"), message("2"), message("1"), message("1")])
    assert told(results) == ["id-1", "id-2", "id-1", "id-1"]
    assert asked == [["1"], ["1"], ["1", "2"]]


async def test_a_message_that_cannot_be_written_is_refused_alone() -> None:
    messages = [message("1"), message("no address"), message("2\ud800"), message("3")]
    results, asked = await send(ids, messages)
    assert told(results) == ["id-1", "Refused", "Refused", "id-3"]
    assert isinstance(results[1], Refused)
    assert (results[1].scope, results[1].code) == (Scope.RECIPIENT, "recipient_invalid")
    assert asked == [["1", "3"]]


async def test_a_credential_that_cannot_be_had_waits_for_a_person() -> None:
    results, asked = await send(ids, [message("no key"), message("1")])
    assert isinstance(results[0], Refused)
    assert (results[0].retry, results[0].scope) == (Retry.AFTER_OPERATOR, Scope.CREDENTIAL)
    assert asked == [["1"]]


async def test_attachments_go_alone() -> None:
    file = Attachment(name="r.pdf", media_type="application/pdf", content=b"%PDF")
    attached = sample("sms", to="2", source_type="a", attachments=(file,))
    results, asked = await send(ids, [message("1"), attached, message("3")])
    assert told(results) == ["id-1", "id-2", "id-3"]
    assert asked == [["1", "3"], ["2"]]


@pytest.mark.parametrize("place", [0, 3, 6])
async def test_a_request_refused_for_one_message_is_parted_until_that_one_is_alone(place: int) -> None:
    messages = [message(str(n)) for n in range(7)]
    results, asked = await send(all_but(str(place), 400), messages)
    assert told(results) == ["Refused" if n == place else f"id-{n}" for n in range(7)]
    assert len(asked) <= 7


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        (answer(401), Refused),
        (answer(503), Refused),
        (answer(429), Throttled),
        (answer(502), Unknown),
        ([Step.RESET], Unknown),
        (answer(200, b"{}"), Unknown),
    ],
    ids=["401", "503", "429", "502", "reset", "no ids"],
)
async def test_what_is_no_messages_fault_holds_for_all_after_one_request(
    script: Steps, expected: type[SendResult]
) -> None:
    results, asked = await send(script, [message(str(n)) for n in range(4)])
    assert [type(result) for result in results] == [expected] * 4
    assert asked == [["0", "1", "2", "3"]]


async def test_a_refusal_for_now_is_not_parted() -> None:
    again = Refused(retry=Retry.LATER, scope=Scope.MESSAGE, code="closed", reason="closed until nine")
    async with (
        HttpServer(answer(200)) as server,
        aclosing(adapter(server, read=lambda _, messages: [again] * len(messages))) as sender,
    ):
        results = await sender.send([message("1"), message("2")])
    assert results == [again, again]
    assert len(server.requests) == 1


async def test_what_is_said_of_a_request_shows_the_contact_of_none() -> None:
    async with (
        HttpServer(answer(401, b"zoe@a.example, max@b.example")) as server,
        aclosing(adapter(server)) as sender,
    ):
        results = await sender.send([message("zoe@a.example"), message("max@b.example")])
    for result in results:
        assert isinstance(result, Refused)
        assert "@" not in result.reason


async def test_a_request_whose_answer_cannot_be_read_leaves_the_others_as_they_are() -> None:
    def read(answer: Answer, messages: Sequence[Message]) -> Sequence[SendResult]:
        if messages[0].source_type == "b":
            raise KeyError("a defect")
        return _each(answer, messages)

    async with HttpServer(ids) as server, aclosing(adapter(server, read=read)) as sender:
        results = await sender.send([message("1", "a"), message("2", "b"), message("3", "b")])
    assert told(results) == ["id-1", "Unknown", "Unknown"]


async def test_a_batch_that_is_cancelled_gives_up_its_connections() -> None:
    async with HttpServer([Step.HANG]) as server, aclosing(adapter(server)) as sender:
        sending = asyncio.create_task(_send(sender, [message("1", "a"), message("2", "b")]))
        await server.wait_until(lambda server: len(server.requests) == 2)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        await server.wait_until(lambda server: server.hung_up == 2)


async def test_of_a_batch_that_is_cancelled_what_was_answered_is_told() -> None:
    def script(request: Request) -> Steps:
        return ids(request) if request.json["to"] == ["1"] else [Step.HANG]

    was_read = asyncio.Event()

    def read(answer: Answer, messages: Sequence[Message]) -> Sequence[SendResult]:
        was_read.set()
        return _each(answer, messages)

    async with HttpServer(script) as server, aclosing(adapter(server, read=read)) as sender:
        sending = asyncio.create_task(_send(sender, [message("1", "a"), message("2", "b")]))
        await server.wait_until(lambda server: len(server.requests) == 2)
        async with asyncio.timeout(20):
            await was_read.wait()
        sending.cancel()
        assert told(await sending) == ["id-1", "Unknown"]


async def _send(sender: BatchHttpAdapter, messages: Sequence[Message]) -> Sequence[SendResult]:
    return await sender.send(messages)
