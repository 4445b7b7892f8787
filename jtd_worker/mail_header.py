"""How header values with foreign text are written, so that nothing in them is read as structure.

Text for these functions holds no control character and no lone surrogate; `mime.build` sees to that.
"""

from email.header import Header
from email.headerregistry import Address
from email.policy import EmailPolicy
from email.utils import quote
from typing import Any
from urllib.parse import quote as percent_encoded

_LONGEST_PLAIN = 60
"""The most characters that surely fit on a header's line of 78 with the header's name (RFC 5322 2.1.1)."""


class Encoded(str):
    """A header value that is written as it is: encoded and folded already."""

    __slots__ = ()


class MailPolicy(EmailPolicy):
    """The library's policy for SMTP, except that it leaves alone what is encoded already.

    On its own it would parse every value that is set, and so decode what merely looks like an encoded word -
    into a line break, if a producer likes - and its folding loses white space between encoded words.
    """

    def header_store_parse(self, name: str, value: Any) -> tuple[str, Any]:
        return (name, value) if isinstance(value, Encoded) else super().header_store_parse(name, value)

    def fold_binary(self, name: str, value: Any) -> bytes:
        if isinstance(value, Encoded):
            return f"{name}: {value}\r\n".encode()
        return super().fold_binary(name, value)


MAIL_POLICY = MailPolicy(linesep="\r\n", cte_type="7bit")


def mailbox_header(header: str, address: Address) -> Encoded:
    """Write `name <address>`, the name quoted where it is plain, else in encoded words, never both."""
    name = address.display_name
    if not name:
        return Encoded(address.addr_spec)
    phrase = f'"{quote(name)}"' if _is_plain(name) else _encoded_words(header, name)
    return Encoded(f"{phrase}\r\n <{address.addr_spec}>")


def text_header(header: str, text: str) -> Encoded:
    """Write free text, such as a subject."""
    return Encoded(text if _is_plain(text) else _encoded_words(header, text))


def _encoded_words(header: str, text: str) -> str:
    return Header(text, "utf-8", maxlinelen=78, header_name=header).encode(linesep="\r\n")


def file_name_parameter(name: str) -> str:
    """Write the parameter `filename`, in pieces of a line each where it needs encoding (RFC 2231 3, 4)."""
    if _is_plain(name) and not {'"', "\\", "%"} & set(name):
        return f'filename="{name}"'
    octets = [percent_encoded(character, safe="") for character in name]
    lines = ["utf-8''"]
    for octet in octets:
        if len(lines[-1]) + len(octet) > _LONGEST_PLAIN:
            lines.append("")
        lines[-1] += octet
    return ";\r\n ".join(f"filename*{number}*={line}" for number, line in enumerate(lines))


def _is_plain(text: str) -> bool:
    """Whether it may stand as it is: ASCII, fits on a line, cannot be read as an encoded word."""
    return text.isascii() and "=?" not in text and len(text) <= _LONGEST_PLAIN
