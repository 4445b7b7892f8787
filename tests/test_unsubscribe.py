"""One click ends what a recipient does not want: the link, the mail that carries it, the page, the effect."""

import re
from email.message import EmailMessage
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest

from jtd_worker import settings
from jtd_worker.errors import ConfigurationError
from jtd_worker.testing.smtp_server import SmtpServer
from jtd_worker.unsubscribe import UnsubscribeLinks, sign, verify
from tests.daemon import run_until_idle, serving
from tests.jobs import insert_jtd, row

SECRET, OLD_SECRET = "u" * 32, "o" * 32
BOTH = {"unsubscribe_secrets": f"{SECRET} {OLD_SECRET}"}
ONE_CLICK = b"List-Unsubscribe=One-Click"
CONTACT = "john@example.com"


# ---------------------------------------------------------------- the link


def test_a_link_holds_the_id_of_the_job_and_stays_the_same() -> None:
    jtd_id = uuid4()
    links = UnsubscribeLinks(public_url="https://jtd.example.com/x", secret=SECRET.encode())
    link = links.link(jtd_id)
    assert link == links.link(jtd_id)
    found = re.fullmatch(r"https://jtd\.example\.com/x/u/([A-Za-z0-9_-]{44})", link)
    assert found
    assert verify([OLD_SECRET.encode(), SECRET.encode()], found[1]) == jtd_id
    assert SECRET not in repr(links)


def test_a_token_that_was_changed_anywhere_is_none() -> None:
    token = sign(SECRET.encode(), uuid4())
    for place in range(len(token)):
        changed = token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :]
        assert verify([SECRET.encode()], changed) is None, place


@pytest.mark.parametrize("token", ["", "x", "A" * 44, "é" * 44, "=" * 44, "A" * 43, "A" * 100_000])
def test_what_is_no_token_is_none(token: str) -> None:
    assert verify([SECRET.encode()], token) is None


def test_another_secret_proves_nothing() -> None:
    token = sign(OLD_SECRET.encode(), uuid4())
    assert verify([SECRET.encode()], token) is None
    assert verify([], token) is None


# ---------------------------------------------------------------- the page and the button


def outcome(db: psycopg.Connection, dsn: str, folder: Path, **columns: Any) -> tuple[str, str | None]:
    """Make one more job for the recipient, run a worker, and return status and error code."""
    jtd_id = insert_jtd(db, **columns)
    run_until_idle(dsn, "email:outbox", folder)
    found = row(db, jtd_id)
    return found["status_code"], found["error_code"]


def kinds(db: psycopg.Connection) -> list[tuple[Any, ...]]:
    return db.execute(
        "SELECT recipient, channel_code, source_type_code, kind FROM n_jtd_suppressions"
    ).fetchall()


NEWS = {"source_type_code": "payment_received", "template_key": "user_invite_email_v1"}


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (ONE_CLICK, "application/x-www-form-urlencoded"),
        (
            b'--b\r\nContent-Disposition: form-data; name="List-Unsubscribe"\r\n\r\nOne-Click\r\n--b--\r\n',
            "multipart/form-data; boundary=b",
        ),
        (
            b'--b\r\nContent-Disposition: form-data; name="List-Unsubscribe"\r\n'
            b"Content-Type: text/plain\r\n\r\nOne-Click\r\n--b--\r\n",
            "multipart/form-data; boundary=b",
        ),
    ],
    ids=["urlencoded", "multipart", "multipart with a type"],
)
def test_one_click_holds_back_the_next_of_its_kind_and_no_other(
    dsn: str, db: psycopg.Connection, tmp_path: Path, body: bytes, kind: str
) -> None:
    jtd_id = insert_jtd(db, **NEWS)
    with serving(dsn, tmp_path, **BOTH) as (daemon, url):
        link = f"{url}/u/{sign(OLD_SECRET.encode(), jtd_id)}"
        for _ in range(2):
            answer = httpx.post(link, content=body, headers={"content-type": kind})
            assert (answer.status_code, "You are unsubscribed" in answer.text) == (200, True)
            assert "set-cookie" not in answer.headers
        assert CONTACT not in daemon.text
        assert link.rpartition("/")[2] not in daemon.text
    assert kinds(db) == [(CONTACT, "email", "payment_received", "opt_out")]
    assert outcome(db, dsn, tmp_path, **NEWS) == ("cancelled", "blocked_suppressed")
    assert outcome(db, dsn, tmp_path, **NEWS, tenant_id=uuid4())[0] == "sent"
    assert (
        outcome(db, dsn, tmp_path, source_type_code="system", template_key="user_invite_email_v1")[0]
        == "sent"
    )


def test_to_look_at_the_page_changes_nothing_and_its_button_does(
    dsn: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    payload = {"inviter_name": "J", "invite_link": "https://x.example", "tenant_name": '<b>&Evil"</b>'}
    jtd_id = insert_jtd(db, **NEWS, payload=payload)
    with serving(dsn, tmp_path, **BOTH) as (_, url):
        link = f"{url}/u/{sign(SECRET.encode(), jtd_id)}"
        page = httpx.get(link)
        assert page.status_code == 200
        assert "&lt;b&gt;&amp;Evil&quot;&lt;/b&gt;" in page.text
        assert CONTACT not in page.text
        assert "<script" not in page.text
        assert page.headers["content-security-policy"].startswith("default-src 'none'")
        assert page.headers["referrer-policy"] == "no-referrer"
        assert "set-cookie" not in page.headers
        assert httpx.post(link).status_code == 400
        assert httpx.post(link, content=b"List-Unsubscribe=No").status_code == 400
        assert kinds(db) == []
        hidden = re.search(r'<input type="hidden" name="([^"]+)" value="([^"]+)">', page.text)
        assert hidden
        assert httpx.post(link, data={hidden[1]: hidden[2]}).status_code == 200
        assert len(kinds(db)) == 1


def test_a_link_of_somebody_else_or_of_a_job_that_is_gone_does_nothing(
    dsn: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    jtd_id = insert_jtd(db, **NEWS)
    without_recipient = insert_jtd(db, **NEWS, recipient_contact=None, status_code="sent")
    with serving(dsn, tmp_path, **BOTH) as (_, url):
        for token, page, button in (
            (sign(b"x" * 32, jtd_id), 404, 404),
            (sign(SECRET.encode(), uuid4()), 404, 404),
            (sign(SECRET.encode(), without_recipient), 200, 404),
            ("x", 404, 404),
        ):
            assert httpx.get(f"{url}/u/{token}").status_code == page
            assert httpx.post(f"{url}/u/{token}", content=ONE_CLICK).status_code == button
    assert kinds(db) == []


# ---------------------------------------------------------------- the mail


def mail_of(dsn: str, folder: Path, **given: str) -> EmailMessage:
    """Run a worker against an SMTP server and return the one mail that it sent."""
    with SmtpServer.in_thread() as server:
        smtp = {
            "email_smtp_host": "127.0.0.1",
            "email_smtp_port": str(server.port),
            "email_smtp_tls": "none",
            "email_smtp_from": "Acme <no-reply@acme.example>",
        }
        run_until_idle(dsn, "email:smtp", folder, **smtp, **given)
        (received,) = server.messages
        return received.mail


def test_a_mail_whose_source_type_asks_for_it_carries_a_link_that_works(
    dsn: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    db.execute("UPDATE n_jtd_source_types SET wants_unsubscribe = true WHERE code = 'payment_received'")
    jtd_id = insert_jtd(db, **NEWS)
    mail = mail_of(dsn, tmp_path, public_url="https://jtd.example.com", **BOTH)
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    token = mail["List-Unsubscribe"].removeprefix("<https://jtd.example.com/u/").removesuffix(">")
    assert verify([SECRET.encode()], token) == jtd_id
    with serving(dsn, tmp_path, **BOTH) as (_, url):
        assert httpx.post(f"{url}/u/{token}", content=ONE_CLICK).status_code == 200
    assert len(kinds(db)) == 1


@pytest.mark.parametrize("wanted", [True, False])
def test_a_mail_carries_no_link_unless_both_ask_for_it(
    dsn: str, db: psycopg.Connection, tmp_path: Path, wanted: bool
) -> None:
    db.execute(
        "UPDATE n_jtd_source_types SET wants_unsubscribe = %s WHERE code = 'payment_received'", [wanted]
    )
    insert_jtd(db, **NEWS)
    given = {} if wanted else {"public_url": "https://jtd.example.com", **BOTH}
    mail = mail_of(dsn, tmp_path, **given)
    assert mail["List-Unsubscribe"] is None
    assert mail["List-Unsubscribe-Post"] is None


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"UNSUBSCRIBE_SECRETS": SECRET}, "JTD_UNSUBSCRIBE_SECRETS: needs JTD_PUBLIC_URL"),
        (
            {"UNSUBSCRIBE_SECRETS": SECRET, "PUBLIC_URL": "http://jtd.example.com"},
            "JTD_UNSUBSCRIBE_SECRETS: needs JTD_PUBLIC_URL, beginning with https:",
        ),
        ({"UNSUBSCRIBE_SECRETS": f"{SECRET} short"}, "JTD_UNSUBSCRIBE_SECRETS: secret 2 has 5 bytes"),
    ],
)
def test_settings_that_would_make_no_usable_link_are_refused(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str], complaint: str
) -> None:
    import os

    for name in [name for name in os.environ if name.startswith("JTD_")]:
        monkeypatch.delenv(name)
    for name, value in {"DATABASE_URL": "x", "PROVIDERS": "email:outbox", **given}.items():
        monkeypatch.setenv(f"JTD_{name}", value)
    with pytest.raises(ConfigurationError) as refused:
        settings.load()
    assert complaint in str(refused.value)
    assert SECRET not in str(refused.value)
