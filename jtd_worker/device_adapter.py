"""What adapters share that send one message to each device of a user, with a result for each."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from jtd_worker.adapter import side_by_side, unanswered
from jtd_worker.http_adapter import HttpAdapter
from jtd_worker.message import Device, Message
from jtd_worker.result import Json, Refused, Retry, Scope, SendResult, Sent, Throttled, Unknown

LONGEST_TTL: Final = 2_419_200
"""Seconds: four weeks, beyond which no push service keeps a message."""
URGENT: Final = 8
"""Priority from which a device is woken for a message."""

_SAFE: Final = ("https://", "http://", "/")


class DeviceAdapter(HttpAdapter):
    """A provider that takes one request per device.

    `write` and `read` are for one: `write` finds it as `device_of(message)`. If `read` refuses it for good
    with scope RECIPIENT, that device is gone and will be deleted; so it must be the provider's definite word.
    """

    async def send_one(self, message: Message) -> SendResult:
        """Send to all devices side by side; what one of them answers never holds up the others."""
        if not message.devices:
            return Refused(
                retry=Retry.NEVER,
                scope=Scope.RECIPIENT,
                code="no_device",
                reason="there is no device to send to",
            )
        send = super().send_one
        answers = await side_by_side(send(replace(message, devices=(device,))) for device in message.devices)
        return best_of(
            message.devices,
            [unanswered(answer) if isinstance(answer, BaseException) else answer for answer in answers],
        )


def best_of(devices: Sequence[Device], results: Sequence[SendResult]) -> SendResult:
    """Return the result of a message by those of its devices, at least one, in their order.

    Once a device has it the message is sent: trying again would show it there twice. How many have it is
    in `response` under `devices`: `sent`, `gone` and `failed`.
    """
    gone = tuple(device.id for device, result in zip(devices, results, strict=True) if _is_gone(result))
    kinds = Counter(
        "sent" if isinstance(result, Sent) else "gone" if _is_gone(result) else "failed" for result in results
    )
    told: dict[str, Json] = {"devices": {kind: kinds[kind] for kind in ("sent", "gone", "failed")}}
    best = min(results, key=_rank)
    match best:
        case Refused() if len(gone) == len(results):
            return Refused(
                retry=Retry.NEVER,
                scope=Scope.RECIPIENT,
                code="all_devices_gone",
                reason=f"none of {len(gone)} devices takes messages any more: {best.reason}",
                response={**best.response, **told},
                gone_devices=gone,
            )
        case Sent() | Refused():
            return replace(best, response={**best.response, **told}, gone_devices=gone)
        case Unknown():
            return replace(best, response={**best.response, **told})
        case Throttled():
            return best


def _is_gone(result: SendResult) -> bool:
    match result:
        case Refused(retry=Retry.NEVER, scope=Scope.RECIPIENT):
            return True
        case _:
            return False


def _rank(result: SendResult) -> int:
    match result:
        case Sent():
            return 0
        case Unknown():
            return 1
        case Throttled():
            return 2
        case Refused(retry=Retry.LATER):
            return 3
        case Refused(retry=Retry.AFTER_OPERATOR):
            return 4
        case Refused(retry=Retry.ELSEWHERE):
            return 5
        case _:
            return 7 if _is_gone(result) else 6


def device_of(message: Message) -> Device:
    """Return the device to write for."""
    (device,) = message.devices
    return device


def seconds_to_live(message: Message, most: int) -> int:
    """Return for how many seconds from now the message is worth showing, 0 to `most`."""
    if message.expires_at is None:
        return most
    return min(most, max(0, int((message.expires_at - datetime.now(UTC)).total_seconds())))


def action_url(message: Message) -> str | None:
    """Return what a tap opens: `action_url` of the metadata, else of the variables.

    Raises ValueError if it is no address of a page: an app may open what it is given.
    """
    for source in (message.metadata, message.variables):
        url = source.get("action_url")
        if isinstance(url, str) and url.strip():
            if not url.strip().lower().startswith(_SAFE):
                raise ValueError("action_url must begin with https://, http:// or /")
            return url.strip()
    return None


def extra_data(message: Message) -> Mapping[str, str]:
    """Return `data` of the metadata for the app, all values as texts; anything but an object is none."""
    given = message.metadata.get("data")
    if not isinstance(given, Mapping):
        return {}
    return {
        name: value
        if isinstance(value, str)
        else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        for name, value in given.items()
        if value is not None
    }
