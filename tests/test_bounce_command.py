"""`jtd-worker bounce`: what a mail server pipes into it is kept, or asked for again."""

import os
import subprocess
import sys

import psycopg
import pytest

from tests.bounce_corpus import JOB, SECRET, mail
from tests.command import ROOT, Ended, environment
from tests.jobs import insert_jtd, one, row

NOBODY = "postgresql://nobody:pass@127.0.0.1:9/none"
SECRETS = {"JTD_EMAIL_SMTP_BOUNCE_SECRETS": SECRET}


def bounce(dsn: str | None, raw: bytes, *arguments: str, **variables: str) -> Ended:
    """Pipe a mail into the command as a mail server does: with no more of an environment than it needs."""
    kept = {name: os.environ[name] for name in ("PYTHONPATH", "PATH") if name in os.environ}
    given = {name: text for name, text in environment(dsn, variables).items() if name.startswith("JTD_")}
    with subprocess.Popen(
        [sys.executable, "-m", "jtd_worker", "bounce", *arguments],
        env=kept | given,
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        process.stdin.write(raw)  # a mail server takes a broken pipe for a failure, and so does this
        out, err = process.communicate(timeout=60)
    return Ended(code=process.returncode, out=out.decode(), err=err.decode())


def sent(db: psycopg.Connection) -> None:
    """Make the job that the corpus is about, as it is when its mail was sent."""
    insert_jtd(db, id=JOB)
    for status in ("executing", "sent"):
        db.execute("UPDATE public.n_jtd SET status_code = %s WHERE id = %s", (status, JOB))


def test_a_bounce_ends_its_job_and_a_copy_changes_nothing(dsn: str, db: psycopg.Connection) -> None:
    sent(db)
    first, again = [bounce(dsn, mail("postfix: unknown"), **SECRETS) for _ in range(2)]
    assert (first.code, first.out, first.err) == (0, f"1 new, 0 known already: {JOB} bounced\n", "")
    assert (again.code, again.out) == (0, f"0 new, 1 known already: {JOB} bounced\n")
    db.execute("SELECT jtd.apply_receipts_v1(10)")
    assert row(db, JOB)["status_code"] == "bounced"
    assert one(db, "SELECT count(*) FROM public.n_jtd_suppressions WHERE kind = 'bounce'") == 1


def test_a_bounce_because_of_the_message_keeps_nobody_from_the_recipient(
    dsn: str, db: psycopg.Connection
) -> None:
    sent(db)
    assert bounce(dsn, mail("too large for the server"), **SECRETS).code == 0
    db.execute("SELECT jtd.apply_receipts_v1(10)")
    assert row(db, JOB)["status_code"] == "failed"
    assert one(db, "SELECT count(*) FROM public.n_jtd_suppressions") == 0


@pytest.mark.parametrize("name", ["a forged token", "someone is on holiday", "empty"])
def test_a_mail_that_reports_nothing_is_done_with(name: str, dsn: str, db: psycopg.Connection) -> None:
    sent(db)
    ended = bounce(dsn, mail(name), **SECRETS)
    assert (ended.code, ended.out) == (0, "0 new: this mail reports nothing of a job of ours\n")
    assert one(db, "SELECT count(*) FROM public.n_jtd_receipts") == 0
    assert row(db, JOB)["status_code"] == "sent"


def test_the_address_is_taken_from_the_command(dsn: str, db: psycopg.Connection) -> None:
    sent(db)
    raw = mail("our Message-ID without a token")
    address = mail("someone is on holiday").split(b"To: ")[1].split(b"\r\n")[0].decode()
    assert bounce(dsn, raw, **SECRETS).out.startswith("0 new")
    assert bounce(dsn, raw, "--to", address, **SECRETS).out.startswith("1 new")


def test_a_mail_of_many_megabytes_is_read_to_its_end(dsn: str, db: psycopg.Connection) -> None:
    sent(db)
    ended = bounce(dsn, mail("postfix: unknown") + b"x" * (8 << 20), **SECRETS)
    assert (ended.code, ended.out[:5]) == (0, "1 new")


@pytest.mark.parametrize(
    ("dsn", "variables", "told"),
    [
        (NOBODY, SECRETS, "cannot reach database"),
        (None, SECRETS, "set JTD_DATABASE_URL"),
        ("postgresql://a@b@c/d", SECRETS, "is not a libpq URL"),
        (NOBODY, {}, "JTD_EMAIL_SMTP_BOUNCE_SECRETS: there must be a secret"),
        (NOBODY, {"JTD_EMAIL_SMTP_BOUNCE_SECRETS": "short"}, "32 or more are needed"),
    ],
)
def test_what_could_not_be_kept_is_asked_for_again(
    dsn: str | None, variables: dict[str, str], told: str
) -> None:
    ended = bounce(dsn, mail("postfix: unknown"), **variables)
    assert (ended.code, ended.out) == (75, "")
    assert told in ended.err
    assert len(ended.err.splitlines()) == 1
    assert SECRET not in ended.err
    assert "zoe" not in ended.err


def test_a_database_that_is_not_migrated_is_no_reason_to_lose_a_mail(empty_dsn: str) -> None:
    ended = bounce(empty_dsn, mail("postfix: unknown"), **SECRETS)
    assert ended.code == 75
    assert "run jtd-worker migrate" in ended.err
