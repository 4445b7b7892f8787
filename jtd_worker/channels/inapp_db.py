"""Delivers in-app notifications as rows of `n_inapp_notifications`, in the transaction that settles."""

from collections.abc import Sequence
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from jtd_worker.adapter import Adapter, Capabilities, UnknownRule
from jtd_worker.message import Message
from jtd_worker.result import Delivery, Refused, Retry, Scope, SendResult, Sent

# The row and the status are one transaction, so a message whose status was lost was not delivered either.
CAPABILITIES = Capabilities(
    unknown_rule=UnknownRule.IDEMPOTENT_RETRY,
    transactional=True,
    batch_size=1000,
)

_TYPES = frozenset({"info", "success", "warning", "error", "action"})
_SAFE_SCHEMES = frozenset({"http", "https", "mailto", "tel"})
_TITLE_LENGTH = 120


class Settings(BaseModel):
    """Nothing to set."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def build(settings: Settings, channel: str) -> Adapter:
    """Make the adapter; the channel is always `inapp`."""
    return Inapp()


class Inapp:
    """Answers every message with the row that settling writes; does no I/O."""

    capabilities = CAPABILITIES

    async def send(self, batch: Sequence[Message]) -> Sequence[SendResult]:
        """Return one notification per message, or why it cannot be one."""
        return [_delivered(message) for message in batch]

    async def aclose(self) -> None:
        """Nothing is open."""


def _delivered(message: Message) -> SendResult:
    try:
        user_id = UUID(message.to)
    except ValueError:
        return _refused(Scope.RECIPIENT, "not_a_user_id", "an in-app recipient must be a user id, a uuid")
    title = message.subject or _first_line(message.text)
    if not title:
        return _refused(Scope.MESSAGE, "message_empty", "the notification has neither a subject nor a text")
    action_url = _given(message, "action_url")
    if action_url is not None and not _is_safe_link(action_url):
        schemes = ", ".join(sorted(_SAFE_SCHEMES))
        return _refused(
            Scope.MESSAGE,
            "action_url_unsafe",
            f"action_url must be relative or one of {schemes}",
        )
    kind = message.metadata.get("notification_type")
    return Sent(
        delivery=Delivery(
            kind="inapp",
            row={
                "tenant_id": str(message.tenant_id),
                "user_id": str(user_id),
                "title": title,
                "body": message.text,
                "notification_type": kind if isinstance(kind, str) and kind in _TYPES else "info",
                "category": message.source_type,
                "action_url": action_url,
                "action_label": _given(message, "action_label"),
                "metadata": dict(message.metadata),
                "source_jtd_id": str(message.jtd_id),
            },
        )
    )


def _refused(scope: Scope, code: str, reason: str) -> Refused:
    return Refused(retry=Retry.NEVER, scope=scope, code=code, reason=reason)


def _first_line(text: str) -> str:
    return next(iter(text.strip().splitlines()), "")[:_TITLE_LENGTH].rstrip()


def _given(message: Message, key: str) -> str | None:
    """Return the text under `key` in the metadata, else in the variables; anything but text is no text."""
    for source in (message.metadata, message.variables):
        value = source.get(key)
        if isinstance(value, str) and value.strip():
            return value.strip()
    return None


def _is_safe_link(url: str) -> bool:
    """Whether a page may put it into an href: a scheme known to run no script, or no scheme at all.

    Browsers drop tabs and line ends inside a URL (WHATWG URL, 4.4), so that `java\\tscript:` is a script;
    being no scheme on the list it is refused, as is whatever else stands before a colon.
    """
    before_path = url.replace("?", "/").replace("#", "/").partition("/")[0]
    scheme, colon, _ = before_path.partition(":")
    return not colon or scheme.lower() in _SAFE_SCHEMES
