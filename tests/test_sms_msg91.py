"""MSG91's SMS: the kit, the requests as its flow API wants them, and its delivery reports."""

from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlencode
from uuid import UUID

import psycopg
import pytest

from jtd_worker.channels.sms_msg91 import ReceiptSettings, build_receipts
from jtd_worker.message import Message, ProviderTemplate
from jtd_worker.receipt import MalformedError, Receipt, ReceiptKind
from jtd_worker.result import Refused, Retry, Scope, SendResult, Sent, Unknown
from jtd_worker.testing import Accepts, Golden, HttpConformance, Refuses, refused, sample, throttled
from jtd_worker.testing.http_server import HttpServer, Request, Script, Steps, ThreadedHttpServer, answer
from tests.daemon import run_until_idle
from tests.jobs import insert_jtd, row
from tests.msg91 import SECRET, read, request
from tests.test_provider_templates import add_template

KEY = "planted-authkey-that-nobody-may-see"
TEMPLATE = ProviderTemplate(
    id="5f1e93cad6fc054d8e759a5c",
    language=None,
    format="positional",
    parameters=(("amount", "5"), ("currency", "€")),
)
SMS = sample("sms", template=TEMPLATE)
YES = {"message": "5e1e93cad6fc054d8e759a5b", "type": "success"}
OPERATOR = refused(Retry.AFTER_OPERATOR, Scope.CREDENTIAL)
NEVER = refused(Retry.NEVER, Scope.MESSAGE)
CODES = {
    **dict.fromkeys(("101", "102", "103", "105", "106", "107", "307", "308", "309", "310"), NEVER),
    "202": refused(Retry.NEVER, Scope.RECIPIENT),
    **dict.fromkeys(("203", "207", "208", "418", "301", "302", "303"), OPERATOR),
    "306": refused(Retry.LATER, Scope.MESSAGE, timedelta(hours=2, minutes=30)),
}
DATE = {"date": "Wed, 02 Jan 2030 01:00:00 GMT"}  # 6:30 in India


def error(code: object = None, message: str = "error") -> dict[str, object]:
    return {"type": "error", "message": message, **({"code": code} if code else {})}


class TestSms(HttpConformance):
    provider = "sms:msg91"
    settings = {"authkey": KEY, "batch_size": "50"}
    secrets = (KEY,)
    accepts = (
        Accepts(name="message", body=YES, id="5e1e93cad6fc054d8e759a5b"),
        Accepts(name="request_id", body={"type": "success", "request_id": "r-1"}, id="r-1"),
        Accepts(name="a copy within 10 s", body=error("311"), id=None),
    )
    refuses = (
        *(
            Refuses(name=f"{code} in {status}", status=status, body=error(code), headers=DATE, expect=expect,
                    code=f"msg91_{code}")
            for code, expect in CODES.items()
            for status in (200, 400)
        ),
        Refuses(name="a number as code", status=200, body=error(207), expect=OPERATOR, code="msg91_207"),
        Refuses(name="HTTP 418", status=418, body=error(), expect=OPERATOR),
        Refuses(name="a flow", status=200, body=error(message="template id missing"),
                expect=refused(Retry.NEVER, Scope.TEMPLATE)),
        Refuses(name="another error", status=200, body=error(), expect=NEVER, code="msg91_error"),
        Refuses(name="too many", status=429, body=error(), expect=throttled(30)),
    )  # fmt: skip
    golden = (
        Golden(
            name="plain",
            message=SMS,
            target="/api/v5/flow",
            headers={"authkey": KEY, "content-type": "application/json"},
            json={
                "template_id": "5f1e93cad6fc054d8e759a5c",
                "short_url": "0",
                "recipients": [
                    {
                        "mobiles": "14155550123",
                        "CRQID": "01890000-0000-7000-8000-000000000001",
                        "VAR1": "5",
                        "VAR2": "€",
                    }
                ],
            },
        ),
        Golden(
            name="named, with a sender",
            message=replace(SMS, template=replace(TEMPLATE, format="named")),
            settings={"from": "ACMEIN"},
            target="/api/v5/flow",
            json={
                "template_id": "5f1e93cad6fc054d8e759a5c",
                "sender": "ACMEIN",
                "short_url": "0",
                "recipients": [
                    {
                        "mobiles": "14155550123",
                        "CRQID": "01890000-0000-7000-8000-000000000001",
                        "amount": "5",
                        "currency": "€",
                    }
                ],
            },
        ),
    )

    @classmethod
    def message(cls) -> Message:
        return SMS


def sms(n: int, **changes: object) -> Message:
    return replace(SMS, jtd_id=UUID(int=n), to=f"+9195000065{n:02}", **changes)  # type: ignore[arg-type]


async def send(script: Script, *messages: Message) -> tuple[Sequence[SendResult], HttpServer]:
    async with (
        HttpServer(script) as server,
        aclosing(TestSms.make(server.url.removesuffix("/hook"))) as adapter,
    ):
        return await adapter.send(messages), server


@pytest.mark.parametrize(
    ("message", "code", "scope"),
    [
        (sms(1, template=None), "template_missing", Scope.TEMPLATE),
        (sms(1, template=replace(TEMPLATE, id="")), "template_missing", Scope.TEMPLATE),
        (sms(1, template=replace(TEMPLATE, format="named", parameters=(("mobiles", "1"),))),
         "template_invalid", Scope.TEMPLATE),
        (replace(sms(1), to="9198765432"), "recipient_invalid", Scope.RECIPIENT),
        (replace(sms(1), to="+91 98765 43210"), "recipient_invalid", Scope.RECIPIENT),
        (sms(1, template=replace(TEMPLATE, parameters=(("a", "\ud800"),))), "message_unfit", Scope.MESSAGE),
    ],
    ids=["no template", "no id", "a name of ours", "no country", "blanks", "half a pair"],
)  # fmt: skip
async def test_what_cannot_be_sent_is_refused_and_harms_no_other(
    message: Message, code: str, scope: Scope
) -> None:
    results, server = await send(answer(200, b'{"message": "m-1"}'), sms(2), message, sms(3))
    assert [type(result) for result in results] == [Sent, Refused, Sent]
    assert isinstance(results[1], Refused)
    assert (results[1].retry, results[1].code, results[1].scope) == (Retry.NEVER, code, scope)
    (asked,) = server.requests
    assert [one["CRQID"] for one in asked.json["recipients"]] == [str(UUID(int=2)), str(UUID(int=3))]


async def test_an_invalid_number_is_found_in_its_batch_and_the_others_are_sent() -> None:
    def script(request: Request) -> Steps:
        bad = any(one["mobiles"].endswith("03") for one in request.json["recipients"])
        return answer(200, b'{"type": "error", "code": "202"}' if bad else b'{"message": "m-1"}')

    results, server = await send(script, *(sms(n) for n in range(8)))
    assert [type(result) for result in results] == [Refused if n == 3 else Sent for n in range(8)]
    assert len(server.requests) == 7


async def test_a_copy_that_the_provider_knows_is_sent_and_says_so() -> None:
    (result,), _ = await send(answer(200, b'{"type": "error", "code": 311}'), sms(1))
    assert result == Sent(response={"status": 200, "code": "311", "is_duplicate": True})


async def test_a_copy_somewhere_in_a_batch_leaves_the_batch_unknown() -> None:
    results, server = await send(answer(200, b'{"type": "error", "code": "311"}'), sms(1), sms(2))
    assert [type(result) for result in results] == [Unknown] * 2
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("date", "hours"),
    [
        ("Wed, 02 Jan 2030 03:00:00 GMT", 0.5),
        ("Wed, 02 Jan 2030 03:30:00 GMT", 24),
        ("Wed, 02 Jan 2030 15:30:00 GMT", 12),
    ],
)
async def test_a_closed_route_is_tried_again_at_nine_in_india(date: str, hours: float) -> None:
    closed = answer(200, b'{"type": "error", "code": "306"}', {"date": date})
    (result,), _ = await send(closed, sms(1))
    assert isinstance(result, Refused)
    assert result.retry_after == timedelta(hours=hours)


async def test_without_a_date_our_own_clock_tells_when_it_is_nine() -> None:
    (result,), _ = await send(answer(200, b'{"type": "error", "code": "306"}', {"date": "soon"}), sms(1))
    assert isinstance(result, Refused)
    assert result.retry_after is not None
    assert timedelta(0) < result.retry_after <= timedelta(days=1)


def test_a_running_worker_sends_many_in_one_request_and_each_once(
    dsn: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    add_template(db, channel_code="sms", provider_template_id="f-1")
    numbers = [f"+49151123456{n:02}" for n in range(8)]
    jobs = [
        insert_jtd(db, channel_code="sms", template_key="k", payload={"name": "Ann"}, recipient_contact=to)
        for to in [*numbers, "0151 12345678"]
    ]
    with ThreadedHttpServer(answer(200, b'{"message": "m-1"}')) as server:
        settings = {
            "sms_msg91_authkey": KEY,
            "sms_msg91_batch_size": "50",
            "sms_msg91_base_url": server.url.removesuffix("/hook"),
        }
        run_until_idle(dsn, "sms:msg91", tmp_path, **settings)
        requests = list(server.server.requests)
    assert [row(db, job)["status_code"] for job in jobs] == ["sent"] * 8 + ["failed"]
    assert {row(db, job)["provider_message_id"] for job in jobs[:-1]} == {"m-1"}
    assert row(db, jobs[-1])["error_code"] == "recipient_invalid"
    assert len(requests) < 8
    named = [one["CRQID"] for request in requests for one in request.json["recipients"]]
    assert sorted(named) == sorted(map(str, jobs[:-1]))
    assert requests[0].json["recipients"][0]["VAR1"] == "Ann"


# ---------------------------------------------------------------- receipts

PARSER = build_receipts(ReceiptSettings.model_validate({"secrets": SECRET}))
JTD = UUID("01890000-0000-7000-8000-000000000001")
V2 = (
    '[{"senderId":"sndotp","requestId":"336442700000000007313839","report":[{"date":"2024-05-22 10:06:20",'
    '"amount":"0.01","clientid":"","INMSID":"0","CRQID":"0","ctCode":"900","number":"919500006558",'
    '"credit":"1","status":"1","desc":"DELIVERED","failedReason":""}],"userId":"270000","campaignName":"API"}]'
)
"""The vendor's example of webhook v2."""
FORM = {"content-type": "application/x-www-form-urlencoded; charset=UTF-8"}


def parse(event: object) -> Sequence[Receipt]:
    return read(PARSER, request(event))


def test_the_vendors_form_is_read() -> None:
    (found,) = read(PARSER, request(urlencode({"data": V2}).encode(), headers=FORM))
    assert found == Receipt(
        kind=ReceiptKind.DELIVERED,
        event_key=found.event_key,
        provider_message_id="336442700000000007313839",
        recipient="+919500006558",
        at=datetime(2024, 5, 22, 4, 36, 20, tzinfo=UTC),
    )


@pytest.mark.parametrize("body", [b"", b"other=1", b"data=%7B", b"data=1", b"data=[]&data=[]", b"data=\xff"])
def test_a_form_without_reports_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedError):
        PARSER(request(body, headers=FORM))


def test_each_report_of_a_list_is_read() -> None:
    reports = [{"number": "919500006558", "status": n, "CRQID": str(JTD)} for n in (0, 1, 99)]
    found = parse([{"requestId": "r-1", "report": [*reports, 7]}, {"requestId": "r-2", "status": 2}, "odd"])
    assert [(one.provider_message_id, one.kind) for one in found] == [
        ("r-1", ReceiptKind.SENT),
        ("r-1", ReceiptKind.DELIVERED),
        ("r-2", ReceiptKind.FAILED),
    ]
    assert found[0].reference == JTD


def test_webhook_v3_is_read() -> None:
    (found,) = parse(
        {"date": "2024-05-22 10:06:20", "number": "919500006558", "senderId": "sndotp", "requestId": "r-1",
         "CRQID": str(JTD), "status": 17, "desc": "BLOCKED"}
    )  # fmt: skip
    assert (found.kind, found.reference, found.code) == (ReceiptKind.FAILED, JTD, "msg91_17")


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        *((status, ReceiptKind.SENT) for status in ("0", "5", "8", "26", "Submitted", "PENDING", "ACCEPTD")),
        *((status, ReceiptKind.DELIVERED) for status in ("1", 1, "Delivered", "DELIVRD")),
        *((status, ReceiptKind.FAILED) for status in ("2", "9", "16", "17", "20", "25", "FAILED", "NDNC")),
        *((status, ReceiptKind.FAILED) for status in ("UNDELIV", "REJECTD", "Rejected", "EXPIRED")),
        ("99", None),
        ("", None),
    ],
)
def test_each_status_is_of_its_kind(status: object, kind: ReceiptKind | None) -> None:
    found = parse({"requestId": "r-1", "status": status})
    assert [receipt.kind for receipt in found] == ([kind] if kind else [])


@pytest.mark.parametrize(
    ("status", "reason", "code"),
    [
        ("16", "TEMPLATE-NOT-MATCHED", "TEMPLATE-NOT-MATCHED"),
        ("2", "TEMPLATE-INACTIVE", "TEMPLATE-INACTIVE"),
        ("25", "HEADER-NOT-REGISTERED", "HEADER-NOT-REGISTERED"),
        ("2", "SENDER NOT MATCHED", "SENDER-NOT-MATCHED"),
        ("2", "TEMPLATE-VARIABLE-EXCEEDED-MAX LENGTH", "TEMPLATE-VARIABLE-EXCEEDED-MAX-LENGTH"),
        ("2", "Absent subscriber", "msg91_2"),
        ("2", "", "msg91_2"),
    ],
)
def test_a_failure_tells_the_operators_code(status: str, reason: str, code: str) -> None:
    (found,) = parse({"requestId": "r-1", "status": status, "failureReason": reason})
    assert (found.kind, found.code, found.reason) == (ReceiptKind.FAILED, code, reason or None)


def test_a_delivered_message_has_neither_code_nor_reason() -> None:
    (found,) = parse({"requestId": "r-1", "status": "1", "desc": "TEMPLATE-NOT-MATCHED"})
    assert (found.code, found.reason) == (None, None)
