"""Judges an answer by rules of a configuration: the first that fits decides, else the status does."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, Self, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, GetCoreSchemaHandler, model_validator
from pydantic_core import CoreSchema, core_schema

from jtd_worker.http_exchange import PROVIDER_ID_LENGTH, Answer
from jtd_worker.masking import one_line
from jtd_worker.result import SendResult, Sent, Unknown
from jtd_worker.verdict import Verdict, accepted, refusal

_MATCHED: Final = 4096
"""Characters that a pattern is tried on."""
_HEADER: Final = "header:"


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands: `error.code` or `messages.0.id` in JSON, or `header:x-message-id`."""

    text: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read it; ValueError for what names nothing."""
        if not all(text.removeprefix(_HEADER).split(".")):
            raise ValueError(f"{text!r} is no place such as error.code, messages.0.id or header:x-message-id")
        return cls(text)

    def __str__(self) -> str:
        return self.text

    @property
    def steps(self) -> Sequence[str]:
        return self.text.split(".")

    def in_document(self, document: Any) -> Any:
        """Return what stands there in JSON, else None."""
        found = document
        for step in self.steps:
            match found:
                case dict():
                    found = found.get(step)
                case list() if step.isdecimal() and int(step) < len(found):
                    found = found[int(step)]
                case _:
                    return None
        return found

    def in_answer(self, answer: Answer) -> str | None:
        """Return the text, number, true or false that stands there as text, else None."""
        if self.text.startswith(_HEADER):
            found: str | None = answer.headers.get(self.text.removeprefix(_HEADER))
            return found
        return as_text(self.in_document(answer.document))

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(cls.parse, core_schema.str_schema())


def as_text(value: Any) -> str | None:
    """Return a text, a number, true or false as text; None for anything else."""
    match value:
        case bool():
            return "true" if value else "false"
        case str() | int() | float():
            return str(value)
        case _:
            return None


def _is_status(value: int | str) -> int | str:
    if re.fullmatch(r"[1-5](\d\d|xx)", str(value)) is None:
        raise ValueError("a status is 400, or 4xx for all of a hundred")
    return value


def _compiles(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"is no regular expression: {error}") from None
    return pattern


_Scalar: TypeAlias = bool | int | float | str
_Verdict: TypeAlias = Literal[
    "sent", "recipient", "message", "template", "elsewhere", "credential", "provider", "busy", "again",
    "network", "throttled", "unsure",
]  # fmt: skip


class Rule(BaseModel):
    """One rule; it fits when all that it says of an answer is so."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    status: Annotated[int | str, AfterValidator(_is_status)] | None = None
    """`400`, or `4xx`; any if not given."""
    path: Place | None = None
    """What `equals`, `in` and `matches` look at, by default the body; without them it has to be there."""
    equals: _Scalar | None = None
    one_of: tuple[_Scalar, ...] | None = Field(default=None, alias="in", min_length=1)
    matches: Annotated[str, AfterValidator(_compiles)] | None = None
    """A regular expression that is found in it, letters in any case."""
    verdict: _Verdict
    code: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_.-]{1,60}$")
    """For `n_jtd.error_code`; by default the value that `equals` or `in` found, else `http_400`."""

    @model_validator(mode="after")
    def _says_one_thing(self) -> Self:
        asked = [one for one in (self.equals, self.one_of, self.matches) if one is not None]
        if len(asked) > 1:
            raise ValueError("has one of `equals`, `in` and `matches`")
        if self.status is None and self.path is None and not asked:
            raise ValueError("fits every answer: give a status or a path")
        return self

    def fits(self, answer: Answer) -> bool:
        """Whether the answer is as the rule says; a body that was cut short shows nothing."""
        if self.status is not None and not self._has_status(answer.status):
            return False
        if self.path is None and self.matches is None and not self._values:
            return True
        found = self._found(answer)
        if found is None:
            return False
        if self.matches is not None:
            return re.search(self.matches, found[:_MATCHED], re.IGNORECASE) is not None
        return found in self._values if self._values else True

    def judge(self, answer: Answer) -> SendResult:
        """Return what an answer that fits means; `sent` is not decided here."""
        code = self.code or (self._found(answer) if self._values else None)
        return refusal(answer, Verdict[self.verdict.upper()], code=code and one_line(code)[:60])

    def _has_status(self, status: int) -> bool:
        return str(self.status) in (str(status), f"{status // 100}xx")

    def _found(self, answer: Answer) -> str | None:
        if self.path is not None:
            return self.path.in_answer(answer)
        return answer.content[:_MATCHED].decode("utf-8", "replace").strip() if answer.is_whole else None

    @property
    def _values(self) -> frozenset[str]:
        given = self.one_of or (() if self.equals is None else (self.equals,))
        return frozenset(text for text in map(as_text, given) if text is not None)


def judge(answer: Answer, rules: Sequence[Rule], id_path: Place | None) -> SendResult:
    """Return what an answer means.

    Without a rule that fits, a 2xx is taken for sent only if no rule says what a success looks like, and a
    success that does not show its id at `id_path`, where there is one, is Unknown.
    """
    fitting: Iterator[Rule] = (rule for rule in rules if rule.fits(answer))
    rule = next(fitting, None)
    if rule is not None and rule.verdict != "sent":
        return rule.judge(answer)
    if rule is None and not answer.is_success:
        return refusal(answer)
    if rule is None and any(rule.verdict == "sent" for rule in rules):
        return Unknown(
            code="answer_unreadable",
            reason=f"the receiver answered {answer.status}, which no rule explains: {answer.excerpt}",
            response={"status": answer.status},
        )
    if id_path is None:
        return Sent(response={"status": answer.status})
    found = one_line(id_path.in_answer(answer) or "")[:PROVIDER_ID_LENGTH]
    return accepted(answer, found or None)
