"""Numbers and mail addresses in the one form that every adapter is given; what leaves a doubt is refused."""

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Final, assert_never

import email_validator
import phonenumbers
from email_validator import EmailNotValidError, validate_email
from phonenumbers import NumberParseException, PhoneNumberFormat

from jtd_worker.errors import RecipientError
from jtd_worker.result import Json

# Whether a name such as mail.local can be reached is for the relay to say: a house has names of its own.
email_validator.SPECIAL_USE_DOMAIN_NAMES.clear()

# As jtd.canonical knows a number: what it takes for something else must not become one here.
_NUMBER: Final = re.compile(r"[+(]?[0-9][0-9 ()./-]{4,22}")
_NOT_DIGITS: Final = re.compile(r"[^0-9]")

REMEMBERED: Final = 4096
"""Addresses that are not read again: to read one costs more than to render a short text."""


class RecipientKey(StrEnum):
    """Which kind of address a channel takes; `n_jtd_channels.recipient_key`."""

    EMAIL = "email"
    MOBILE = "mobile"
    USER = "user"
    """An id of ours, which is looked up and not written to."""


@dataclass(frozen=True, slots=True)
class Region:
    """Where numbers without a country code belong; `Region("")` is nowhere."""

    code: str
    """ISO 3166-1 alpha-2, upper case."""

    @classmethod
    def parse(cls, text: str) -> "Region":
        """Read a region such as `IN`; nothing is nowhere, and anything else a ValueError."""
        code = text.strip().upper()
        if code and code not in phonenumbers.SUPPORTED_REGIONS:
            raise ValueError("is not a region of ISO 3166 such as IN")
        return cls(code)


def address(to: str, key: RecipientKey, country: Json, default: Region) -> str:
    """Return `to` as adapters get it: E.164, or a mail address with its domain in lower case.

    `country` is what the producer says of the recipient: a region such as `IN`, a calling code such as `+91`
    or 91, or None. Raises RecipientError, whose text shows nothing of the address.
    """
    match key:
        case RecipientKey.MOBILE:
            return _number(to.strip(), country, default)
        case RecipientKey.EMAIL:
            return _mail_address(to.strip())
        case RecipientKey.USER:
            return to
        case _:
            assert_never(key)


def _number(text: str, country: Json, default: Region) -> str:
    if not _NUMBER.fullmatch(text):
        raise RecipientError("the recipient's contact is not a phone number")
    digits = _NOT_DIGITS.sub("", text)
    if text.startswith("+"):
        found = _valid(f"+{digits}", None)
        if found is None:
            raise RecipientError("the recipient's number is none that its country has given out")
        if found != f"+{digits}":
            # suppressions are kept by digits: one recipient must not have two spellings
            raise RecipientError(
                "the recipient's number has digits not dialled from abroad, e.g. 0 after +44"
            )
        return found
    return _completed(digits, _region(country) or default)


def _completed(digits: str, region: Region) -> str:
    """Give a number its country code, if there is one way only to read it (a number may begin like one)."""
    if not region.code:
        raise RecipientError(
            "the recipient's number has no country code: write it with + and the code, give"
            " recipient_data.country_code, or set JTD_DEFAULT_REGION"
        )
    readings = {_valid(digits, region.code)}
    if digits.startswith(str(phonenumbers.country_code_for_region(region.code))):
        readings.add(_valid(f"+{digits}", None))
    readings.discard(None)
    match [*readings]:
        case [str(only)]:
            return only
        case []:
            raise RecipientError(f"the recipient's number is none that {region.code} has given out")
        case _:
            raise RecipientError(
                "the recipient's number may begin with the country code or not: write it with +"
            )


def _region(country: Json) -> Region | None:
    """Read the producer's country; None if there is none. A code of several countries is its largest's."""
    if country is None or country == "":
        return None
    if isinstance(country, str | int) and not isinstance(country, bool):
        text = str(country).strip().removeprefix("+")
        if text.isascii() and text.isdigit() and len(text) <= 3:
            text = phonenumbers.region_code_for_country_code(int(text))
        try:
            return Region.parse(text)
        except ValueError:
            pass
    raise RecipientError("recipient_data.country_code is neither a region such as IN nor a code such as +91")


@lru_cache(maxsize=REMEMBERED)
def _valid(text: str, region: str | None) -> str | None:
    """Return a number as E.164 if its range is in use; one that is merely long enough may be a mistake."""
    try:
        number = phonenumbers.parse(text, region)
    except NumberParseException:
        return None
    if not phonenumbers.is_valid_number(number):
        return None
    return phonenumbers.format_number(number, PhoneNumberFormat.E164)


def _mail_address(text: str) -> str:
    """Return the address as written but for the domain's case: lists are kept by what was written."""
    if not _is_mail_address(text):
        raise RecipientError("the recipient's contact is not a mail address")
    local, _, domain = text.rpartition("@")
    return f"{local}@{domain.lower()}"


@lru_cache(maxsize=REMEMBERED)
def _is_mail_address(text: str) -> bool:
    try:
        validate_email(
            text,
            check_deliverability=False,
            strict=True,
            globally_deliverable=False,
            test_environment=True,
            allow_quoted_local=True,
        )
    except EmailNotValidError:
        return False
    return True
