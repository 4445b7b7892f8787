"""What all adapters of HTTP APIs share: answers that are cut, requests that are the same each time, masks."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx
import pytest

from jtd_worker.channels.email_sendgrid import CAPABILITIES
from jtd_worker.errors import ConfigurationError
from jtd_worker.http_adapter import HttpAdapter, HttpSettings, json_body, url_of_call
from jtd_worker.http_exchange import Answer, Exchange, HttpRequest, Timeouts, bounded_wait
from jtd_worker.masking import Mask, contact
from jtd_worker.result import Refused, Retry, Scope, Throttled, Unknown
from jtd_worker.testing.http_server import HttpServer
from jtd_worker.verdict import Verdict, accepted, refusal


def answer(content: bytes = b"", status: int = 200, *, is_whole: bool = True, **headers: str) -> Answer:
    return Answer(status=status, headers=httpx.Headers(headers), content=content, is_whole=is_whole)


def test_what_was_cut_short_is_no_document() -> None:
    assert answer(b'{"id": "m-1"}').text_at("id") == "m-1"
    assert answer(b'{"id": "m-1"}', is_whole=False).text_at("id") is None


@pytest.mark.parametrize(
    ("content", "path", "found"),
    [
        (b'{"data": {"id": 7}}', ("data", "id"), "7"),
        (b'[{"id": " a\\nb "}]', (0, "id"), "a b"),
        (b'{"id": true}', ("id",), None),
        (b'{"id": null}', ("id",), None),
        (b'{"id": {"a": 1}}', ("id",), None),
        (b'["x"]', ("id",), None),
        (b'{"0": "x"}', (0,), None),
        (b"[]", (0,), None),
        (b"nonsense", ("id",), None),
        (b'{"id": "' + b"x" * 500 + b'"}', ("id",), "x" * 200),
    ],
)
def test_whatever_an_answer_is_it_can_be_looked_into(content: bytes, path: Any, found: str | None) -> None:
    assert answer(content).text_at(*path) == found


def test_json_is_the_same_bytes_whatever_the_order_of_its_keys() -> None:
    assert json_body({"a": 1, "b": None, "c": {"y": 1, "x": 2}}) == json_body({"c": {"x": 2, "y": 1}, "a": 1})


@pytest.mark.parametrize("value", [float("nan"), "\ud800", object()])
def test_what_json_cannot_hold_is_refused_without_being_quoted(value: Any) -> None:
    with pytest.raises(ValueError, match="half a surrogate pair"):
        json_body({"secret": value})


def test_a_call_keeps_the_path_and_query_of_the_base() -> None:
    base = HttpSettings.model_validate({"base_url": "https://proxy.example/sendgrid/?key=1"}).base_url
    assert (
        str(url_of_call(base, "/v3/send", ref="a b"))
        == "https://proxy.example/sendgrid/v3/send?key=1&ref=a+b"
    )


def test_twice_connecting_leaves_time_for_the_answer() -> None:
    for total in (0.1, 1.0, 20.0, 600.0):
        timeouts = Timeouts.within(total)
        assert 2 * timeouts.connect < timeouts.total == total


@pytest.mark.parametrize(("seconds", "wait"), [(-5.0, 0), (7.0, 7), (1e300, 21600)])
def test_a_wait_is_bounded(seconds: float, wait: float) -> None:
    assert bounded_wait(seconds) == timedelta(seconds=wait)


def test_a_mask_hides_a_word_in_any_case_and_as_it_stands_in_a_url() -> None:
    mask = Mask.of("<secret>", ["S3cret key"]) + contact("+14155550123")
    text = "key s3cret KEY or S3cret%20key sent to 14155550123"
    assert mask.reason(text) == "key <secret> or <secret> sent to <recipient>"
    assert "S3cret" not in repr(mask)


@pytest.mark.parametrize("key", ["key\n", "key ", "k\r\nx-other: y", "k\0", "kéy"])
async def test_a_key_that_no_header_can_hold_is_refused_and_not_shown(key: str) -> None:
    async with HttpServer() as server:
        exchange = Exchange(Timeouts())
        request = HttpRequest(url=httpx.URL(server.url), headers={"authorization": f"Bearer {key}"})
        refused = await exchange.ask(request, Mask())
        await exchange.aclose()
    assert isinstance(refused, Refused)
    assert (refused.retry, refused.scope) == (Retry.AFTER_OPERATOR, Scope.CREDENTIAL)
    assert "Bearer" not in refused.reason
    assert server.requests == []


def test_each_verdict_becomes_what_it_says() -> None:
    busy = refusal(answer(status=503, **{"retry-after": "7"}))
    assert isinstance(busy, Refused)
    assert (busy.retry, busy.scope, busy.retry_after) == (Retry.LATER, Scope.PROVIDER, timedelta(seconds=7))
    never = refusal(answer(status=503, **{"retry-after": "7"}), Verdict.MESSAGE)
    assert isinstance(never, Refused)
    assert never.retry_after is None
    assert isinstance(refusal(answer(status=429)), Throttled)
    assert isinstance(refusal(answer(status=400), Verdict.UNSURE), Unknown)
    assert isinstance(accepted(answer(b"<html>"), None), Unknown)
    error_in_a_success = refusal(answer(b'{"hasError": true}'))
    assert isinstance(error_in_a_success, Refused)
    assert error_in_a_success.retry is Retry.NEVER


def test_a_rule_that_a_provider_cannot_keep_is_a_mistake_of_the_settings() -> None:
    settings = HttpSettings.model_validate({"base_url": "https://a.example", "unknown": "wait_for_receipt"})
    with pytest.raises(ConfigurationError, match="wait_for_receipt needs a provider"):
        HttpAdapter(
            settings, _without_echo(), lambda _: HttpRequest(url=httpx.URL("https://a.example")), refusal
        )


def _without_echo() -> Any:
    return replace(CAPABILITIES, echoes_reference=False)
