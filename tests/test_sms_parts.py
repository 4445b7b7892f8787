"""SMS parts by the vectors of the specification, and by packing them one part after the other."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jtd_worker.sms_parts import BASIC, EXTENSION, is_gsm, sms_parts

GSM = st.text(st.sampled_from(sorted(BASIC | EXTENSION)), max_size=700)
ANY = st.text(st.one_of(st.characters(exclude_categories=["Cs"]), st.sampled_from("a€😀")), max_size=400)


def test_the_alphabet_has_the_characters_of_the_specification() -> None:
    assert (len(BASIC), len(EXTENSION)) == (127, 10)  # the 128th septet is the escape
    assert not BASIC & EXTENSION
    assert is_gsm("Grüße: 5 € für Ægir @ {}[]~^|\\\r\n")
    assert not any(map(is_gsm, ("ç", "`", "\t", "“", "…", "\u00a0", "ă", "😀")))


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", 1),
        ("a" * 160, 1),
        ("a" * 161, 2),
        ("a" * 306, 2),
        ("a" * 307, 3),
        ("a" * 1530, 10),
        ("a" * 1531, 11),
        ("€" * 80, 1),
        ("€" * 81, 2),
        ("a" * 158 + "€", 1),
        ("a" * 159 + "€", 2),
        ("€" * 152, 2),  # 304 septets; each part holds 152, one less than it might
        ("€" * 153, 3),  # 306 septets would fill two parts, were an escape pair split
        ("a" * 152 + "€" + "a" * 151, 2),
        ("a" * 152 + "€" + "a" * 152, 3),
        ("ж" * 70, 1),
        ("ж" * 71, 2),
        ("ж" * 134, 2),
        ("ж" * 135, 3),
        ("a" * 69 + "ç", 1),
        ("a" * 70 + "ç", 2),
        ("😀" * 35, 1),
        ("😀" * 36, 2),
        ("😀" * 66, 2),
        ("😀" * 67, 3),  # 134 code units would fill two parts, were a surrogate pair split
        ("a" * 66 + "😀" + "a" * 65, 2),
        ("a" * 66 + "😀" + "a" * 66, 3),
    ],
)
def test_known_texts_take_as_many_parts_as_they_should(text: str, parts: int) -> None:
    assert sms_parts(text) == parts


def pack(text: str) -> list[bytes]:
    """Write the parts out, as a phone network would: septets as bytes, or UTF-16."""
    if is_gsm(text):
        units = [b"\x1bx" if c in EXTENSION else b"x" for c in text]
        alone, joined = 160, 153
    else:
        units = [c.encode("utf-16-be") for c in text]
        alone, joined = 140, 134
    if len(b"".join(units)) <= alone:
        return [b"".join(units)]
    parts = [b""]
    for unit in units:
        if len(parts[-1] + unit) > joined:
            parts.append(b"")
        parts[-1] += unit
    return parts


@given(st.one_of(GSM, ANY))
def test_the_number_is_that_of_parts_packed_one_after_the_other(text: str) -> None:
    parts = pack(text)
    assert sms_parts(text) == len(parts)
    if not is_gsm(text):
        assert b"".join(parts).decode("utf-16-be") == text
        for part in parts:
            part.decode("utf-16-be")  # raises where a pair is split


@given(ANY, ANY)
def test_a_longer_text_never_takes_fewer_parts(text: str, more: str) -> None:
    if is_gsm(text) == is_gsm(text + more):
        assert sms_parts(text) <= sms_parts(text + more)
