"""What an HTTP answer that is no success means: one table, to which an adapter adds its provider's codes."""

from collections.abc import Mapping
from datetime import timedelta
from enum import Enum
from typing import Final

from jtd_worker.http_exchange import Answer
from jtd_worker.result import Json, Refused, Retry, Scope, SendResult, Sent, Throttled, Unknown

THROTTLED_FOR: Final = timedelta(seconds=30)
"""How long to wait where a provider asks for less and does not say how long."""


class Verdict(Enum):
    """How a refusal is dealt with."""

    RECIPIENT = (Retry.NEVER, Scope.RECIPIENT)
    MESSAGE = (Retry.NEVER, Scope.MESSAGE)
    TEMPLATE = (Retry.NEVER, Scope.TEMPLATE)
    """Unknown to the provider, not approved, or its parameters do not fit."""
    ELSEWHERE = (Retry.ELSEWHERE, Scope.RECIPIENT)
    """This provider cannot reach the recipient; another one may."""
    CREDENTIAL = (Retry.AFTER_OPERATOR, Scope.CREDENTIAL)
    """Key, sender, account or balance."""
    PROVIDER = (Retry.AFTER_OPERATOR, Scope.PROVIDER)
    """A wrong URL or version: every request would fare so."""
    BUSY = (Retry.LATER, Scope.PROVIDER)
    AGAIN = (Retry.LATER, Scope.MESSAGE)
    """Only this message has to wait."""
    NETWORK = (Retry.LATER, Scope.NETWORK)
    THROTTLED = "throttled"
    UNSURE = "unsure"
    """It may have left."""


BY_STATUS: Final[Mapping[int, Verdict]] = {
    401: Verdict.CREDENTIAL,
    402: Verdict.CREDENTIAL,
    403: Verdict.CREDENTIAL,
    404: Verdict.PROVIDER,
    405: Verdict.PROVIDER,
    406: Verdict.PROVIDER,
    407: Verdict.CREDENTIAL,
    408: Verdict.NETWORK,
    410: Verdict.PROVIDER,
    425: Verdict.BUSY,
    429: Verdict.THROTTLED,
    # A gateway speaks only for itself: behind it the provider may have acted.
    502: Verdict.UNSURE,
    504: Verdict.UNSURE,
}
_BY_CLASS: Final[Mapping[int, Verdict]] = {
    # Redirects are not followed: credentials and contacts would go wherever an answer says.
    3: Verdict.PROVIDER,
    4: Verdict.MESSAGE,
    # The application itself says that it failed, and vendors ask to try again after it.
    5: Verdict.BUSY,
}
_LAST_REGISTERED: Final = 511
"""Above it nothing is registered with IANA: codes of gateways, e.g. 520 and 524."""


def refusal(
    answer: Answer,
    verdict: Verdict | None = None,
    *,
    code: str | None = None,
    text: str | None = None,
    wait: timedelta | None = None,
) -> SendResult:
    """Say why a message was not taken; by the answer's status where the provider's own code says nothing.

    `code` is the provider's, short and stable; `text` is for a person, else the beginning of the body.
    `wait` is how long to wait where the answer does not say. The reason is not yet masked: whoever asked
    does that.
    """
    found = verdict or by_status(answer.status)
    code = code or f"http_{answer.status}"
    hint = " (redirects are not followed, set the final URL)" if 300 <= answer.status < 400 else ""
    reason = f"the receiver answered {answer.status}{hint}: {answer.excerpt if text is None else text}"
    response: dict[str, Json] = {"status": answer.status}
    told = answer.retry_after
    wait = wait if told is None else told
    if found is Verdict.THROTTLED:
        return Throttled(retry_after=THROTTLED_FOR if wait is None else wait, code=code, reason=reason)
    if found is Verdict.UNSURE:
        return Unknown(code=code, reason=reason, response=response)
    retry, scope = found.value
    return Refused(
        retry=retry,
        scope=scope,
        code=code,
        reason=reason,
        retry_after=wait if retry is Retry.LATER else None,
        response=response,
    )


def accepted(answer: Answer, provider_message_id: str | None) -> SendResult:
    """Say that a message was taken under the id; a success that shows none is none that we can trust."""
    if provider_message_id is None:
        return Unknown(
            code="answer_unreadable",
            reason=f"the receiver answered {answer.status} and no message id can be read: {answer.excerpt}",
            response={"status": answer.status},
        )
    return Sent(provider_message_id=provider_message_id, response={"status": answer.status})


def by_status(status: int) -> Verdict:
    """Return what a status of 300 or more means by itself; below that a provider's error has no excuse."""
    if status > _LAST_REGISTERED:
        return Verdict.UNSURE
    return BY_STATUS.get(status) or _BY_CLASS.get(status // 100, Verdict.MESSAGE)
