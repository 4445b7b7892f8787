"""SMS by Twilio (the vendor's OpenAPI file `twilio_api_v2010`; request validator of twilio-python)."""

import hmac
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from hashlib import sha256
from typing import Any, Final, Self
from urllib.parse import SplitResult, parse_qs, parse_qsl, urlencode, urlsplit

import httpx
from pydantic import Field, HttpUrl, SecretStr, model_validator

from jtd_worker.adapter import Adapter, Capabilities, Sureness, UnknownRule
from jtd_worker.http_adapter import ApiUrl, HttpAdapter, HttpSettings, KeylessRule
from jtd_worker.http_exchange import Answer, HttpRequest
from jtd_worker.masking import contact
from jtd_worker.message import Message
from jtd_worker.receipt import (
    ForgedError,
    MalformedError,
    Receipt,
    ReceiptKind,
    ReceiptParser,
    WebhookRequest,
)
from jtd_worker.result import SendResult
from jtd_worker.verdict import Verdict, accepted, refusal
from jtd_worker.webhook_proof import (
    ReceiptSecrets,
    document,
    header,
    key_of,
    must_be_one_of,
    reference,
    text,
)

# There is no key against duplicates, and a second SMS is paid for and read.
CAPABILITIES: Final = Capabilities(
    unknown_rule=UnknownRule.WAIT_FOR_RECEIPT,
    sureness=Sureness.VECTORS,
    has_receipts=True,
    echoes_reference=True,
)

_REFERENCE: Final = "ref"
"""The parameter of the callback's URL that comes back with each receipt."""


class Settings(HttpSettings):
    """Whose account, and from which number or service an SMS is."""

    base_url: ApiUrl = Field(default=HttpUrl("https://api.twilio.com"), repr=False)
    account_sid: str = Field(pattern=r"^AC[0-9a-fA-F]{32}$")
    api_key: str | None = Field(default=None, pattern=r"^SK[0-9a-fA-F]{32}$")
    """The SID of an API key; then `auth_token` is its secret."""
    auth_token: SecretStr = Field(min_length=1)
    sender: str | None = Field(default=None, alias="from", min_length=1)
    """A number in E.164, a short code or an alphanumeric sender id."""
    messaging_service: str | None = Field(default=None, pattern=r"^MG[0-9a-fA-F]{32}$")
    """Instead of `from`: the service picks the sender."""
    status_callback: ApiUrl | None = Field(default=None, repr=False)
    """Where receipts go, as the provider sees it; without it there are none."""
    validity_seconds: int | None = Field(default=None, ge=1, le=36_000)
    """How long Twilio may go on trying; None: as long as it does by itself, 10 h."""
    unknown: KeylessRule = None

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if (self.sender is None) == (self.messaging_service is None):
            raise ValueError("give either FROM or MESSAGING_SERVICE")
        if self.unknown is UnknownRule.WAIT_FOR_RECEIPT and self.status_callback is None:
            raise ValueError("without STATUS_CALLBACK no receipt comes to wait for")
        return self


def build(settings: Settings, channel: str) -> Adapter:
    """Make the adapter; it connects with the first message."""
    token = settings.auth_token.get_secret_value()
    login = f"{settings.api_key or settings.account_sid}:{token}"
    basic = b64encode(login.encode()).decode()
    write = partial(_write, settings, f"Basic {basic}")
    return HttpAdapter(settings, _capabilities(settings), write, _read, secrets=[token, basic])


def _capabilities(settings: Settings) -> Capabilities:
    if settings.status_callback is not None:
        return CAPABILITIES
    return replace(CAPABILITIES, unknown_rule=UnknownRule.HOLD, has_receipts=False, echoes_reference=False)


def _write(settings: Settings, authorization: str, message: Message) -> HttpRequest:
    sender = message.sender or settings.sender
    form = {
        "To": message.to,
        "From": sender,
        "MessagingServiceSid": None if sender else settings.messaging_service,
        "Body": message.text,
        "StatusCallback": _callback(settings.status_callback, message),
        "ValidityPeriod": settings.validity_seconds,
    }
    return HttpRequest(
        url=settings.url(f"/2010-04-01/Accounts/{settings.account_sid}/Messages.json"),
        headers={"authorization": authorization, "content-type": "application/x-www-form-urlencoded"},
        body=urlencode({name: value for name, value in form.items() if value is not None}).encode(),
    )


def _callback(url: HttpUrl | None, message: Message) -> str | None:
    if url is None:
        return None
    # the URL is part of what a receipt's signature is over
    return str(httpx.URL(str(url)).copy_merge_params({_REFERENCE: str(message.jtd_id)}))


def _read(answer: Answer) -> SendResult:
    if answer.is_success:
        return accepted(answer, answer.text_at("sid"))
    code = answer.text_at("code")
    if code is None:
        return refusal(answer)
    return refusal(
        answer,
        _BY_CODE.get(code),
        code=f"twilio_{code}"[:100],
        text=answer.text_at("message"),
        wait=_WAITS.get(code),
    )


# From memory and from what others met, not from the vendor, who splits codes now and then: what is not here
# goes by the HTTP status.
_BY_CODE: Final[Mapping[str, Verdict]] = {
    **dict.fromkeys(
        # the key, the account, the sender, a country that is not switched on
        ("10001", "20003", "20005", "20008", "20404", "21212", "21219", "21408", "21603", "21606", "21608",
         "21659", "21660", "21661", "21701", "21703", "30034"),
        Verdict.CREDENTIAL,
    ),
    **dict.fromkeys(("21211", "21214", "21217", "21265", "21612", "21614", "21635"), Verdict.RECIPIENT),
    # Opted out: another provider would break the law, so this must never become ELSEWHERE.
    "21610": Verdict.RECIPIENT,
    **dict.fromkeys(("21602", "21617", "21619", "21620", "21623"), Verdict.MESSAGE),
    **dict.fromkeys(("14107", "20429", "63038"), Verdict.THROTTLED),
}  # fmt: skip
_WAITS: Final[Mapping[str, timedelta]] = {
    "14107": timedelta(seconds=1),
    "20429": timedelta(seconds=1),  # too many requests at once
    "63038": timedelta(minutes=15),  # the account's messages of a day
}


class ReceiptSettings(ReceiptSecrets):
    """`secrets` are the account's auth tokens: an API key changes nothing here.

    Nothing signed holds a time: an old copy is only known by its event key.
    """


def build_receipts(settings: ReceiptSettings) -> ReceiptParser:
    """Make the parser of status callbacks."""
    return partial(_receipts, [token.encode() for token in settings.each])


def _receipts(tokens: Sequence[bytes], request: WebhookRequest) -> Sequence[Receipt]:
    url = _split(request.url)
    query = parse_qs(url.query)
    digests = query.get("bodySHA256")
    if digests is None:
        form = _form(request.body)
        signed = "".join(name + value for name in sorted(form) for value in sorted(form[name]))
        fields: Any = {name: max(values) for name, values in form.items()}
    else:
        # the signed URL vouches for a body that is no form
        must_be_one_of([digests[0].lower()], [sha256(request.body).hexdigest()])
        signed = ""
    urls = _with_and_without_port(url)
    must_be_one_of(
        [header(request, "x-twilio-signature")],
        [_signature(token, each + signed) for token in tokens for each in urls],
    )
    if digests is not None:
        fields = document(request)
    if not isinstance(fields, dict):
        raise MalformedError("the body is no JSON object")
    return list(_receipt(fields, query.get(_REFERENCE, [""])[0]))


def _split(url: str) -> SplitResult:
    try:
        split = urlsplit(url)
        _ = split.port
    except ValueError:
        raise ForgedError("the URL cannot be read") from None
    return split


def _form(body: bytes) -> Mapping[str, set[str]]:
    """Read a form: each name with its different values."""
    form: dict[str, set[str]] = {}
    for name, value in parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True):
        form.setdefault(name, set()).add(value)
    return form


def _with_and_without_port(url: SplitResult) -> tuple[str, str]:
    """Some of the vendor's senders sign the port of the scheme, and some do not."""
    bare = url.netloc.removesuffix(f":{url.port}")
    port = url.port or (443 if url.scheme == "https" else 80)
    return url._replace(netloc=bare).geturl(), url._replace(netloc=f"{bare}:{port}").geturl()


def _signature(token: bytes, signed: str) -> str:
    return b64encode(hmac.digest(token, signed.encode("utf-8", "replace"), "sha1")).decode()


def _receipt(fields: Mapping[str, Any], echoed: str) -> Iterator[Receipt]:
    sid = text(fields.get("MessageSid"), 200) or text(fields.get("SmsSid"), 200)
    status = text(fields.get("MessageStatus"), 200) or text(fields.get("SmsStatus"), 200)
    code = text(fields.get("ErrorCode"), 100)
    kind = _KINDS.get(status or "")
    if sid is None or status is None or kind is None:
        return
    recipient = text(fields.get("To"), 320)
    reason = text(fields.get("ErrorMessage"))
    yield Receipt(
        kind=_BY_ERROR.get(code or "", kind) if kind is ReceiptKind.FAILED else kind,
        event_key=key_of(sid, status),
        provider_message_id=sid,
        reference=reference(echoed),
        recipient=recipient,
        code=code and f"twilio_{code}",
        reason=contact(recipient or "").reason(reason) if reason else None,
    )


_KINDS: Final = {
    **dict.fromkeys(("accepted", "scheduled", "queued", "sending", "sent"), ReceiptKind.SENT),
    **dict.fromkeys(("delivered", "partially_delivered"), ReceiptKind.DELIVERED),
    "read": ReceiptKind.READ,
    **dict.fromkeys(("undelivered", "failed", "canceled"), ReceiptKind.FAILED),
}
_BY_ERROR: Final = {
    "21610": ReceiptKind.UNSUBSCRIBED,
    **dict.fromkeys(("21211", "21614", "30006"), ReceiptKind.BOUNCED),  # no number, or a landline
    **dict.fromkeys(("30001", "30003", "30004", "30005", "30008", "30410"), ReceiptKind.SOFT_BOUNCED),
}
"""From memory: only what surely never takes an SMS is a bounce, which shuts the recipient out."""
