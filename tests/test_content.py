"""What becomes of a text that is too long for its channel: split, cut or refused, never in silence."""

import unicodedata
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jtd_worker.content import NO_LIMIT, Content, ContentLimit, ContentRule, fit
from jtd_worker.errors import RenderError
from jtd_worker.message import Message
from jtd_worker.text_border import border

MESSAGE = Message(
    jtd_id=UUID(int=1),
    tenant_id=UUID(int=2),
    channel="push",
    event_type="notification",
    source_type="user_invite",
    idempotency_key=str(UUID(int=1)),
    created_at=datetime(2030, 1, 1, tzinfo=UTC),
    to="user",
    subject="Title",
)
SPLIT = ContentLimit(rule=ContentRule.SPLIT, characters=160, parts=3)
CUT = ContentLimit(rule=ContentRule.CUT, characters=30, parts=None)
REFUSE = ContentLimit(rule=ContentRule.REFUSE, characters=30, parts=None)
WHOLE = 2147483647
"""What jtd.kept_v1 says of a text that went whole."""


def text(length: int) -> Message:
    return replace(MESSAGE, text=("word " * length)[:length])


@pytest.mark.parametrize("limit", [CUT, REFUSE, NO_LIMIT])
def test_a_text_that_fits_is_left_as_it_is(limit: ContentLimit) -> None:
    assert fit(text(30), limit) == (text(30), Content())


def test_without_a_limit_no_text_is_too_long() -> None:
    limit = ContentLimit(rule=ContentRule.REFUSE, characters=None, parts=None)
    assert fit(text(100_000), limit) == (text(100_000), Content())


def test_an_sms_is_counted_in_parts_and_refused_beyond_the_most() -> None:
    assert fit(text(160), SPLIT) == (text(160), Content(units=1))
    assert fit(text(459), SPLIT) == (text(459), Content(units=3))
    with pytest.raises(RenderError, match="460 characters takes more than 3 SMS parts") as caught:
        fit(text(460), SPLIT)
    assert caught.value.code == "content_too_long"
    with pytest.raises(RenderError):
        fit(text(1_000_000), SPLIT)
    one = replace(SPLIT, parts=1)
    assert fit(text(160), one)[1] == Content(units=1)
    with pytest.raises(RenderError):
        fit(text(161), one)


def test_a_text_that_is_refused_is_not_quoted() -> None:
    with pytest.raises(RenderError, match="31 characters, and channel push takes at most 30") as caught:
        fit(text(31), REFUSE)
    assert caught.value.code == "content_too_long"
    assert "word" not in str(caught.value)


def test_a_text_that_is_cut_ends_with_a_word_and_the_mark() -> None:
    cut, content = fit(replace(text(100), html="<p>all of it</p>"), CUT)
    assert cut.text == "word word word word word word…"
    assert cut.html is None, "it would say the rest"
    assert cut.subject == "Title"
    assert content == Content(kept=29, characters=100)


def test_an_sms_is_cut_with_a_mark_of_its_alphabet() -> None:
    limit = replace(SPLIT, rule=ContentRule.CUT)
    cut, content = fit(replace(MESSAGE, text="a" * 161), limit)
    assert (cut.text, content) == ("a" * 157 + "...", Content(units=1, kept=157, characters=161))
    cut, content = fit(replace(MESSAGE, text="ж" * 161), limit)
    assert (cut.text, content) == ("ж" * 159 + "…", Content(units=3, kept=159, characters=161))


def test_what_an_earlier_attempt_sent_decides_whatever_the_limit_is_now() -> None:
    cut, content = fit(text(100), CUT)
    for limit in (NO_LIMIT, REFUSE, replace(CUT, characters=10), replace(CUT, characters=1000)):
        assert fit(text(100), limit, content.kept) == (cut, content)
        assert fit(text(100), limit, WHOLE) == (text(100), Content())
    assert fit(text(1000), SPLIT, WHOLE) == (text(1000), Content(units=7))


@pytest.mark.parametrize(
    ("words", "most", "kept"),
    [
        ("one two three", 9, "one two"),
        ("one two three", 7, "one two"),
        ("one two   three", 9, "one two"),
        ("one, abcdefghijklmnop", 12, "one, abcdefg"),  # the word begins too early to be left out
        ("abcdefghij", 4, "abcd"),
        ("漢字漢字漢字", 3, "漢字漢"),
        ("abce\u0301d", 4, "abc"),  # é in two characters
        ("abc👍🏽d", 4, "abc"),  # with a colour of skin
        ("ab👩\u200d👩\u200d👧x", 4, "ab"),
        ("ab👩\u200d👩\u200d👧x", 6, "ab"),
        ("ab👩\u200d👩\u200d👧x", 7, "ab👩\u200d👩\u200d👧"),
        ("a🇮🇪🇮🇳b", 2, "a"),
        ("a🇮🇪🇮🇳b", 3, "a🇮🇪"),
        ("a🇮🇪🇮🇳b", 4, "a🇮🇪"),
        ("abc❤\ufe0fd", 4, "abc"),
        ("ab\u1112\u1161\u11ab\u1100", 4, "ab"),  # a syllable of three jamo
        ("नमस्ते यह", 5, "नम"),  # a conjunct and its vowel are one
        ("ab\r\nc", 3, "ab"),
        ("e" + "\u0301" * 50, 10, "e" + "\u0301" * 9),  # one cluster fills it all
        ("…", 0, ""),
    ],
)
def test_a_cut_comes_after_a_word_or_between_what_readers_see(words: str, most: int, kept: str) -> None:
    assert words[: border(words, most)] == kept


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=80), st.data())
def test_a_cut_text_is_a_beginning_within_the_limit(whole: str, data: st.DataObject) -> None:
    most = data.draw(st.integers(0, len(whole) - 1))
    kept = border(whole, most)
    assert 0 <= kept <= most
    assert whole[:kept] == whole[:kept].rstrip()
    if 0 < kept < most and not whole[kept].isspace():
        assert not unicodedata.combining(whole[kept])


@given(st.text(st.sampled_from("ab 漢é👍\u0301\u200d🇮"), max_size=80), st.integers(1, 80))
def test_a_message_that_is_cut_is_never_longer_than_its_channel_takes(whole: str, most: int) -> None:
    limit = replace(CUT, characters=most)
    message, content = fit(replace(MESSAGE, text=whole), limit)
    assert len(message.text) <= most
    assert (content.kept is None) == (message.text == whole)
    if content.kept is not None:
        assert message.text == whole[: content.kept] + "…"
        assert fit(replace(MESSAGE, text=whole), NO_LIMIT, content.kept) == (message, content)
