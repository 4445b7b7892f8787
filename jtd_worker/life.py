"""The whole life of a job, told from the document of `jtd.show_v1`."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from rich.console import RenderableType

from jtd_worker.console import moment, span, table

ROW: Final = (
    "id", "tenant_id", "event_type_code", "source_type_code", "channel_code", "status_code",
    "status_changed_at", "priority", "attempt", "retry_count", "max_retries", "created_at",
    "scheduled_at", "last_retry_at", "next_retry_at", "expires_at", "executed_at", "completed_at",
    "provider_code", "provider_message_id", "cost", "template_key", "template_id", "template_version",
    "locale", "error_code", "error_message", "recipient_type", "recipient_id", "source_id", "parent_id",
    "recurrence", "recurrence_zone", "series_id", "occurrence", "occurs_at", "series_start",
    "jtd_number", "performed_by_type", "performed_by_name", "is_live",
)  # fmt: skip
"""The columns shown. A list of what may be seen, since producers put contacts into any other."""
HISTORY: Final = (
    "id", "created_at", "action", "from_status_code", "to_status_code", "is_valid_transition",
    "performed_by_type", "performed_by_name", "reason", "details",
)  # fmt: skip
CONTENT: Final = ("units", "kept", "characters")
"""Keys of the row's execution_result that tell what became of its text: numbers only."""
DETAILS: Final = (
    "attempt", "outcome", "verdict", "provider", "provider_message_id", "error_code", "error_message",
    "not_before", "kind", "code", "at",
)  # fmt: skip
"""Keys of a history row's details that functions of ours write."""

RECEIPT: Final = (
    "received_at", "kind", "provider", "state", "state_reason", "occurred_at", "code", "provider_message_id",
)  # fmt: skip
"""The columns of a receipt that waits, or changed nothing. Not its reason: nobody has read it yet."""


def public(life: Mapping[str, Any]) -> dict[str, Any]:
    """Return the document with only what may be shown."""
    return {
        "jtd": {name: life["jtd"].get(name) for name in ROW} | _content(life["jtd"]),
        "history": [
            {name: entry.get(name) for name in HISTORY} | {"details": _details(entry)}
            for entry in life["history"]
        ],
        "receipts": [{name: entry.get(name) for name in RECEIPT} for entry in life["receipts"]],
        "explain": life["explain"],
    }


def tell(life: Mapping[str, Any], now: datetime) -> Iterator[RenderableType]:
    """Yield the row, the history with the time spent in each state, and what happens next.

    `life` is what `public` returned; `now` is the database's clock.
    """
    row, history, explain, receipts = life["jtd"], life["history"], life["explain"], life["receipts"]
    columns = {name: moment(value) if name.endswith("_at") else value for name, value in row.items()}
    yield table(("", ""), [(name, value) for name, value in columns.items() if value not in (None, "")])
    until = None if explain["place"] == "final" else now
    yield table(
        ("at (UTC)", "lasted", "what", "by", "why"),
        [
            (moment(entry["created_at"]), lasted, _what(entry), _by(entry), _why(entry))
            for entry, lasted in zip(history, _lasted(history, until), strict=True)
        ],
    )
    if receipts:
        yield table(
            ("received at (UTC)", "receipt", "by", "state", "why"),
            [
                (moment(entry["received_at"]), *(entry[name] for name in ("kind", "provider", "state")), why)
                for entry in receipts
                for why in (entry["state_reason"] or "",)
            ],
        )
    yield f"Next: {explain['sentence']}"


def _content(row: Mapping[str, Any]) -> dict[str, Any]:
    """Tell SMS parts as `units`; and `kept` of how many `characters`, if the text was cut."""
    result = row.get("execution_result")
    if not isinstance(result, dict):
        return {}
    return {name: result[name] for name in CONTENT if isinstance(result.get(name), int)}


def _lasted(history: list[Mapping[str, Any]], until: datetime | None) -> list[str]:
    """How long the state that each entry entered lasted; `so far` for the present one, if it can end."""
    texts = []
    for place, entry in enumerate(history):
        end = next(
            (datetime.fromisoformat(e["created_at"]) for e in history[place + 1 :] if _enters(e)), None
        )
        start = datetime.fromisoformat(entry["created_at"])
        if not _enters(entry):
            texts.append("")
        elif end is not None:
            texts.append(span(end - start))
        else:
            texts.append(f"{span(until - start)} so far" if until else "")
    return texts


def _enters(entry: Mapping[str, Any]) -> bool:
    return bool(entry["from_status_code"] != entry["to_status_code"])


def _what(entry: Mapping[str, Any]) -> str:
    before, after, action = entry["from_status_code"], entry["to_status_code"], entry["action"]
    if action in ("status_changed", "created"):
        step = f"{before} -> {after}" if before else str(after)
    else:
        step = f"{action} ({after})"
    return step if entry["is_valid_transition"] else f"{step} (not a step of its flow)"


def _by(entry: Mapping[str, Any]) -> str:
    return " ".join(part for part in (entry["performed_by_type"], entry["performed_by_name"]) if part)


def _why(entry: Mapping[str, Any]) -> str:
    details = {k: moment(v) if k == "not_before" else v for k, v in entry["details"].items()}
    parts = [entry["reason"], *(f"{name}={value}" for name, value in details.items())]
    return " ".join(str(part) for part in parts if part)


def _details(entry: Mapping[str, Any]) -> dict[str, Any]:
    details = entry.get("details")
    return {k: details[k] for k in DETAILS if k in details} if isinstance(details, dict) else {}
