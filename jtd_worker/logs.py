"""Structured logs: facts as events, with keys from a list, so that no contact or content slips in."""

import logging
import sys
from typing import Final, Literal

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

KEYS: Final = frozenset({
    "answer", "attempt", "channel", "channels", "characters", "code", "count", "cut_off", "error", "event",
    "exc_info", "jtd_id", "kept", "level", "ms", "provider", "queue", "role", "sqlstate", "timestamp",
    "units", "url", "version", "worker",
})  # fmt: skip
"""All that a log line may tell; anything else is dropped, and named as dropped."""


def only_known_keys(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Drop what is not on the list."""
    unknown = event.keys() - KEYS
    if unknown:
        for key in unknown:
            del event[key]
        event["code"] = f"dropped {', '.join(sorted(unknown))}"
    return event


def configure(style: Literal["auto", "json", "console"]) -> None:
    """Write logs to standard error, as JSON lines or, on a terminal, in colours."""
    processors: list[Processor] = [
        structlog.processors.add_log_level,
        only_known_keys,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if style == "console" or (style == "auto" and sys.stderr.isatty()):
        processors.append(structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=24))
    else:
        processors.append(structlog.processors.JSONRenderer(default=str, separators=(",", ":")))
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
