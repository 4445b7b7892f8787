"""`jtd-worker check` finds what would keep a worker from its work, says what to do, and shows no secret."""

import json
import re
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from jtd_worker.check import shown
from jtd_worker.check_database import PGMQ_FUNCTIONS, skew
from jtd_worker.migrations import load
from tests.command import Ended, call, process
from tests.jobs import one

SECRET = "whisper"
SERVED = {"JTD_PROVIDERS": "email:outbox,sms:outbox,whatsapp:outbox,push:outbox,inapp:db"}
SMTP = {
    "JTD_PROVIDERS": "email:smtp,sms:webhook,inapp:db",
    "JTD_EMAIL_SMTP_HOST": "mail.example.com",
    "JTD_EMAIL_SMTP_FROM": "Acme <no-reply@example.com>",
    "JTD_EMAIL_SMTP_USERNAME": "acme",
    "JTD_EMAIL_SMTP_PASSWORD": SECRET,
    "JTD_SMS_WEBHOOK_URL": f"https://hooks.example.com/{SECRET}",
    "JTD_SMS_WEBHOOK_SECRET": "whsec_d2hpc3BlcndoaXNwZXJ3aGlzcGVyd2hpc3Blcg==",
}


def found(ended: Ended, level: str) -> dict[str, str]:
    """The findings of a level: subject -> sentence, of several the last."""
    lines = re.findall(rf"^{level} +(\S+(?: \S+)?)  +(\S.*)$", ended.out, re.MULTILINE)
    return dict(lines)


def failures(dsn: str, **variables: str) -> dict[str, str]:
    ended = call(dsn, "check", **(SERVED | variables))
    assert ended.err == ""
    assert ended.code == (1 if found(ended, "failure") else 0)
    return found(ended, "failure")


def warnings(dsn: str, **variables: str) -> dict[str, str]:
    ended = call(dsn, "check", **(SERVED | variables))
    assert ended.code == 0, ended.out
    return found(ended, "warning")


def test_a_migrated_database_and_full_settings_have_nothing_to_report(dsn: str) -> None:
    ended = process(dsn, "check", **SERVED)
    assert ended.code == 0, ended.out
    assert set(found(ended, "ok")) == {
        "settings", "channel email", "channel sms", "channel whatsapp", "channel push", "channel inapp",
        "database", "isolation", "clock", "pgmq", "migrations", "functions", "tables", "rights", "history",
        "queues", "instance", "channels",
    }  # fmt: skip
    assert not found(ended, "warning")
    assert not found(ended, "failure")


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_effective_settings_are_shown_without_secrets(dsn: str, options: tuple[str, ...]) -> None:
    ended = process(make_conninfo(dsn, password=SECRET), "check", *options, **SMTP)
    assert ended.code == 0, ended.out + ended.err
    assert SECRET not in ended.out + ended.err
    assert "d2hpc3Blcn" not in ended.out
    if options:
        effective = json.loads(ended.out)["settings"]
        assert effective["JTD_EMAIL_SMTP_PASSWORD"] == "***"
        assert effective["JTD_EMAIL_SMTP_FROM"] == "Acme <no-reply@example.com>"
        assert effective["JTD_SLOTS"] == "32"
        assert "password=***" in effective["JTD_DATABASE_URL"]
    else:
        assert re.search(r"^JTD_EMAIL_SMTP_PORT +587$", ended.out, re.MULTILINE)
        assert found(ended, "ok")["channel email"] == "is served by smtp, and an unknown outcome means resend"
        assert found(ended, "warning")["channels"].startswith("nobody serves push, whatsapp:")


def test_a_setting_is_masked_by_type_by_repr_and_by_name() -> None:
    class Provider(BaseModel):
        model_config = ConfigDict(frozen=True)
        region: str = "eu"
        auth: SecretStr = SecretStr(SECRET)
        url: str = Field(SECRET, repr=False)
        api_key: str = SECRET
        sender: str = Field("a@example.com", alias="from")
        unset: str | None = None

    assert dict(shown(Provider())) == {
        "region": "eu", "auth": "***", "url": "***", "api_key": "***", "from": "a@example.com",
    }  # fmt: skip


def test_every_mistake_in_the_settings_is_a_finding_of_its_own_and_the_database_is_looked_at(
    dsn: str,
) -> None:
    ended = call(
        dsn, "check", JTD_PROVIDERS="sms:pigeon,email:smtp", JTD_SLOTS=SECRET, JTD_SLOT="5",
        JTD_EMAIL_SMTP_HOST=SECRET, JTD_EMAIL_SMTP_TLS=SECRET,
    )  # fmt: skip
    assert ended.code == 1
    named = re.findall(r"^failure +settings +(JTD_[A-Z_]+)", ended.out, re.MULTILINE)
    assert {"JTD_SLOTS", "JTD_SLOT", "JTD_PROVIDERS", "JTD_EMAIL_SMTP_TLS", "JTD_EMAIL_SMTP_FROM"} <= set(
        named
    )
    assert SECRET not in ended.out
    assert "migrations" in found(ended, "ok")


def test_missing_providers_are_a_failure(dsn: str) -> None:
    ended = call(dsn, "check")
    assert ended.code == 1
    assert found(ended, "failure")["settings"].startswith("JTD_PROVIDERS: is required")


def test_a_missing_database_is_a_failure() -> None:
    ended = call(None, "check", **SERVED)
    assert ended.code == 1
    assert found(ended, "failure")["database"].endswith("set JTD_DATABASE_URL")


def test_the_option_names_the_database_that_the_settings_have(dsn: str) -> None:
    ended = call("host=/nowhere", "check", "--dsn", dsn, **SERVED)
    assert ended.code == 0, ended.out


def test_a_database_that_cannot_be_reached_or_read_is_a_failure_without_the_password() -> None:
    failed = failures(f"postgresql://me:{SECRET}@127.0.0.1:1/jobs")
    assert failed["database"].startswith("cannot reach database jobs at 127.0.0.1:1 as me: ")
    ended = call(f"mysql://me:{SECRET}@127.0.0.1/jobs", "check", **SERVED)
    assert found(ended, "failure")["database"].startswith("JTD_DATABASE_URL is not a libpq URL")
    assert SECRET not in ended.out + str(failed)


def test_a_provider_that_cannot_be_made_is_a_failure(dsn: str) -> None:
    failed = failures(dsn, **SMTP, JTD_EMAIL_SMTP_CA_FILE="/nowhere/ca.pem")
    assert "/nowhere/ca.pem" in failed["provider email:smtp"]


def test_an_empty_database_is_told_to_migrate(empty_dsn: str) -> None:
    failed = failures(empty_dsn)
    assert set(failed) == {"pgmq", "migrations"}
    assert all(sentence.endswith("run jtd-worker migrate") for sentence in failed.values())


@pytest.mark.parametrize(
    ("statement", "subject", "says"),
    [
        ("DELETE FROM jtd.migrations WHERE name = 'functions/claim_v1'", "migrations", "claim_v1; run jtd-w"),
        (
            "UPDATE jtd.migrations SET checksum = 'x' WHERE name = 'triggers'",
            "migrations",
            "triggers; run jtd-w",
        ),
        ("INSERT INTO jtd.migrations VALUES ('999_future', 'x')", "migrations", "has 999_future, which this"),
        ("DROP TABLE jtd.migrations", "migrations", "the ledger jtd.migrations is not there"),
        ("DROP FUNCTION jtd.settle_v1", "functions", "missing: settle_v1; run jtd-worker migrate"),
        ("DROP FUNCTION jtd.settle_v1", "rights", "may not call settle_v1"),
        (
            "DROP FUNCTION jtd.lane;"
            " CREATE FUNCTION jtd.lane(integer, boolean) RETURNS text LANGUAGE sql AS 'SELECT NULL'",
            "functions",
            "not as in this release: lane",
        ),
        (
            "ALTER TABLE jtd.workers DROP COLUMN lease_until",
            "tables",
            "jtd.workers.lease_until: the column is",
        ),
        ("SELECT pgmq.drop_queue('jtd_sms')", "queues", "no queue jtd_sms; SELECT jtd.make_queues()"),
        ("SELECT pgmq.drop_queue('jtd_dlq')", "queues", "no queue jtd_dlq"),
        ("DROP SCHEMA pgmq CASCADE", "pgmq", "PGMQ is not installed"),
    ],
)
def test_what_is_missing_or_changed_in_the_database_is_a_failure(
    dsn: str, db: psycopg.Connection, statement: str, subject: str, says: str
) -> None:
    db.execute(statement.encode())
    assert says in failures(dsn)[subject]


def test_a_pgmq_that_lacks_what_our_sql_calls_is_a_failure(dsn: str, db: psycopg.Connection) -> None:
    overloads = "SELECT oid::regprocedure::text FROM pg_proc WHERE proname = 'send_batch'"
    for (signature,) in db.execute(overloads.encode()).fetchall():
        db.execute(f"ALTER FUNCTION {signature} RENAME TO other".encode())
    assert failures(dsn)["pgmq"] == "PGMQ has no send_batch; update PGMQ to 1.4.4 or later"


def test_migrations_run_by_hand_are_a_warning(dsn: str, db: psycopg.Connection) -> None:
    db.execute("UPDATE jtd.migrations SET checksum = NULL WHERE name LIKE '001%'")
    assert "001_create_jtd_master_tables" in warnings(dsn)["migrations"]


def test_a_missing_partition_is_a_warning(dsn: str, db: psycopg.Connection) -> None:
    name = one(
        db,
        "SELECT 'n_jtd_history_' || to_char(date_trunc('month', now() AT TIME ZONE 'UTC')"
        " + interval '1 month', 'YYYY_MM')",
    )
    db.execute(f"DROP TABLE public.{name}".encode())
    assert name in warnings(dsn)["history"]


def test_the_worker_role_passes_though_it_reads_no_table(dsn: str) -> None:
    ended = call(make_conninfo(dsn, options="-c role=jtd_worker"), "check", **SERVED)
    assert ended.code == 0, ended.out
    assert found(ended, "ok")["migrations"].startswith("jtd_worker may not read the ledger")
    assert found(ended, "ok")["rights"] == "jtd_worker may call all that a worker calls"


def test_a_role_without_rights_is_told_which_to_grant(dsn: str, db: psycopg.Connection) -> None:
    assert failures(make_conninfo(dsn, options="-c role=pg_monitor"))["rights"] == (
        "pg_monitor may not use the schema jtd; GRANT jtd_worker TO pg_monitor"
    )
    failed = failures(make_conninfo(dsn, options="-c role=jtd_producer"))
    assert set(failed) == {"rights"}
    assert "claim_v1" in failed["rights"]


@pytest.mark.parametrize(
    ("options", "subject", "says"),
    [
        ("default_transaction_isolation=serializable", "isolation", "are SERIALIZABLE by default"),
        ("default_transaction_read_only=on", "database", "takes no changes; name the primary"),
    ],
)
def test_a_role_or_server_that_a_worker_cannot_use_is_a_failure(
    dsn: str, options: str, subject: str, says: str
) -> None:
    assert says in failures(make_conninfo(dsn, options=f"-c {options}"))[subject]


def test_a_channel_that_the_database_does_not_have_is_a_failure(dsn: str) -> None:
    failed = failures(dsn, JTD_PROVIDERS="fax:outbox")
    assert failed["channels"].startswith("JTD_PROVIDERS names fax, but the database has only email, ")


def test_channels_that_nobody_serves_are_a_warning_unless_another_worker_lives(
    dsn: str, db: psycopg.Connection
) -> None:
    for channel, seconds in (("push", 3600), ("sms", -1)):
        db.execute(
            "INSERT INTO jtd.workers (id, name, channels, lease_seconds, lease_until)"
            " VALUES (%s, %s, ARRAY[%s], 8, clock_timestamp() + make_interval(secs => %s))",
            (uuid4(), channel, channel, seconds),
        )
    told = warnings(dsn, JTD_PROVIDERS="email:outbox,inapp:db")["channels"]
    assert told.startswith("nobody serves sms, whatsapp: jobs for these channels wait; add them")


@pytest.mark.parametrize(
    ("seconds", "level", "says"),
    [
        (0.5, "ok", "agrees with this machine's to 0.0 s"),
        (4, "ok", "to 3.0 s"),
        (6.1, "warning", "is 5.1 s ahead of this machine's"),
        (-5.1, "warning", "is 5.1 s behind this machine's"),
        (-4.9, "ok", "to 4.9 s"),
    ],
)
def test_only_what_the_round_trip_cannot_explain_is_a_skew(seconds: float, level: str, says: str) -> None:
    before = datetime(2030, 1, 31, tzinfo=UTC)
    finding = skew(before, before + timedelta(seconds=seconds), before + timedelta(seconds=1))
    assert finding.level == level
    assert says in finding.fact


def test_the_functions_of_pgmq_looked_for_are_those_that_our_sql_calls() -> None:
    texts = " ".join(script.text for script in load().scripts)
    assert set(re.findall(r"\bpgmq\.([a-z_]+)\(", texts)) == PGMQ_FUNCTIONS
