"""SMS by Acme, a gateway that does not exist."""

from functools import partial

from pydantic import Field, HttpUrl, SecretStr

from jtd_worker.adapter import Adapter, Capabilities, Sureness, UnknownRule
from jtd_worker.http_adapter import ApiUrl, HttpAdapter, HttpSettings, json_body
from jtd_worker.http_exchange import Answer, HttpRequest
from jtd_worker.message import Message
from jtd_worker.receipt import MalformedError, Receipt, ReceiptKind, ReceiptParser, WebhookRequest
from jtd_worker.result import SendResult
from jtd_worker.verdict import Verdict, accepted, refusal
from jtd_worker.webhook_proof import (
    ReceiptSecrets,
    document,
    header,
    moment,
    must_be_one_of,
    reference,
    text,
)  # fmt: skip

CAPABILITIES = Capabilities(unknown_rule=UnknownRule.HOLD, sureness=Sureness.DOCUMENTED, has_receipts=True)

BY_CODE = {"bad_number": Verdict.RECIPIENT, "no_balance": Verdict.CREDENTIAL, "full": Verdict.BUSY}
KINDS = {
    "arrived": ReceiptKind.DELIVERED,
    "unreachable": ReceiptKind.SOFT_BOUNCED,
    "dead": ReceiptKind.BOUNCED,
}


class Settings(HttpSettings):
    base_url: ApiUrl = Field(default=HttpUrl("https://api.acme.example"), repr=False)
    token: SecretStr = Field(min_length=1)
    sender: str = "ACME"


def build(settings: Settings, channel: str) -> Adapter:
    token = settings.token.get_secret_value()
    return HttpAdapter(settings, CAPABILITIES, partial(_write, settings, token), _read, secrets=[token])


def _write(settings: Settings, token: str, message: Message) -> HttpRequest:
    return HttpRequest(
        url=settings.url("/v1/messages"),
        headers={"authorization": f"Bearer {token}", "content-type": "application/json"},
        body=json_body({"to": message.to, "from": message.sender or settings.sender, "text": message.text,
                        "ref": str(message.jtd_id)}),
    )  # fmt: skip


def _read(answer: Answer) -> SendResult:
    code = answer.text_at("error", "code")
    if answer.is_success and code is None:
        return accepted(answer, answer.text_at("id"))
    return refusal(answer, BY_CODE.get(code or ""), code=code)


class ReceiptSettings(ReceiptSecrets):
    """`secrets` stand in the header `x-acme-token`."""


def build_receipts(settings: ReceiptSettings) -> ReceiptParser:
    return partial(_receipts, settings)


def _receipts(settings: ReceiptSettings, request: WebhookRequest) -> list[Receipt]:
    must_be_one_of([header(request, "x-acme-token")], settings.each)
    event = document(request)
    key = text(event.get("event"), 200) if isinstance(event, dict) else None
    if key is None:
        raise MalformedError("the body is no event")
    kind = KINDS.get(text(event.get("status")) or "")
    return [] if kind is None else [
        Receipt(kind=kind, event_key=key, provider_message_id=text(event.get("id"), 200),
                reference=reference(event.get("ref")), at=moment(event.get("at")))
    ]  # fmt: skip
