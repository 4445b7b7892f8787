"""WhatsApp by Meta's Cloud API (the library pywa, which others keep; the vendor's page of error codes)."""

import hmac
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from functools import partial
from pathlib import PurePosixPath
from typing import Any, Final, TypeAlias
from urllib.parse import parse_qs, unquote, urlsplit

from pydantic import Field, HttpUrl, SecretStr

from jtd_worker import whatsapp_template
from jtd_worker.adapter import Adapter, Capabilities, Sureness, UnknownRule
from jtd_worker.errors import RenderError
from jtd_worker.http_adapter import ApiUrl, HttpAdapter, HttpSettings, KeylessRule, json_body
from jtd_worker.http_exchange import Answer, HttpRequest
from jtd_worker.masking import contact
from jtd_worker.message import Message, ProviderTemplate
from jtd_worker.receipt import (
    ForgedError,
    Handshake,
    MalformedError,
    Receipt,
    ReceiptKind,
    ReceiptParser,
    WebhookRequest,
)
from jtd_worker.result import Json, Refused, Retry, Scope, SendResult
from jtd_worker.verdict import Verdict, accepted, refusal
from jtd_worker.webhook_proof import (
    ReceiptSecrets,
    document,
    header,
    key_of,
    moment,
    must_be_one_of,
    reference,
    text,
)

# There is no key against duplicates, and a second message is paid for and read.
CAPABILITIES: Final = Capabilities(
    unknown_rule=UnknownRule.WAIT_FOR_RECEIPT,
    sureness=Sureness.THIRD_PARTY,
    has_receipts=True,
    echoes_reference=True,
)

_Fields: TypeAlias = dict[str, Json]


class Settings(HttpSettings):
    """Whose number, and what may be sent from it."""

    base_url: ApiUrl = Field(default=HttpUrl("https://graph.facebook.com"), repr=False)
    version: str = Field(default="v25.0", pattern=r"^v[0-9]{1,3}\.[0-9]{1,2}$")
    """Of the Graph API; one ends about two years after it came."""
    phone_number_id: str = Field(pattern=r"^[0-9]{1,30}$")
    """The id of the sending number, which is not the number."""
    token: SecretStr = Field(min_length=1)
    """Of a system user, which does not expire."""
    allow_text: bool = False
    """Whether a message without template goes as free text; only within 24 h of the recipient's own."""
    unknown: KeylessRule = None


def build(settings: Settings, channel: str) -> Adapter:
    """Make the adapter; it connects with the first message."""
    token = settings.token.get_secret_value()
    return HttpAdapter(settings, CAPABILITIES, partial(_write, settings, token), _read, secrets=[token])


# Writing


def _write(settings: Settings, token: str, message: Message) -> HttpRequest | Refused:
    content = _content(settings, message)
    if isinstance(content, Refused):
        return content
    number_id = message.sender or settings.phone_number_id
    if not (number_id.isascii() and number_id.isdigit()):
        raise ValueError("the sender is not the id of a WhatsApp number, which is all digits")
    return HttpRequest(
        url=settings.url(f"/{settings.version}/{number_id}/messages"),
        headers={"authorization": f"Bearer {token}", "content-type": "application/json"},
        body=json_body(
            {
                "messaging_product": "whatsapp",
                "recipient_type": "individual",
                "to": message.to.removeprefix("+"),
                "biz_opaque_callback_data": str(message.jtd_id),
                **content,
            }
        ),
    )


def _content(settings: Settings, message: Message) -> _Fields | Refused:
    if message.template is not None and message.template.id:
        return {"type": "template", "template": _template(message.template, message.metadata)}
    if settings.allow_text:
        return {"type": "text", "text": {"body": message.text, "preview_url": False}}
    return Refused(
        retry=Retry.NEVER,
        scope=Scope.TEMPLATE,
        code="template_missing",
        reason="WhatsApp takes approved templates only, and this job's template names none",
    )


def _template(template: ProviderTemplate, metadata: Mapping[str, Json]) -> _Fields:
    if not template.language:
        raise RenderError("language_missing", "a template of WhatsApp is approved for one language; set it")
    parts = [*_header(metadata.get("media_url")), *_body(template), *_button(metadata.get("button_suffix"))]
    named: _Fields = {
        "name": template.id,
        "language": {"code": template.language.replace("-", "_"), "policy": "deterministic"},
    }
    return {**named, "components": list(parts)} if parts else named


def _header(media_url: Json) -> Iterator[_Fields]:
    if media_url is None:
        return
    if not isinstance(media_url, str) or not media_url.startswith("https://"):
        raise RenderError("media_invalid", "metadata.media_url is not an https URL")
    try:
        path = PurePosixPath(unquote(urlsplit(media_url).path))
    except ValueError:
        raise RenderError("media_invalid", "metadata.media_url is not a URL") from None
    kind = _MEDIA.get(path.suffix.lower())
    if kind is None:
        raise RenderError("media_invalid", f"metadata.media_url ends in none of {' '.join(sorted(_MEDIA))}")
    media: _Fields = {"link": media_url}
    if kind == "document":
        media["filename"] = path.name
    yield {"type": "header", "parameters": [{"type": kind, kind: media}]}


_MEDIA: Final = {
    **dict.fromkeys((".jpg", ".jpeg", ".png"), "image"),
    **dict.fromkeys((".mp4", ".3gp"), "video"),
    **dict.fromkeys(
        (".pdf", ".txt", ".doc", ".docx", ".xls", ".xlsx", ".ppt", ".pptx"),
        "document",
    ),
}


def _body(template: ProviderTemplate) -> Iterator[_Fields]:
    if not template.parameters:
        return
    names = [name for name, _ in template.parameters]
    is_named = template.format == "named"
    if is_named and (len(set(names)) < len(names) or not all(map(_NAME.fullmatch, names))):
        raise RenderError("parameter_unsafe", "the named parameters of the template are not named one by one")
    yield {
        "type": "body",
        "parameters": [
            {
                "type": "text",
                "text": _parameter(name, value),
                **({"parameter_name": name} if is_named else {}),
            }
            for name, value in template.parameters
        ],
    }


def _button(suffix: Json) -> Iterator[_Fields]:
    if suffix is None:
        return
    if not isinstance(suffix, str):
        raise RenderError("parameter_unsafe", "metadata.button_suffix is no text")
    yield {
        "type": "button",
        "sub_type": "url",
        "index": "0",
        "parameters": [{"type": "text", "text": _parameter("button_suffix", suffix)}],
    }


_NAME: Final = re.compile(r"[a-z0-9_]*[a-z_][a-z0-9_]*")


def _parameter(name: str, value: str) -> str:
    """Return a text that arrives: the provider takes others over, and then they are not delivered."""
    whatsapp_template.check_parameters([(name, value)])
    return value


# Reading


def _read(answer: Answer) -> SendResult:
    if answer.is_success:
        return accepted(answer, answer.text_at("messages", 0, "id"))
    code = answer.text_at("error", "code")
    if code is None:
        return refusal(answer)
    verdict = _BY_CODE.get(code)
    if code == "100" and answer.text_at("error", "error_subcode") == "33":
        verdict = Verdict.CREDENTIAL  # no number of ours has this id
    elif verdict is None and answer.at("error", "is_transient") is True:
        verdict = Verdict.BUSY
    return refusal(
        answer,
        verdict,
        code=f"meta_{code}"[:100],
        text=answer.text_at("error", "error_data", "details") or answer.text_at("error", "message"),
        wait=_WAITS.get(code),
    )


_BY_CODE: Final[Mapping[str, Verdict]] = {
    **dict.fromkeys(
        # the token, its rights, the account, its payment, its number, the spam limit of its number
        ("0", "3", "10", "190", *map(str, range(200, 300)), "368", "131005", "131031", "131037", "131042",
         "131045", "131048", "131063", "133010"),
        Verdict.CREDENTIAL,
    ),
    **dict.fromkeys(
        ("132000", "132001", "132005", "132007", "132008", "132012", "132015", "132016", "132018", "132068",
         "132069"),
        Verdict.TEMPLATE,
    ),
    # Not on WhatsApp, outside the 24 h of free text, or in a country that this account may not write to.
    **dict.fromkeys(("130497", "131026", "131047"), Verdict.ELSEWHERE),
    # 131050 is an opt-out: another provider must not take it.
    **dict.fromkeys(("131021", "131030", "131050", "131062", "137000"), Verdict.RECIPIENT),
    **dict.fromkeys(("100", "131008", "131009", "131051", "131052", "131053"), Verdict.MESSAGE),
    # Held back by the vendor, who asks not to try again soon; the recipient is none to be shut out.
    **dict.fromkeys(("130472", "131049", "131064"), Verdict.MESSAGE),
    **dict.fromkeys(("4", "613", "80007", "130429", "133016"), Verdict.THROTTLED),
    "131056": Verdict.AGAIN,  # too many to this one recipient
    **dict.fromkeys(("1", "2", "131016", "131057", "135000"), Verdict.BUSY),
    "131000": Verdict.UNSURE,  # "something went wrong", and nobody says before or after what
}  # fmt: skip
_WAITS: Final[Mapping[str, timedelta]] = {
    "130429": timedelta(seconds=4),
    "131056": timedelta(seconds=6),
    "131057": timedelta(minutes=5),  # maintenance
}


# Receipts


class ReceiptSettings(ReceiptSecrets):
    """`secrets` are those of the app, not the token.

    Nothing signed holds a time of the request: an old copy is only known by its event key.
    """

    verify_token: SecretStr | None = Field(default=None, min_length=1)
    """Made up by you and entered in the app's panel: the vendor shows it once, before it sends anything."""


def build_receipts(settings: ReceiptSettings) -> ReceiptParser:
    """Make the parser of the app's webhook: status changes, and who stops marketing."""
    token = settings.verify_token
    return partial(
        _receipts, [secret.encode() for secret in settings.each], token.get_secret_value() if token else None
    )


def _receipts(
    secrets: Sequence[bytes], verify_token: str | None, request: WebhookRequest
) -> Sequence[Receipt] | Handshake:
    if request.method == "GET":
        return _handshake(verify_token, request)
    must_be_one_of(
        [header(request, "x-hub-signature-256")],
        [f"sha256={hmac.digest(secret, request.body, 'sha256').hex()}" for secret in secrets],
    )
    told = document(request)
    if not isinstance(told, dict):
        raise MalformedError("the body is no JSON object")
    return [
        receipt
        for entry in _dicts(told.get("entry"))
        for change in _dicts(entry.get("changes"))
        if isinstance(value := change.get("value"), dict)
        for receipt in (*_statuses(value), *_preferences(value))
    ]


def _handshake(verify_token: str | None, request: WebhookRequest) -> Handshake:
    try:
        query = parse_qs(urlsplit(request.url).query)
    except ValueError:
        raise ForgedError("the URL cannot be read") from None
    if verify_token is None:
        raise ForgedError("no verify token is set")
    must_be_one_of(query.get("hub.verify_token", [])[:1], [verify_token])
    match query:
        case {"hub.mode": ["subscribe"], "hub.challenge": [challenge]} if len(challenge) <= 200:
            return Handshake(text=challenge)
        case _:
            raise MalformedError("the handshake has no mode subscribe, or no short challenge")


def _dicts(value: Any) -> Iterator[Mapping[str, Any]]:
    yield from (one for one in value if isinstance(one, dict)) if isinstance(value, list) else ()


def _statuses(value: Mapping[str, Any]) -> Iterator[Receipt]:
    for status in _dicts(value.get("statuses")):
        message_id, name = text(status.get("id"), 200), text(status.get("status"), 100)
        kind = _KINDS.get(name or "")
        if message_id is None or name is None or kind is None:
            continue
        error = next(_dicts(status.get("errors")), {})
        code = text(error.get("code"), 90)
        if kind is ReceiptKind.FAILED:
            kind = _BY_ERROR.get(code or "", kind)
        recipient = _number(status.get("recipient_id"))
        yield Receipt(
            kind=kind,
            event_key=key_of(message_id, name, text(status.get("timestamp"), 30) or ""),
            provider_message_id=message_id,
            reference=reference(status.get("biz_opaque_callback_data")),
            recipient=recipient,
            at=moment(status.get("timestamp")),
            code=code and f"meta_{code}",
            reason=_reason(error, recipient or ""),
        )


_KINDS: Final = {
    "sent": ReceiptKind.SENT,
    "delivered": ReceiptKind.DELIVERED,
    "read": ReceiptKind.READ,
    "played": ReceiptKind.READ,
    "failed": ReceiptKind.FAILED,
}
_BY_ERROR: Final = {
    "131050": ReceiptKind.UNSUBSCRIBED,
    # 131026 says "not on WhatsApp" and much else: too little to shut a recipient out
    **dict.fromkeys(("130472", "131026", "131049"), ReceiptKind.SOFT_BOUNCED),
}


def _preferences(value: Mapping[str, Any]) -> Iterator[Receipt]:
    for wish in _dicts(value.get("user_preferences")):
        recipient = _number(wish.get("wa_id"))
        if recipient is None or wish.get("value") != "stop":
            continue
        category = text(wish.get("category"), 100) or ""
        yield Receipt(
            kind=ReceiptKind.UNSUBSCRIBED,
            event_key=key_of(recipient, "stop", category, text(wish.get("timestamp"), 30) or ""),
            recipient=recipient,
            at=moment(wish.get("timestamp")),
            details={"category": category},
        )


def _number(value: Any) -> str | None:
    """Give a number the plus sign that the vendor leaves out; ids that are none stay as they are."""
    given = text(value, 320)
    return f"+{given}" if given and given.isascii() and given.isdigit() else given


def _reason(error: Mapping[str, Any], recipient: str) -> str | None:
    data = error.get("error_data")
    details = text(data.get("details")) if isinstance(data, dict) else None
    found = details or text(error.get("message")) or text(error.get("title"))
    return contact(recipient).reason(found) if found else None
