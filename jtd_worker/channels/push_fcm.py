"""Push by Firebase Cloud Messaging, HTTP v1 API (the vendor's Admin SDK; its page `ErrorCode`)."""

from functools import partial
from typing import Any, Final

from pydantic import Field, HttpUrl, SecretStr, field_validator

from jtd_worker.adapter import Adapter, Capabilities, Sureness, UnknownRule
from jtd_worker.device_adapter import (
    LONGEST_TTL,
    URGENT,
    DeviceAdapter,
    action_url,
    device_of,
    extra_data,
    seconds_to_live,
)
from jtd_worker.google_token import AccessTokens, service_account
from jtd_worker.http_adapter import ApiUrl, HttpSettings, json_body
from jtd_worker.http_exchange import Answer, HttpRequest
from jtd_worker.masking import Mask
from jtd_worker.message import Message
from jtd_worker.result import Json, Refused, SendResult
from jtd_worker.verdict import Verdict, accepted, refusal

# There is no key against duplicates; a second copy takes the place of the first on the device.
CAPABILITIES: Final = Capabilities(
    unknown_rule=UnknownRule.RESEND, sureness=Sureness.DOCUMENTED, devices="fcm"
)

SCOPE: Final = "https://www.googleapis.com/auth/firebase.messaging"
_FCM_ERROR: Final = "type.googleapis.com/google.firebase.fcm.v1.FcmError"


class Settings(HttpSettings):
    """Whose project."""

    base_url: ApiUrl = Field(default=HttpUrl("https://fcm.googleapis.com"), repr=False)
    service_account: SecretStr
    """The JSON key of a service account that may send, or the path of its file."""
    ttl_seconds: int = Field(default=86_400, ge=0, le=LONGEST_TTL)
    """How long a device that is off may get it later; `expires_at` of the job shortens it."""

    @field_validator("service_account")
    @classmethod
    def _is_key(cls, given: SecretStr) -> SecretStr:
        service_account(given.get_secret_value())
        return given


def build(settings: Settings, channel: str) -> Adapter:
    """Make the adapter; it fetches a token and connects with the first message."""
    return Fcm(settings)


class Fcm(DeviceAdapter):
    """Sends with an access token, which is fetched before the first byte for a device is written."""

    def __init__(self, settings: Settings) -> None:
        account = service_account(settings.service_account.get_secret_value())
        self._tokens = AccessTokens(account, SCOPE)
        super().__init__(
            settings,
            CAPABILITIES,
            partial(_write, settings, account["project_id"], self._tokens),
            partial(_read, self._tokens),
        )

    async def send_one(self, message: Message) -> SendResult:
        """Send to all devices, unless there is no token: then nothing has left."""
        token = await self._tokens.get()
        if isinstance(token, Refused):
            return token
        self._mask = Mask.of("<secret>", [token])
        return await super().send_one(message)


def _write(settings: Settings, project: str, tokens: AccessTokens, message: Message) -> HttpRequest:
    key = message.idempotency_key
    is_urgent = message.priority >= URGENT
    ttl = seconds_to_live(message, settings.ttl_seconds)
    url = action_url(message)
    data = {**extra_data(message), "jtd_id": str(message.jtd_id), **({"url": url} if url else {})}
    apns = {"apns-collapse-id": key, "apns-priority": "10" if is_urgent else "5"}
    if message.expires_at:
        apns["apns-expiration"] = str(int(message.expires_at.timestamp()))
    document: dict[str, Any] = {
        "token": device_of(message).token,
        "notification": {
            name: text for name, text in (("title", message.subject), ("body", message.text)) if text
        },
        "data": data,
        # all of them: a copy takes the place of the first, waiting or shown
        "android": {
            "collapse_key": key,
            "priority": "high" if is_urgent else "normal",
            "ttl": f"{ttl}s",
            "notification": {"tag": key},
        },
        "apns": {"headers": apns},
        "webpush": {"headers": {"TTL": str(ttl)}, "notification": {"tag": key}},
    }
    return HttpRequest(
        url=settings.url(f"/v1/projects/{project}/messages:send"),
        headers={"authorization": f"Bearer {tokens.latest}", "content-type": "application/json"},
        body=json_body({"message": document}),
    )


def _read(tokens: AccessTokens, answer: Answer) -> SendResult:
    if answer.is_success:
        return accepted(answer, answer.text_at("name"))
    own = _own_code(answer)
    if answer.status == 401 and own is None:
        tokens.forget()
    return refusal(
        answer, _verdict(answer, own), code=own or _status(answer), text=answer.text_at("error", "message")
    )


def _verdict(answer: Answer, own: str | None) -> Verdict | None:
    match answer.status, own:
        case 404, "UNREGISTERED":
            return Verdict.RECIPIENT
        case 400, "INVALID_ARGUMENT" if _fields(answer) == {"message.token"}:
            return Verdict.RECIPIENT
        case 403, "SENDER_ID_MISMATCH":
            # the device is of another project, which is no fault of ours nor the end of the device
            return Verdict.MESSAGE
        case _:
            return None


def _own_code(answer: Answer) -> str | None:
    """Return what FCM itself says; without it a server before it spoke, of no device at all."""
    for detail in _details(answer):
        if detail.get("@type") == _FCM_ERROR and isinstance(detail.get("errorCode"), str):
            return str(detail["errorCode"])[:100] or None
    return None


def _fields(answer: Answer) -> set[Json]:
    """Return the fields that are called wrong."""
    violations = [
        violation
        for detail in _details(answer)
        if isinstance(detail.get("fieldViolations"), list)
        for violation in detail["fieldViolations"]
    ]
    return {str(one.get("field")) if isinstance(one, dict) else None for one in violations}


def _details(answer: Answer) -> list[dict[str, Any]]:
    details = answer.at("error", "details")
    return [one for one in details if isinstance(one, dict)] if isinstance(details, list) else []


def _status(answer: Answer) -> str | None:
    status = answer.text_at("error", "status")
    return status[:100] if status else None
