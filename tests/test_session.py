"""A command's transaction, and errors of the database in an operator's words, without secrets."""

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from jtd_worker.errors import ConfigurationError
from jtd_worker.session import CommandError, explained, masked, parse, session
from tests.jobs import insert_jtd, one


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://me:whi@sper@host/jobs",
        "postgresql://me:whi/sper@host/jobs",
        "postgresql://me:12/sper@host/jobs",
        "postgresql://me:whisper%zz@host/jobs",
        "mysql://me:whisper@host/jobs",
        "host=/tmp password='whisper",
    ],
)
def test_a_password_that_would_be_taken_for_something_else_is_refused_unseen(dsn: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse(dsn)
    assert "%40" in str(caught.value)
    assert not any(part in str(caught.value) for part in ("whi", "sper"))
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://me:whis%40per@one:5432,two:5433/jobs",
        "postgresql://me:whis#per@one/jobs",
        "host=/tmp port=5432 password=whis@per",
        "postgresql:///jobs?host=/tmp&sslpassword=whisper",
        "",
    ],
)
def test_a_masked_url_keeps_all_but_secrets(dsn: str) -> None:
    shown = masked(dsn)
    assert "whis" not in shown
    assert parse(shown).keys() == parse(dsn).keys()
    assert ("***" in shown) is ("whis" in dsn)


def test_a_secret_from_the_environment_is_not_shown_either(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", "refused")
    with pytest.raises(CommandError) as caught, session("postgresql://me@127.0.0.1:1/jobs", "test"):
        pass
    assert "refused" not in str(caught.value)
    assert "Connection *** " in str(caught.value)


def test_the_transaction_is_read_committed_in_utc_and_bounded_whatever_the_role_has_set(dsn: str) -> None:
    options = "-c default_transaction_isolation=serializable -c TimeZone=Asia/Kolkata"
    with session(make_conninfo(dsn, options=options), "test", actor="Jane") as conn:
        values = [
            conn.execute("SELECT current_setting(%s)", (name,)).fetchall()[0][0]
            for name in (
                "transaction_isolation", "TimeZone", "statement_timeout", "lock_timeout",
                "idle_in_transaction_session_timeout", "jtd.actor", "application_name",
            )
        ]  # fmt: skip
    assert values == ["read committed", "UTC", "1min", "10s", "1min", "user::Jane", "jtd-worker test"]


def execute(dsn: str, *statements: str) -> None:
    with session(dsn, "test") as conn:
        for statement in statements:
            conn.execute(statement.encode())


def test_an_error_rolls_back_all_that_the_command_did(dsn: str, db: psycopg.Connection) -> None:
    with pytest.raises(CommandError, match="the database refused it: division by zero"):
        execute(dsn, "SELECT jtd.pause('email')", "SELECT 1 / 0")
    assert one(db, "SELECT count(*) FROM public.n_jtd_channels WHERE is_paused") == 0


def test_a_row_that_another_holds_is_waited_for_and_then_said_to_be_held(
    dsn: str, db: psycopg.Connection
) -> None:
    jtd_id = insert_jtd(db)
    with psycopg.connect(dsn) as holder:
        holder.execute("SELECT FROM public.n_jtd WHERE id = %s FOR UPDATE", (jtd_id,))
        with pytest.raises(CommandError, match="another transaction holds"):
            execute(dsn, "SET LOCAL lock_timeout = '10ms'", f"SELECT jtd.cancel('{jtd_id}')")


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("SELECT jtd.nothing()", "run jtd-worker migrate"),
        ("SELECT FROM jtd.nothing", "run jtd-worker migrate"),
        ("SELECT nothing FROM public.n_jtd", "run jtd-worker migrate"),
        ("SELECT pg_cancel_backend(pg_backend_pid()) FROM pg_sleep(0)", "less busy"),
        ("SELECT pg_terminate_backend(pg_backend_pid()) FROM pg_sleep(0)", "cannot reach database"),
        ("SET default_transaction_read_only = on; COMMIT; CREATE TABLE t ()", "name the primary"),
    ],
)
def test_an_error_says_what_to_do(dsn: str, statement: str, says: str) -> None:
    with pytest.raises(CommandError, match=says), explained(dsn), psycopg.connect(dsn) as conn:
        conn.execute(statement.encode())


def test_a_row_that_an_error_quotes_is_not_shown(dsn: str) -> None:
    with pytest.raises(CommandError) as caught:
        execute(dsn, "UPDATE public.n_jtd_templates SET template_key = NULL")
    assert "null value in column" in str(caught.value)
    assert "Failing row" not in str(caught.value)
    assert "Failing row" in str(caught.value.__cause__)  # so it would have been


def test_an_error_of_which_nothing_is_known_passes(dsn: str) -> None:
    with pytest.raises(psycopg.errors.SyntaxError):
        execute(dsn, "SELEKT")
