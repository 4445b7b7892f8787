"""Any HTTP API by configuration: the kit on two gateways that are only set, and mistakes told at start."""

import base64
import hashlib
import hmac
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from jtd_worker.adapter import UnknownRule
from jtd_worker.channels.any_http import ReceiptSettings, Settings, build_receipts
from jtd_worker.http_exchange import Answer
from jtd_worker.http_rules import Place, Rule, judge
from jtd_worker.message import Attachment, Message, ProviderTemplate
from jtd_worker.receipt import ForgedError, MalformedError, Receipt, ReceiptKind, WebhookRequest
from jtd_worker.registry import Provider, ProviderName
from jtd_worker.result import Refused, Retry, Scope, Sent, Throttled, Unknown
from jtd_worker.testing import (
    Accepts,
    Golden,
    HttpConformance,
    Refuses,
    refused,
    sample,
    sent,
    throttled,
    unknown,
)
from jtd_worker.testing.http_conformance import TIMEOUT_SECONDS
from jtd_worker.testing.http_server import HttpServer
from jtd_worker.testing.http_server import answer as scripted
from jtd_worker.verdict import Verdict

TOKEN = "planted-token-that-nobody-may-see"
SMS = sample("sms")
JSON_API = {
    "headers": json.dumps(
        {"Authorization": "Bearer {{ secret.token }}", "Idempotency-Key": "{{ idempotency_key }}"}
    ),
    "body": '{"to": {{ to }}, "from": {{ sender | default("ACME") }}, "text": {{ text }},'
    ' "data": {{ variables }}{% if name %}, "name": {{ name }}{% endif %}}',
    "secrets": json.dumps({"token": TOKEN}),
    "id_path": "data.id",
    "rules": json.dumps(
        [
            {"status": "2xx", "path": "error.code", "in": [21, "22"], "verdict": "recipient"},
            {"path": "error.code", "equals": 40, "verdict": "credential", "code": "no_balance"},
            {"status": 400, "path": "error.text", "matches": "template.*unknown", "verdict": "template"},
            {"status": 503, "path": "header:x-full", "verdict": "throttled"},
            {"status": 409, "verdict": "unsure"},
        ]
    ),
}
FORM_API = {
    "method": "POST",
    "query": json.dumps(
        {"flash": '{{ variables.flash | default("") }}', "to": '{{ to | replace("+", "") }}'}
    ),
    "body_format": "form",
    "body": json.dumps(
        {"user": "{{ secret.user }}", "pass": "{{ secret.password }}", "msg": "{{ text }}", "no": ""}
    ),
    "secrets": json.dumps({"user": "planted-user", "password": "planted & password"}),
    "rules": json.dumps(
        [
            {"status": 200, "matches": "^OK ", "verdict": "sent"},
            {"status": 200, "matches": "^ERR 12", "verdict": "busy", "code": "err_12"},
        ]
    ),
}  # fmt: skip


class ByConfiguration(HttpConformance):
    path = ""

    @classmethod
    def made(cls, url: str, **settings: str) -> Provider:
        given = {"url": url + cls.path, "timeout_seconds": str(TIMEOUT_SECONDS), **cls.settings, **settings}
        return Provider.make(ProviderName.parse(cls.provider), given)


class TestJsonApi(ByConfiguration):
    provider = "sms:http"
    path = "/v1/messages/{{ to }}"
    settings = JSON_API
    secrets = (TOKEN,)
    accepts = (Accepts(name="an id", body={"data": {"id": "m-1"}}, id="m-1"),
               Accepts(name="a number", status=202, body={"data": {"id": 17}}, id="17"))  # fmt: skip
    refuses = (
        Refuses(name="a number with 200", status=200, body={"error": {"code": 21}},
                expect=refused(Retry.NEVER, Scope.RECIPIENT), code="21"),
        Refuses(name="a text with 200", status=200, body={"error": {"code": "22"}},
                expect=refused(Retry.NEVER, Scope.RECIPIENT), code="22"),
        Refuses(name="no balance", status=400, body={"error": {"code": 40}},
                expect=refused(Retry.AFTER_OPERATOR, Scope.CREDENTIAL), code="no_balance"),
        Refuses(name="a template", status=400, body={"error": {"text": "Template is UNKNOWN"}},
                expect=refused(Retry.NEVER, Scope.TEMPLATE), code="http_400"),
        Refuses(name="a full queue", status=503, headers={"x-full": "1", "retry-after": "9"},
                expect=throttled(9)),
        Refuses(name="a conflict", status=409, expect=unknown()),
        Refuses(name="another error", status=400, body={"error": {"code": 1}},
                expect=refused(Retry.NEVER, Scope.MESSAGE), code="http_400"),
    )  # fmt: skip
    golden = (
        Golden(
            name="all",
            message=SMS,
            target="/v1/messages/%2B14155550123",
            headers={"authorization": f"Bearer {TOKEN}", "idempotency-key": SMS.idempotency_key},
            json={"to": "+14155550123", "from": "ACME", "text": "Your payment of 5 € arrived.", "name": "Zoë",
                  "data": {"amount": 5, "currency": "EUR"}},
        ),
        Golden(
            name="quotes and braces stay text",
            message=replace(SMS, text='"}, {{ secret.token }} \\ \n', sender='"', name=None, variables={}),
            target="/v1/messages/%2B14155550123",
            json={"to": "+14155550123", "from": '"', "text": '"}, {{ secret.token }} \\ \n', "data": {}},
        ),
        Golden(
            name="a slash is no path",
            message=replace(SMS, to="../a?b=c#d", name=None, variables={}),
            target="/v1/messages/..%2Fa%3Fb%3Dc%23d",
        ),
    )  # fmt: skip


class TestFormApi(ByConfiguration):
    provider = "sms:http.old"
    path = "/send?v=1"
    settings = FORM_API
    secrets = ("planted-user", "planted & password", "planted%20%26%20password")
    accepts = (Accepts(name="OK", body=b"OK 17\n", id=None),)
    refuses = (
        Refuses(name="busy", status=200, body=b"ERR 12 full",
                expect=refused(Retry.LATER, Scope.PROVIDER), code="err_12"),
        Refuses(name="what no rule knows", status=200, body=b"ERR 13", expect=unknown()),
    )  # fmt: skip
    golden = (
        Golden(
            name="fields",
            message=SMS,
            target="/send?v=1&to=14155550123",
            form={"user": "planted-user", "pass": "planted & password", "msg": SMS.text},
        ),
        Golden(name="one more", message=replace(SMS, variables={"flash": 1}),
               target="/send?v=1&flash=1&to=14155550123"),
    )  # fmt: skip
    # what the kit cuts or garbles is no longer what the rules ask for
    expected = {"success, with another content type": sent()}


def settings(**changes: Any) -> Settings:
    given = {"url": "https://api.acme.example/sms", "body": '{"to": {{ to }}}', **changes}
    return Settings.model_validate({name: value for name, value in given.items() if value is not None})


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"body": '{"to": "{{ to }}"}'}, "no JSON once its values are filled in"),
        ({"body": '{"to": {{ to }}'}, "no JSON once its values are filled in"),
        ({"body": ""}, "no JSON once its values are filled in"),
        ({"body": "{{ to"}, "body, line 1"),
        ({"body": "{{ recipient }}"}, "there is no 'recipient'; there are attachments, channel"),
        ({"body": "{{ secret.tokn }}", "secrets": '{"token": "x"}'}, "there is no secret.tokn"),
        ({"body": "{{ to.nothing }}"}, "body: missing: "),
        ({"body": "{% macro a() %}{% endmacro %}1"}, "would be encoded twice"),
        ({"body": "{{ to | nofilter }}"}, "nofilter"),
        ({"body_format": "none"}, "there is none with body_format"),
        ({"body_format": "form", "body": '["to"]'}, "JSON object of texts"),
        ({"body_format": "form", "body": "to={{ to }}"}, "JSON object of texts"),
        ({"url": "http://api.acme.example/sms"}, "use https"),
        ({"url": "https://me:pw@api.acme.example/sms"}, "user or password"),
        ({"url": "https://{{ channel }}.example/sms"}, "a host that is the same for every message"),
        ({"url": "https://acme.example{{ channel }}/sms"}, "a host that is the same for every message"),
        ({"url": "/sms"}, "begins with https://"),
        ({"headers": '{"Authorization": "Bearer abc"}'}, "put what authorization keeps secret into secrets"),
        ({"headers": '{"X Y": "1"}'}, "no name of a header"),
        ({"headers": '{"x-name": "{{ name }}"}'}, "holds what no header can"),
        ({"headers": "{"}, "Invalid JSON"),
        ({"rules": '[{"verdict": "sent"}]'}, "fits every answer"),
        ({"rules": '[{"status": 700, "verdict": "sent"}]'}, "a status is 400, or 4xx"),
        ({"rules": '[{"status": 400, "verdict": "maybe"}]'}, "Input should be 'sent'"),
        ({"rules": '[{"path": "a", "equals": 1, "matches": "x", "verdict": "sent"}]'}, "one of `equals`"),
        ({"rules": '[{"path": "a", "matches": "(", "verdict": "sent"}]'}, "no regular expression"),
        ({"rules": '[{"path": "a..b", "verdict": "sent"}]'}, "is no place such as"),
        ({"id_path": "data."}, "is no place such as"),
        ({"unknown": "idempotent_retry"}, "needs {{ idempotency_key }}"),
        ({"unknown": "wait_for_receipt"}, "needs {{ jtd_id }} in the request"),
    ],
)
def test_a_mistake_in_the_configuration_is_told_at_start(changes: dict[str, str], told: str) -> None:
    with pytest.raises(ValidationError) as raised:
        settings(**changes)
    assert told in str(raised.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"body": '{"n": {{ variables.order.amount * 100 }}, "t": {{ variables.order["id"] }}}'},
        {"body": '{"n": {{ variables.amount | round(2) }}}'},
        {"body": "[{% for a in attachments %}{{ a.content }}{% if not loop.last %},{% endif %}{% endfor %}]"},
        {"body": '{"at": {{ created_at }}, "day": {{ created_at.strftime("%d.%m.%Y") }}}'},
        {"body": '{"id": {{ jtd_id }}}', "unknown": "idempotent_retry"},
        {"body_format": "none", "body": None, "method": "GET", "query": '{"q": "{{ text }}"}'},
        {"headers": '{"Authorization": "Basic {{ (secret.u ~ \\":\\" ~ secret.p) | b64encode }}"}',
         "secrets": '{"u": "a", "p": "b"}'},
    ],
)  # fmt: skip
def test_what_a_gateway_may_want_can_be_written(changes: dict[str, str]) -> None:
    assert settings(**changes)


def write(message: Message, **changes: Any) -> Any:
    return settings(**changes).template.write(message)


def test_the_host_and_the_path_stay_those_of_the_configuration() -> None:
    url = "https://api.acme.example/u/{{ to }}/send"
    for to in ("@evil.example/", "\\evil.example", "a/b", "?x", "#x"):
        written = write(replace(SMS, to=to), url=url).url
        assert written.host == "api.acme.example"
        assert written.raw_path.endswith(b"/send")
    with pytest.raises(Exception, match="url"):
        write(replace(SMS, to=".."), url=url)


def test_a_header_takes_no_line_end_and_nothing_that_is_not_ascii() -> None:
    headers = '{"x-name": "{{ locale }}"}'
    assert write(replace(SMS, locale="a b"), headers=headers).headers["x-name"] == "a b"
    for text in ("a\r\nx-evil: 1", "Zoë"):
        with pytest.raises(ValueError, match="header x-name: holds what no header can"):
            write(replace(SMS, locale=text), headers=headers)


def test_what_is_missing_in_a_message_is_named() -> None:
    with pytest.raises(Exception, match=r"body: missing: variables\.otp"):
        write(SMS, body='{"otp": {{ variables.otp }}}')
    with pytest.raises(Exception, match="body: missing: subject"):
        write(replace(SMS, subject=None), body="{{ subject }}")


def test_attachments_are_refused_where_the_request_has_no_place_for_them() -> None:
    message = replace(SMS, attachments=(Attachment(name="a", media_type="text/plain", content=b"hi"),))
    with pytest.raises(ValueError, match="no place for them"):
        write(message)
    body = "[{% for a in attachments %}{{ a }}{% endfor %}]"
    (written,) = json.loads(write(message, body=body).body)
    assert written == {"name": "a", "media_type": "text/plain", "content": "aGk="}


def test_a_template_that_was_approved_can_be_named() -> None:
    dlt = '{"dlt": {{ template.dlt_template_id | default("") }}'
    body = dlt + ', "values": {{ template.parameters | map(attribute="text") }}}'
    approved = ProviderTemplate(
        id="", language=None, format="positional", parameters=(("a", "1"), ("b", '"')), dlt_template_id="1007"
    )
    written = write(replace(SMS, template=approved), body=body)
    assert json.loads(written.body) == {"dlt": "1007", "values": ["1", '"']}
    assert json.loads(write(SMS, body='{"dlt": {{ template.dlt_template_id | default("") }}}').body) == {
        "dlt": ""
    }


async def test_what_a_header_is_made_of_is_hidden_where_the_receiver_repeats_it() -> None:
    word = base64.b64encode(b"planted-user:pw").decode()
    given = {
        "headers": '{"Authorization": "Basic {{ (secret.u ~ \\":\\" ~ secret.p) | b64encode }}"}',
        "secrets": '{"u": "planted-user", "p": "pw"}',
        "body_format": "none",
    }
    async with HttpServer(scripted(400, f"you sent Basic {word}".encode())) as server:
        adapter = Provider.make(ProviderName.parse("sms:http"), {"url": server.url, **given}).build()
        (result,) = await adapter.send([SMS])
        await adapter.aclose()
    assert server.requests[0].headers["authorization"] == f"Basic {word}"
    assert isinstance(result, Refused)
    assert result.reason == "the receiver answered 400: you sent Basic <secret>"


def answer(status: int, body: object = b"", *, is_whole: bool = True, **headers: str) -> Answer:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Answer(status=status, headers=httpx.Headers(headers), content=content, is_whole=is_whole)


def rules(*given: dict[str, Any]) -> list[Rule]:
    return [Rule.model_validate(one) for one in given]


def test_the_first_rule_that_fits_decides() -> None:
    table = rules(
        {"path": "code", "equals": "1", "verdict": "recipient"},
        {"path": "code", "verdict": "message"},
        {"status": "4xx", "verdict": "busy"},
    )

    def judged(*args: Any) -> Any:
        return judge(answer(*args), table, None)

    assert judged(400, {"code": 1}).scope is Scope.RECIPIENT
    assert judged(400, {"code": 2}).scope is Scope.MESSAGE
    assert judged(499, {}).retry is Retry.LATER
    assert isinstance(judged(502), Unknown)
    assert isinstance(judged(429), Refused)
    assert isinstance(judge(answer(429), (), None), Throttled)


@pytest.mark.parametrize(("value", "found"), [(True, "true"), ("true", "true"), (1, "1"), (1.5, "1.5")])
def test_a_value_is_compared_as_it_is_written(value: object, found: str) -> None:
    (rule,) = rules({"path": "a.0.b", "equals": value, "verdict": "message"})
    assert rule.fits(answer(400, {"a": [{"b": value}]}))
    assert rule.fits(answer(400, {"a": [{"b": found}]}))
    assert not rule.fits(answer(400, {"a": [{"b": [value]}]}))
    assert not rule.fits(answer(400, {"a": {"b": value}}))


def test_a_body_that_was_cut_short_fits_no_rule_and_is_no_success() -> None:
    table = rules(
        {"path": "ok", "equals": True, "verdict": "sent"}, {"matches": "refused", "verdict": "message"}
    )
    assert isinstance(judge(answer(200, {"ok": True}), table, None), Sent)
    assert isinstance(judge(answer(200, {"ok": True}, is_whole=False), table, None), Unknown)
    assert isinstance(judge(answer(200, b"refused", is_whole=False), table, None), Unknown)


def test_an_id_may_stand_in_a_header_and_a_success_without_it_is_unknown() -> None:
    place = Place.parse("header:x-message-id")
    assert judge(answer(200, **{"x-message-id": "m 1"}), (), place) == Sent(
        provider_message_id="m 1", response={"status": 200}
    )
    assert isinstance(judge(answer(200), (), place), Unknown)


def test_an_unknown_outcome_is_held_unless_it_is_set() -> None:
    url = {"url": "https://a.example", "body": "{{ jtd_id }}"}
    made = Provider.make(ProviderName.parse("sms:http.acme"), url).build()
    assert made.capabilities.unknown_rule is UnknownRule.HOLD
    for rule in (UnknownRule.IDEMPOTENT_RETRY, UnknownRule.WAIT_FOR_RECEIPT):
        made = Provider.make(ProviderName.parse("sms:http"), {**url, "unknown": rule}).build()
        assert made.capabilities.unknown_rule is rule


# ---------------------------------------------------------------- receipts

SECRET = "planted-receipt-secret"
AT = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
FIELDS = {"kind": "status", "id": "msg.id", "reference": "ref", "recipient": "to", "at": "time",
          "code": "err", "reason": "text"}  # fmt: skip
EVENT = {"status": "DELIVRD", "msg": {"id": 17}, "ref": str(UUID(int=5)), "to": "+14155550123",
         "time": "2030-01-02T03:04:05Z", "err": 0, "text": "fine"}  # fmt: skip


def receipt_settings(**changes: Any) -> ReceiptSettings:
    return ReceiptSettings.model_validate(
        {
            "secrets": SECRET,
            "proof_name": "X-Signature",
            "events": "events",
            "fields": json.dumps(FIELDS),
            "kinds": '{"DELIVRD": "delivered", "UNDELIV": "bounced"}',
            **changes,
        }
    )


def request(body: bytes, url: str = "https://jtd.example/webhooks/http", **headers: str) -> WebhookRequest:
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return WebhookRequest(method="POST", url=url, headers=headers, body=body, received_at=AT)


def signed(document: object) -> WebhookRequest:
    body = json.dumps(document).encode()
    return request(body, x_signature=hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest())


def parse(given: WebhookRequest, **changes: Any) -> list[Receipt]:
    found = build_receipts(receipt_settings(**changes))(given)
    assert isinstance(found, list)
    return found


def test_events_are_read_by_the_places_that_are_set() -> None:
    (found,) = parse(signed({"events": [EVENT, {**EVENT, "status": "BUFFERED"}, {"status": "DELIVRD"}, 5]}))
    assert found == Receipt(
        kind=ReceiptKind.DELIVERED, event_key=found.event_key, provider_message_id="17",
        reference=UUID(int=5), recipient="+14155550123", at=AT, code="0", reason="fine",
    )  # fmt: skip
    assert found.event_key.isalnum()
    assert len(found.event_key) <= 200


@pytest.mark.parametrize("prefix", ["", "sha256="])
@pytest.mark.parametrize(
    "encode", [lambda d: d.hex(), lambda d: d.hex().upper(), lambda d: base64.b64encode(d).decode()]
)
def test_a_signature_is_hex_or_base64_over_the_raw_body(prefix: str, encode: Any) -> None:
    body = json.dumps({"events": EVENT}).encode()
    signature = prefix + encode(hmac.digest(SECRET.encode(), body, hashlib.sha256))
    assert len(parse(request(body, x_signature=signature))) == 1
    assert len(parse(request(body, x_signature=signature), secrets=f"another-secret-of-ours {SECRET}")) == 1
    for forged in (
        request(body + b" ", x_signature=signature),
        request(body),
        request(body, x_signature=signature[:-2]),
    ):
        with pytest.raises(ForgedError):
            parse(forged)
    with pytest.raises(ForgedError):
        parse(request(body, x_signature=signature), secrets="another-secret-of-ours")


def test_a_shared_secret_may_stand_in_a_header_or_in_the_url() -> None:
    body = json.dumps({"events": EVENT}).encode()
    assert parse(request(body, x_token=SECRET), proof="header", proof_name="X-Token")
    url = "https://jtd.example/webhooks/http?key="
    assert parse(request(body, url + SECRET), proof="query", proof_name="key")
    for forged in (request(body, url + "other"), request(body), request(body, url + SECRET[:-1])):
        with pytest.raises(ForgedError):
            parse(forged, proof="query", proof_name="key")


def test_a_call_that_has_everything_in_its_url_is_read_without_the_secret() -> None:
    flat = {"fields": '{"kind": "s", "id": "id"}', "events": None, "proof": "query", "proof_name": "key"}
    url = f"https://jtd.example/webhooks/http?s=DELIVRD&id=m%2B1&key={SECRET}"
    (found,) = parse(request(b"", url), **flat, body_format="query")
    assert (found.kind, found.provider_message_id) == (ReceiptKind.DELIVERED, "m+1")
    (same,) = parse(request(b"", url.replace(SECRET, "a-new-secret-of-ours")), **flat, body_format="query",
                    secrets="a-new-secret-of-ours")  # fmt: skip
    assert found.event_key == same.event_key
    (form,) = parse(
        request(b"s=UNDELIV&id=m", f"https://x.example/?key={SECRET}"), **flat, body_format="form"
    )
    assert form.kind is ReceiptKind.BOUNCED


def test_an_event_has_one_key_and_another_event_another() -> None:
    def key(**changes: Any) -> str:
        return parse(signed({"events": {**EVENT, **changes}}))[0].event_key

    assert key() == key()
    assert len({key(), key(status="UNDELIV"), key(time="x"), key(msg={"id": 18}), key(extra=1)}) == 5
    told = parse(signed({"events": {**EVENT, "n": "e-1"}}), fields=json.dumps({**FIELDS, "event_key": "n"}))
    assert told[0].event_key == "e-1"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"secrets": "short"}, "at least 16 characters"),
        ({"fields": '{"kind": "status"}'}, "needs `id` or `reference`"),
        ({"fields": '{"kind": "status", "id": "id", "ident": "x"}'}, "Extra inputs"),
        ({"kinds": '{"DELIVRD": "arrived"}'}, "Input should be 'sent'"),
        ({"proof": "none"}, "Input should be 'hmac-sha256'"),
    ],
)
def test_a_mistake_in_the_settings_of_receipts_is_told(changes: dict[str, str], told: str) -> None:
    with pytest.raises(ValidationError) as raised:
        receipt_settings(**changes)
    assert told in str(raised.value)
    assert "planted" not in str(raised.value) + repr(receipt_settings())


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from([*FIELDS.values(), "events", "msg", "id", "0"]) | st.text(), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@given(json_values)
def test_whatever_is_signed_is_read_or_malformed(document: object) -> None:
    try:
        found = parse(signed(document))
    except MalformedError:
        return
    for one in found:
        assert one.provider_message_id or one.reference
        assert 0 < len(one.event_key) <= 200


# ---------------------------------------------------------------- the page


def told() -> dict[str, str]:
    """Return the settings of the page's example, as an env file would give them."""
    page = (Path(__file__).parent.parent / "docs" / "channels" / "http.md").read_text()
    return dict(line.split("=", 1) for line in page.split("```ini\n")[1].split("```")[0].splitlines() if line)


async def test_the_example_of_the_page_sends_and_reads() -> None:
    given = {name.removeprefix("JTD_SMS_HTTP_").lower(): value for name, value in told().items()
             if not name.startswith("JTD_RECEIPTS_")}  # fmt: skip
    async with HttpServer(scripted(200, b'{"data": {"id": "m-1"}}')) as server:
        given["url"] = given["url"].replace("https://api.acme.example", server.url.removesuffix("/hook"))
        adapter = Provider.make(ProviderName.parse("sms:http"), given).build()
        (result,) = await adapter.send([SMS])
        await adapter.aclose()
    assert result == Sent(provider_message_id="m-1", response={"status": 200})
    (request,) = server.requests
    assert request.json == {"to": "14155550123", "from": "ACME", "text": SMS.text, "ref": str(SMS.jtd_id)}
    prefix = "JTD_RECEIPTS_SMS_HTTP_"
    receipts = {name.removeprefix(prefix).lower(): value for name, value in told().items() if prefix in name}
    assert build_receipts(ReceiptSettings.model_validate(receipts))


def test_the_page_names_each_verdict() -> None:
    page = (Path(__file__).parent.parent / "docs" / "channels" / "http.md").read_text()
    named = {line.split("`")[1] for line in page.split("| verdict |")[1].split("\n\n")[0].splitlines()[2:]}
    assert named == {"sent", *(verdict.name.lower() for verdict in Verdict)}
    for verdict in named:
        assert Rule.model_validate({"status": 400, "verdict": verdict})
