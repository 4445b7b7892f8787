"""What a reply of an SMTP server, or the lack of one, means for the mail at hand (RFC 5321 4.2, RFC 3463).

The basic code decides whether to try again, the enhanced code how far the cause reaches. All said here is
about a mail that certainly did not leave; what no answer to the final dot means is said in `smtp_session`.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import TypeAlias

from jtd_worker.result import Json, Refused, Retry, Scope, Throttled

REASON_LENGTH = 300
"""Characters of the server's text kept in a reason."""


class Phase(StrEnum):
    """The step of the session that was answered; DATA is the command and the final dot alike."""

    CONNECT = "connect"
    EHLO = "ehlo"
    STARTTLS = "starttls"
    AUTH = "auth"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"


class NoAnswer(StrEnum):
    """Why there is no reply that could be understood."""

    LOST = "lost"
    TIMEOUT = "timeout"
    GARBAGE = "garbage"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A reply; several lines are joined by line feeds."""

    code: int
    text: str = field(repr=False)
    """As the server wrote it: it may hold the recipient's address."""

    @property
    def enhanced(self) -> tuple[int, int] | None:
        """Subject and detail of the enhanced code; its class is left out, as it may contradict the code."""
        found = re.match(r"[245]\.(\d{1,3})\.(\d{1,3})\b", self.text)
        return (int(found[1]), int(found[2])) if found else None

    @property
    def subject(self) -> int | None:
        """1 address, 2 mailbox, 3 mail system, 4 routing, 5 protocol, 6 content, 7 policy (RFC 3463 3)."""
        return self.enhanced[0] if self.enhanced else None


Answer: TypeAlias = Reply | NoAnswer


def answer_of(code: int, text: str) -> Answer:
    """Tell a reply from what only looks like one; the client library gives -1 for what it cannot read."""
    return Reply(code=code, text=text) if 200 <= code < 600 else NoAnswer.GARBAGE


Verdict: TypeAlias = tuple[Retry, Scope]


class Mask:
    """Takes contacts and secrets out of what a server writes; servers like to echo them.

    `hidden` maps what must not be shown to what stands in its place; any other mail address becomes
    `<address>`, unless it is in `kept`.
    """

    def __init__(self, hidden: Mapping[str, str], kept: frozenset[str] = frozenset()) -> None:
        self._hidden = {text.lower(): stand_in for text, stand_in in hidden.items() if text}
        self._kept = kept
        longest_first = sorted(self._hidden, key=len, reverse=True)
        words = (rf"(?<!\w){re.escape(text)}(?!\w)" for text in longest_first)
        self._pattern = re.compile(
            "|".join([*words, r"[^\s<>()\[\],;:\"]+@[^\s<>()\[\],;:\"]+"]), re.IGNORECASE
        )

    def for_mail(self, recipients: Iterable[str], kept: Iterable[str]) -> "Mask":
        """Hide the recipient too, with the local part where it stands alone: `User jane unknown`.

        A local part of one or two characters stays: it tells nothing, and hiding it would garble codes.
        `kept` are our own sender and Message-ID, which look like an address and help to understand.
        """
        addresses = set(recipients)
        alone = {local for local in (address.rpartition("@")[0] for address in addresses) if len(local) > 2}
        return Mask(self._hidden | dict.fromkeys(addresses | alone, "<recipient>"), frozenset(kept))

    def __call__(self, text: str, length: int = REASON_LENGTH) -> str:
        """Give one printable line of at most `length` characters."""
        joined = re.sub(r"\n[245]\.\d{1,3}\.\d{1,3} ", " ", text)
        line = " ".join("".join(c if c.isprintable() else " " for c in joined).split())
        return self._pattern.sub(self._stand_in, line)[:length]

    def _stand_in(self, found: re.Match[str]) -> str:
        text = found[0]
        return text if text in self._kept else self._hidden.get(text.lower(), "<address>")


THROTTLE_PAUSE = timedelta(minutes=1)


def refusal(phase: Phase, answer: Answer, mask: Mask) -> Refused | Throttled:
    """Say what it means that a step before the final dot, or the dot itself, was answered like this."""
    match answer:
        case Reply():
            return _refusal_by_reply(phase, answer, mask)
        case NoAnswer.GARBAGE:
            retry, scope, what = Retry.LATER, Scope.PROVIDER, "gave a reply that is no SMTP"
        case NoAnswer.LOST:
            retry, scope, what = Retry.LATER, Scope.NETWORK, "ended the connection"
        case NoAnswer.TIMEOUT:
            retry, scope, what = Retry.LATER, Scope.NETWORK, "did not answer in time"
    return Refused(
        retry=retry, scope=scope, code=f"smtp_{answer.value}", reason=f"{phase.upper()}: the server {what}"
    )


def _refusal_by_reply(phase: Phase, reply: Reply, mask: Mask) -> Refused | Throttled:
    about_message = phase in {Phase.MAIL, Phase.RCPT, Phase.DATA}
    code = f"smtp_{reply.code}" if about_message else f"smtp_{phase}_{reply.code}"
    reason = f"{phase.upper()}: {reply.code} {mask(reply.text)}"
    # Amazon SES says so and means the rate of the account, not this mail.
    if about_message and reply.code == 454 and "throttl" in reply.text.lower():
        return Throttled(retry_after=THROTTLE_PAUSE, code=code, reason=reason)
    retry, scope = verdict(phase, reply)
    return Refused(retry=retry, scope=scope, code=code, reason=reason, response=facts(reply, mask, phase))


def facts(reply: Reply, mask: Mask, phase: Phase) -> dict[str, Json]:
    """Give the reply as it may be stored, its text within 500 characters."""
    return {"phase": phase.value, "code": reply.code, "text": mask(reply.text, length=500)}


def verdict(phase: Phase, reply: Reply) -> Verdict:
    """Decide when to try again and how far the cause reaches."""
    if reply.code == 421:  # closing, said at any step (RFC 5321 3.8)
        return Retry.LATER, Scope.PROVIDER
    match phase:
        case Phase.CONNECT | Phase.EHLO | Phase.STARTTLS:
            # 554 in the greeting is "no service for you" (RFC 5321 3.1): a blocked address, a refused host
            # name. Nothing about one mail is wrong and no waiting mends it.
            return _unless_operator(reply), Scope.PROVIDER
        case Phase.AUTH:
            return _unless_operator(reply), Scope.CREDENTIAL
        case Phase.MAIL | Phase.RCPT | Phase.DATA if reply.code in {530, 534, 535, 538}:
            return Retry.AFTER_OPERATOR, Scope.CREDENTIAL  # authentication required (RFC 4954 6)
        case Phase.MAIL | Phase.RCPT | Phase.DATA:
            return _ambiguous(phase, reply) or _about_message(phase, reply)


def _unless_operator(reply: Reply) -> Retry:
    return Retry.LATER if 400 <= reply.code < 500 else Retry.AFTER_OPERATOR


def _about_message(phase: Phase, reply: Reply) -> Verdict:
    if not 400 <= reply.code < 600:  # e.g. 250 where 354 was due: out of step, but nothing has left
        return Retry.LATER, Scope.PROVIDER
    retry = Retry.LATER if reply.code < 500 else Retry.NEVER
    if retry is Retry.LATER and reply.subject == 3:  # storage, overload
        return retry, Scope.PROVIDER
    match phase:
        case Phase.MAIL:
            return _at_mail(retry, reply)
        case Phase.RCPT:
            return _at_rcpt(retry, reply)
        case _:
            # 1.7 and 1.8 speak of the sender's address.
            about_recipient = reply.subject in {1, 2} and reply.enhanced not in {(1, 7), (1, 8)}
            return retry, Scope.RECIPIENT if about_recipient else Scope.MESSAGE


def _at_mail(retry: Retry, reply: Reply) -> Verdict:
    if retry is Retry.LATER:
        return retry, Scope.PROVIDER
    # MAIL names only the sender, which is the operator's setting: every other mail would be refused too.
    if reply.subject in {1, 7}:
        return Retry.AFTER_OPERATOR, Scope.CREDENTIAL
    return Retry.NEVER, Scope.MESSAGE


def _at_rcpt(retry: Retry, reply: Reply) -> Verdict:
    # "Relay access denied", "unable to relay": the server does not know us. It says nothing of the recipient,
    # who must not be suppressed for it.
    if retry is Retry.NEVER and re.search(r"\brelay", reply.text, re.IGNORECASE):
        return Retry.AFTER_OPERATOR, Scope.CREDENTIAL
    # A policy's final no is no wrong address either; its "later" is greylisting.
    if retry is Retry.NEVER and reply.subject == 7:
        return Retry.NEVER, Scope.MESSAGE
    return retry, Scope.RECIPIENT


def _ambiguous(phase: Phase, reply: Reply) -> Verdict | None:
    """Tell apart what 452 and 552 stand for: a full mailbox, a mail too large, too many recipients."""
    if reply.enhanced == (
        4,
        5,
    ):  # congestion, of use only as transient (RFC 3463); Gmail's daily limit, as 550
        return Retry.LATER, Scope.CREDENTIAL
    if reply.code not in {452, 552}:
        return None
    match reply.enhanced:
        case (2, 2):
            return Retry.LATER, Scope.RECIPIENT
        case (3, 4):
            return Retry.NEVER, Scope.MESSAGE
        case (5, 3):  # of the session or the hour, as a transaction has one recipient
            return Retry.LATER, Scope.PROVIDER
        case None if phase is Phase.RCPT:  # 552 here is an old server's 452 (RFC 5321 4.5.3.1.10)
            return Retry.LATER, Scope.RECIPIENT
        case None if reply.code == 452:
            return Retry.LATER, Scope.PROVIDER
        case _:
            return None
