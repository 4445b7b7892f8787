"""Pretends to be a provider: what happens to a message, receipts included, is written in its recipient."""

import asyncio
import json
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final, Literal, Self, TypeAlias, assert_never
from uuid import UUID

import httpx
import structlog
from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from jtd_worker.adapter import Adapter, Capabilities, SingleSend, UnknownRule
from jtd_worker.channels import any_webhook
from jtd_worker.http_adapter import ApiUrl
from jtd_worker.http_exchange import Answer, Exchange, HttpRequest, Timeouts
from jtd_worker.masking import Mask
from jtd_worker.message import Message
from jtd_worker.receipt import ReceiptKind
from jtd_worker.result import Refused, Retry, Scope, SendResult, Sent, Throttled, Unknown
from jtd_worker.standard_webhooks import parse_secrets, sign

CAPABILITIES: Final = Capabilities(unknown_rule=UnknownRule.HOLD, echoes_reference=True, has_receipts=True)

ReceiptSettings = any_webhook.ReceiptSettings
build_receipts = any_webhook.build_receipts

log = structlog.get_logger()

Answering: TypeAlias = Literal["sent", "slow", "refused", "unknown", "throttled", "down"]
_PAUSES: Final = (1.0, 5.0, 30.0, 0.0)
"""Seconds after each time that a receipt was not taken."""
_REMEMBERED: Final = 1_000
"""Messages that were throttled once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """What happens to a message."""

    answer: Answering = "sent"
    receipts: tuple[ReceiptKind, ...] = ()
    code: str | None = None


FATES: Final[Mapping[str, Fate]] = {
    "delivered": Fate(receipts=(ReceiptKind.DELIVERED,)),
    "read": Fate(receipts=(ReceiptKind.DELIVERED, ReceiptKind.READ)),
    "bounce": Fate(receipts=(ReceiptKind.BOUNCED,), code="550"),
    "soft": Fate(receipts=(ReceiptKind.SOFT_BOUNCED,), code="452"),
    "complaint": Fate(receipts=(ReceiptKind.DELIVERED, ReceiptKind.COMPLAINED)),
    "slow": Fate(answer="slow", receipts=(ReceiptKind.DELIVERED,)),
    "refused": Fate(answer="refused"),
    "unknown": Fate(answer="unknown"),
    "throttled": Fate(answer="throttled", receipts=(ReceiptKind.DELIVERED,)),
    "down": Fate(answer="down"),
}
"""By what stands before the @; for what has none, in this order, by its last two digits: 01, 02 and so on."""
_BY_SUFFIX: Final = {f"{place:02}": fate for place, fate in enumerate(FATES.values(), start=1)}


class Settings(BaseModel):
    """How long things take, and where the receipts go; `repr` and errors do not show the secret."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    receipts_url: ApiUrl | None = Field(default=None, repr=False)
    """Where `jtd-worker serve` takes receipts by the Standard Webhooks scheme; None: there are none."""
    receipts_secret: SecretStr | None = None
    """`whsec_<base64>`, the one that is expected there; with the URL, or neither."""
    receipt_seconds: float = Field(default=1, ge=0, le=3600)
    """Before each receipt."""
    slow_seconds: float = Field(default=5, ge=0, le=600)
    """Before the answer to a slow one."""
    throttled_seconds: float = Field(default=5, ge=0, le=3600)
    """The pause that is asked for."""
    unknown: UnknownRule = CAPABILITIES.unknown_rule

    @field_validator("receipts_secret")
    @classmethod
    def _must_sign(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is not None:
            parse_secrets(secret.get_secret_value())
        return secret

    @model_validator(mode="after")
    def _has_both(self) -> Self:
        if (self.receipts_url is None) != (self.receipts_secret is None):
            raise ValueError("receipts_url and receipts_secret: give both, or neither")
        return self


def build(settings: Settings, channel: str) -> Adapter:
    """Make the adapter, the same for every channel."""
    return Simulator(settings)


def fate_of(to: str) -> Fate:
    """Return what happens to a message to this address, number or id; delivered if it says nothing."""
    local, at, _ = to.partition("@")
    found = FATES.get(local.partition("+")[0].lower()) if at else _BY_SUFFIX.get(to[-2:])
    return found or FATES["delivered"]


class Simulator(SingleSend):
    """Sends nothing, and answers by the recipient."""

    def __init__(self, settings: Settings) -> None:
        self.capabilities = replace(CAPABILITIES, unknown_rule=settings.unknown)
        self._settings = settings
        self._receipts = Receipts(settings)
        self._throttled: OrderedDict[UUID, None] = OrderedDict()

    async def send_one(self, message: Message) -> SendResult:
        """Do to the message what its recipient says."""
        fate = fate_of(message.to)
        match fate.answer:
            case "refused":
                return Refused(
                    retry=Retry.NEVER, scope=Scope.RECIPIENT, code="simulated_refused", reason="simulated"
                )
            case "down":
                return Refused(
                    retry=Retry.LATER, scope=Scope.NETWORK, code="simulated_down", reason="simulated"
                )
            case "unknown":
                return Unknown(code="simulated_unknown", reason="simulated: the answer was lost")
            case "throttled" if self._is_new(message.jtd_id):
                wait = timedelta(seconds=self._settings.throttled_seconds)
                return Throttled(retry_after=wait, code="simulated_throttled", reason="simulated")
            case "slow":
                await asyncio.sleep(self._settings.slow_seconds)
            case "sent" | "throttled":
                pass
            case _:
                assert_never(fate.answer)
        self._receipts.begin(message, fate)
        return Sent(provider_message_id=f"sim-{message.idempotency_key}")

    async def aclose(self) -> None:
        """Report what is still to be reported, without the pauses, and once only."""
        await self._receipts.aclose()

    def _is_new(self, jtd_id: UUID) -> bool:
        is_new = jtd_id not in self._throttled
        self._throttled[jtd_id] = None
        if len(self._throttled) > _REMEMBERED:
            self._throttled.popitem(last=False)
        return is_new


class Receipts:
    """Reports what becomes of messages, as a provider's webhooks would."""

    def __init__(self, settings: Settings) -> None:
        self._url = httpx.URL(str(settings.receipts_url)) if settings.receipts_url else None
        secret = settings.receipts_secret
        self._secrets: Sequence[bytes] = parse_secrets(secret.get_secret_value()) if secret else ()
        self._pause = settings.receipt_seconds
        self._exchange = Exchange(Timeouts.within(5))
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = asyncio.Event()

    def begin(self, message: Message, fate: Fate) -> None:
        """Report all of a message's receipts, one after the other, while the caller goes on."""
        if self._url is not None and fate.receipts:
            task = asyncio.create_task(self._report(self._url, message, fate))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def aclose(self) -> None:
        self._closing.set()
        await asyncio.gather(*self._tasks)
        await self._exchange.aclose()

    async def _report(self, url: httpx.URL, message: Message, fate: Fate) -> None:
        for kind in fate.receipts:
            await self._wait(self._pause)
            key, body = f"{message.idempotency_key}-{kind}", _body(message, kind, fate)
            for pause in _PAUSES:
                answer = await self._exchange.ask(self._signed(url, key, body), Mask())
                if isinstance(answer, Answer) and answer.is_success:
                    break
                if self._closing.is_set() or not pause:
                    log.warning("simulator.receipt_lost", jtd_id=message.jtd_id, channel=message.channel)
                    return
                await self._wait(pause)

    def _signed(self, url: httpx.URL, key: str, body: bytes) -> HttpRequest:
        timestamp = int(time.time())
        return HttpRequest(
            url=url,
            body=body,
            headers={
                "content-type": "application/json",
                "webhook-id": key,
                "webhook-timestamp": str(timestamp),
                "webhook-signature": " ".join(sign(one, key, timestamp, body) for one in self._secrets),
            },
        )

    async def _wait(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._closing.wait()


def _body(message: Message, kind: ReceiptKind, fate: Fate) -> bytes:
    event = {
        "id": str(message.jtd_id),
        "kind": kind,
        "at": datetime.now(UTC).isoformat(),
        "code": fate.code,
        "reason": "simulated",
    }
    return json.dumps({"type": "jtd.receipt", "data": event}).encode()
