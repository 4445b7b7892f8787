"""The command line: each command through a real process, and what it says in every case."""

import getpass
import json
import re
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from psycopg.types.json import Jsonb

from tests.command import Ended, call, process
from tests.jobs import OTHER_TENANT, TENANT, insert_jtd, insert_many, one, row, whereabouts
from tests.worker_calls import Worker

PRIVATE = "whisper"
"""Planted wherever a contact, a content or a secret may stand; it must never be printed."""
JOB = ("--tenant", str(TENANT), "--event-type", "notification", "--source-type", "user_invite")
PAYLOAD = json.dumps({"inviter_name": "Jane", "tenant_name": "Acme", "invite_link": "https://example.com/i"})
OUTBOX = {"JTD_PROVIDERS": "email:outbox"}


def enqueue(dsn: str, *arguments: str) -> UUID:
    ended = call(dsn, "enqueue", *JOB, "--to", "john@example.com", "--payload", PAYLOAD, *arguments)
    assert ended.code == 0, ended.err
    return UUID(ended.out.strip())


def as_role(dsn: str, role: str) -> str:
    return make_conninfo(dsn, options=f"-c role={role}")


def fail(db: psycopg.Connection, jtd_id: UUID, code: str = "smtp_550") -> None:
    for status in ("executing", "failed"):
        db.execute(
            "UPDATE public.n_jtd SET status_code = %s, error_code = %s WHERE id = %s", (status, code, jtd_id)
        )


def dead_letter(db: psycopg.Connection, body: object, queue: str = "jtd_email") -> int:
    letter = {"queue": queue, "msg_id": 1, "reason": "no usable jtd_id in the message", "body": body}
    return int(one(db, "SELECT pgmq.send('jtd_dlq', %s)", Jsonb(letter)))


def answers(ended: Ended) -> tuple[int, str]:
    return ended.code, ended.out.partition(":")[0].partition(";")[0].strip()


# Each command through a real process


def test_a_job_is_migrated_for_enqueued_sent_and_shown(empty_dsn: str) -> None:
    early = process(empty_dsn, "status")
    assert (early.code, early.out) == (1, "")
    assert early.err.endswith("run jtd-worker migrate\n")
    migrated = process(empty_dsn, "migrate")
    assert migrated.code == 0, migrated.err
    assert re.search(r"^applied +001_create_jtd_master_tables$", migrated.out, re.MULTILINE)

    made = process(
        empty_dsn, "enqueue", *JOB, "--to", f"{PRIVATE}@example.com", "--payload", PAYLOAD, "--as", "jane"
    )
    assert (made.code, made.err) == (0, "created\n")
    jtd_id = made.out.strip()
    assert str(UUID(jtd_id)) == jtd_id

    status = process(empty_dsn, "status")
    assert re.search(r"^jtd_email +email +normal +1 +0 ", status.out, re.MULTILINE)
    assert "no running worker serves: email." in status.out

    assert process(empty_dsn, "run", "--until-idle", **OUTBOX).code == 0
    shown = process(empty_dsn, "show", jtd_id)
    assert shown.code == 0, shown.err
    assert re.search(r"^status_code +sent$", shown.out, re.MULTILINE)
    assert re.search(r"executing -> sent +system ", shown.out)
    assert "Next: This notification by email (user_invite) was sent by outbox at " in shown.out
    assert PRIVATE not in shown.out + status.out


def test_a_person_steers_through_processes(dsn: str, db: psycopg.Connection) -> None:
    jtd_id = insert_jtd(db)
    cancelled = process(dsn, "cancel", str(jtd_id), "--reason", "a mistake", "--as", "jane")
    assert answers(cancelled) == (0, "cancelled"), cancelled.err
    failed = insert_jtd(db)
    fail(db, failed)
    assert answers(process(dsn, "retry", str(failed))) == (0, "it gets one more attempt at once")

    assert process(dsn, "pause", "email", "--reason", "the relay is down").code == 0
    assert one(db, "SELECT pause_reason FROM public.n_jtd_channels WHERE is_paused") == "the relay is down"
    assert process(dsn, "resume", "email").code == 0
    assert one(db, "SELECT count(*) FROM public.n_jtd_channels WHERE is_paused") == 0

    first, second = dead_letter(db, {"jtd_id": str(jtd_id)}), dead_letter(db, PRIVATE)
    listed = process(dsn, "dlq", "list")
    assert re.search(rf"^{first} .* {jtd_id} +object, \d+ bytes$", listed.out, re.MULTILINE)
    assert PRIVATE not in listed.out
    assert process(dsn, "dlq", "requeue", "--id", str(first)).out == "requeued 1 of 1\n"
    assert process(dsn, "dlq", "purge", "--id", str(second)).out == "purged 1 of 1\n"
    assert process(dsn, "dlq", "list").out == "There are no dead letters.\n"


def test_the_version_and_help_need_no_database() -> None:
    assert process(None, "--version").out.startswith("jtd-worker")
    helped = process(None, "enqueue", "--help", COLUMNS="80")
    assert "--source-type" in helped.out
    assert "\N{BOX DRAWINGS LIGHT HORIZONTAL}" not in helped.out


# show


def test_an_unknown_job_ends_with_1_and_a_malformed_id_with_2(dsn: str) -> None:
    nobody = uuid4()
    unknown = call(dsn, "show", str(nobody))
    assert unknown.code == 1
    assert unknown.err.startswith(f"jtd-worker: there is no job {nobody} in this database")
    malformed = process(dsn, "show", "47")
    assert (malformed.code, malformed.out) == (2, "")
    assert "valid UUID" in malformed.err


def test_show_tells_why_a_job_waits_and_until_when(dsn: str) -> None:
    jtd_id = enqueue(dsn, "--at", "2999-01-31T09:00:00+05:30")
    shown = call(dsn, "show", str(jtd_id)).out
    assert "(user_invite) waits for its scheduled time (scheduled) until 2999-01-31 03:30:00 UTC;" in shown
    assert re.search(r"\d m?s so far +created -> pending", shown)


def test_show_names_what_was_not_a_step_of_the_flow(dsn: str, db: psycopg.Connection) -> None:
    jtd_id = insert_jtd(db)
    db.execute("UPDATE public.n_jtd SET status_code = 'read' WHERE id = %s", (jtd_id,))
    shown = call(dsn, "show", str(jtd_id)).out
    assert "queued -> read (not a step of its flow)" in shown
    assert "so far" not in shown  # it is final: nothing goes on


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_show_prints_no_contact_and_no_content(
    dsn: str, db: psycopg.Connection, options: tuple[str, ...]
) -> None:
    jtd_id = insert_jtd(
        db,
        recipient_name=PRIVATE,
        recipient_contact=f"{PRIVATE}@example.com",
        payload={"recipient_data": {"email": PRIVATE}, PRIVATE: 1},
        template_variables={"name": PRIVATE},
        provider_response={"to": PRIVATE},
        business_context={"phone": PRIVATE},
        execution_result={"to": PRIVATE},
        metadata={"media_url": PRIVATE},
        tags=[PRIVATE],
        source_ref=PRIVATE,
        idempotency_key=PRIVATE,
    )
    db.execute(
        "INSERT INTO public.n_jtd_history (jtd_id, action, from_status_code, to_status_code,"
        " performed_by_type, field_name, old_value, new_value, details)"
        " VALUES (%s, 'note', 'queued', 'queued', 'user', 'recipient_contact', %s, %s, %s)",
        (jtd_id, PRIVATE, PRIVATE, Jsonb({"to": PRIVATE, "attempt": 7})),
    )
    shown = call(dsn, "show", str(jtd_id), *options)
    assert shown.code == 0, shown.err
    assert PRIVATE not in shown.out
    assert "attempt" in shown.out.partition("note")[2]


def test_show_as_json_is_the_same_document(dsn: str, db: psycopg.Connection) -> None:
    jtd_id = insert_jtd(db)
    document = json.loads(call(dsn, "show", str(jtd_id), "--json").out)
    assert document["jtd"]["id"] == str(jtd_id)
    assert [entry["to_status_code"] for entry in document["history"]] == ["created", "pending", "queued"]
    assert document["explain"]["place"] == "queued"


def test_what_others_wrote_commands_no_terminal(dsn: str, db: psycopg.Connection) -> None:
    jtd_id = insert_jtd(db)
    db.execute(
        "UPDATE public.n_jtd SET error_message = %s WHERE id = %s", ("[red]\x1b[2J\nsecond\u202e", jtd_id)
    )
    shown = call(dsn, "show", str(jtd_id)).out
    assert re.search(r"^error_message +\[red\]\ufffd\[2J second\ufffd$", shown, re.MULTILINE)


# status


def test_status_tells_what_waits_who_works_and_what_is_in_the_way(dsn: str, db: psycopg.Connection) -> None:
    enqueue(dsn, "--at", "2999-01-31T09:00:00Z")
    enqueue(dsn, "--priority", "10")
    fail(db, insert_jtd(db), "outcome_unknown")
    dead_letter(db, "?")
    db.execute("SELECT jtd.pause('sms', 'maintenance')")
    for name, seconds in (("alive-1", 3600), ("dead-1", -1)):
        db.execute(
            "INSERT INTO jtd.workers (id, name, channels, lease_seconds, lease_until)"
            " VALUES (%s, %s, '{push}', 8, clock_timestamp() + make_interval(secs => %s))",
            (uuid4(), name, seconds),
        )
    told = call(dsn, "status").out
    for line in (
        r"jtd_email_urgent +email +urgent +1 +0 +\d.*",
        r"jtd_sms +sms +normal +0 +0 +paused: maintenance",
        r"waiting: scheduled +1",
        r"in flight +0",
        r"needs attention: outcome_unknown +1",
        r"dead letters +1",
        r"alive-1 +alive +\d.* +push",
        r"dead-1 +dead: its lease is over +\d.* +push",
        r"Channels with work that no running worker serves: email\..*",
        r"Paused channels: sms\..*",
        r"There are dead letters: .*",
    ):
        assert re.search(f"^{line}$", told, re.MULTILINE), f"{line}\n{told}"
    document = json.loads(call(dsn, "status", "--json").out)
    assert document["unserved"] == ["email"]
    assert document["waiting"] == {"scheduled": 1}


def test_a_narrow_width_cuts_nothing_off_and_a_pipe_is_plain(dsn: str) -> None:
    narrow = call(dsn, "status", COLUMNS="40").out
    assert max(map(len, narrow.splitlines())) <= 40
    assert "\N{HORIZONTAL ELLIPSIS}" not in narrow
    wide = call(dsn, "status").out
    assert wide.isascii()
    assert "\x1b" not in wide
    assert all(line == line.rstrip() for line in wide.splitlines())
    assert "jtd_whatsapp_urgent  whatsapp  urgent  0       0" in wide.splitlines()


def test_a_terminal_gets_headers_in_bold(dsn: str) -> None:
    assert "\x1b[1m" in call(dsn, "status", FORCE_COLOR="1", COLUMNS="100").out


# enqueue


def test_enqueue_fills_the_row_with_what_it_is_given(dsn: str, db: psycopg.Connection) -> None:
    ended = call(
        dsn, "enqueue", "--tenant", str(TENANT), "--event-type", "reminder", "--source-type", "payment_due",
        "--channel", "sms", "--to", "+15550100", "--name", "Jo", "--payload", '{"a": 1}', "--template", "t",
        "--variables", '{"b": 2}', "--at", "2999-01-31T09:00:00+05:30", "--priority", "9", "--key", "k",
        "--test", "--json",
    )  # fmt: skip
    document = json.loads(ended.out)
    assert document["created"] is True
    made = row(db, UUID(document["id"]))
    expected = {
        "tenant_id": TENANT, "event_type_code": "reminder", "source_type_code": "payment_due",
        "channel_code": "sms", "recipient_contact": "+15550100", "recipient_name": "Jo", "payload": {"a": 1},
        "template_key": "t", "template_variables": {"b": 2}, "priority": 9, "idempotency_key": "k",
        "is_live": False,
    }  # fmt: skip
    assert {name: made[name] for name in expected} == expected
    assert made["scheduled_at"].isoformat(sep=" ").startswith("2999-01-31 03:30")


def test_the_same_key_makes_no_second_job(dsn: str) -> None:
    first = enqueue(dsn, "--key", "k")
    again = call(dsn, "enqueue", *JOB, "--to", "john@example.com", "--payload", PAYLOAD, "--key", "k")
    assert (again.code, again.out.strip()) == (0, str(first))
    assert again.err.startswith("not created")
    other = call(dsn, "enqueue", *JOB, "--to", f"{PRIVATE}@example.com", "--payload", PAYLOAD, "--key", "k")
    assert other.code == 1
    assert "which has another recipient. Use one key for one job" in other.err
    assert PRIVATE not in other.err


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("--payload", PRIVATE, "is not JSON: Expecting value at character 0"),
        ("--payload", f'["{PRIVATE}"]', "must be a JSON object"),
        ("--variables", '{"a": NaN}', "there is no NaN in JSON"),
        ("--at", PRIVATE, "is not an ISO 8601 time"),
        ("--at", "2999-01-31T09:00:00", "has no offset from UTC"),
        ("--priority", "11", "--priority"),
        ("--tenant", "acme", "valid UUID"),
    ],
)
def test_a_mistake_in_an_option_ends_with_2_and_quotes_nothing(option: str, value: str, says: str) -> None:
    ended = call("host=/nowhere", "enqueue", *JOB, option, value)
    assert ended.code == 2
    assert says in ended.err
    assert option in ended.err
    assert PRIVATE not in ended.err


def test_what_the_database_refuses_is_one_sentence_that_says_what_is_allowed(dsn: str) -> None:
    ended = call(dsn, "enqueue", *JOB, "--channel", "fax")
    assert ended.code == 1
    assert ended.err == (
        "jtd-worker: channel 'fax' is not allowed. Allowed: email, sms, whatsapp, push, inapp.\n"
    )


def test_a_value_that_no_column_takes_is_refused_without_showing_it(dsn: str) -> None:
    ended = call(dsn, "enqueue", *JOB, "--name", PRIVATE * 100)
    assert ended.code == 1
    assert ended.err.startswith("jtd-worker: the database refused it: value too long")
    assert PRIVATE not in ended.err


# cancel and retry


def test_cancel_answers_each_case_and_says_what_to_do(dsn: str, db: psycopg.Connection) -> None:
    waiting, sent, final = insert_jtd(db), insert_jtd(db), insert_jtd(db)
    for status in ("executing", "sent"):
        db.execute("UPDATE public.n_jtd SET status_code = %s WHERE id = %s", (status, sent))
    assert answers(call(dsn, "cancel", str(final))) == (0, "cancelled")
    cases = {waiting: (0, "cancelled"), sent: (1, "not cancelled"), final: (1, "not cancelled")}
    for jtd_id, expected in cases.items():
        assert answers(call(dsn, "cancel", str(jtd_id))) == expected
    answer = {
        j: json.loads(call(dsn, "cancel", str(j), "--json").out)["answer"] for j in (waiting, sent, uuid4())
    }
    assert list(answer.values()) == ["final", "too_late", "absent"]
    assert f"there is no job {TENANT}" in call(dsn, "cancel", str(TENANT)).out


def test_retry_answers_each_case_and_sends_what_is_unknown_only_if_told_to(
    dsn: str, db: psycopg.Connection
) -> None:
    failed, unknown, queued = insert_jtd(db), insert_jtd(db), insert_jtd(db)
    fail(db, failed)
    fail(db, unknown, "outcome_unknown")

    def answer(jtd_id: UUID, *options: str) -> tuple[int, str]:
        ended = call(dsn, "retry", str(jtd_id), "--json", *options)
        return ended.code, json.loads(ended.out)["answer"]

    assert answer(failed) == (0, "pending")
    assert answer(queued) == (1, "not_failed")
    assert answer(uuid4()) == (1, "absent")
    assert answer(unknown) == (1, "unknown")
    assert f"jtd-worker resolve {unknown} --sent" in call(dsn, "retry", str(unknown)).out
    assert answer(unknown, "--resend") == (0, "pending")
    assert whereabouts(db, unknown).place == "ready"
    assert "possible_duplicate (pending)" in call(dsn, "show", str(unknown)).out


def test_resolve_says_what_became_of_each_job(dsn: str, db: psycopg.Connection) -> None:
    sent, resent, given_up, queued = (insert_jtd(db) for _ in range(4))
    for jtd_id in (sent, resent, given_up):
        fail(db, jtd_id, "outcome_unknown")
    listed = call(dsn, "attention", "--reason", "outcome_unknown")
    assert (listed.code, listed.out.count("outcome_unknown")) == (0, 3)
    assert len(json.loads(call(dsn, "attention", "--json", "--limit", "2").out)) == 2
    ended = call(dsn, "resolve", str(resent), "--resend")
    assert (ended.code, f"{resent}  it gets one more attempt at once" in ended.out) == (0, True)

    def answer(verdict: str, *ids: UUID) -> tuple[int, list[str]]:
        ended = call(dsn, "resolve", *map(str, ids), verdict, "--json", "--as", "Jane Smith")
        return ended.code, [entry["answer"] for entry in json.loads(ended.out)]

    assert answer("--fail", given_up) == (0, ["failed"])
    assert answer("--sent", sent, queued, TENANT) == (1, ["sent", "not_unknown", "absent"])
    shown = call(dsn, "show", str(sent)).out
    assert "resolved (failed)" in shown
    assert "user Jane Smith" in shown
    assert "verdict=sent" in shown
    assert call(dsn, "attention").out == "Nothing needs a person.\n"
    for options in ([], ["--sent", "--fail"]):
        assert "--sent, --resend or --fail" in call(dsn, "resolve", str(sent), *options).err


def test_history_names_who_did_it(dsn: str, db: psycopg.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "lo:gin")
    jtd_id = enqueue(dsn, "--as", "Jane Smith")
    assert call(dsn, "cancel", str(jtd_id), "--reason", "a mistake").code == 0
    found = db.execute(
        "SELECT to_status_code, performed_by_type, performed_by_name, reason FROM public.n_jtd_history"
        " WHERE jtd_id = %s AND to_status_code IN ('created', 'cancelled') ORDER BY id",
        (jtd_id,),
    ).fetchall()
    assert found == [
        ("created", "user", "Jane Smith", None),
        ("cancelled", "user", "lo:gin", "a mistake"),
    ]


def test_a_login_without_a_name_is_named_by_its_number(
    dsn: str, db: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found: 1000")

    monkeypatch.setattr(getpass, "getuser", nameless)
    jtd_id = enqueue(dsn)
    actor = "SELECT DISTINCT performed_by_name FROM public.n_jtd_history WHERE jtd_id = %s"
    assert re.fullmatch(r"uid \d+", one(db, actor, jtd_id))


# channels and dead letters


@pytest.mark.parametrize("verb", ["pause", "resume"])
def test_an_unknown_channel_names_those_that_are_known(dsn: str, verb: str) -> None:
    ended = call(dsn, verb, "fax")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err == (
        "jtd-worker: there is no channel 'fax'; there are: email, inapp, push, sms, whatsapp\n"
    )


@pytest.mark.parametrize("verb", ["requeue", "purge"])
@pytest.mark.parametrize("choice", [(), ("--id", "1", "--all")])
def test_dead_letters_are_changed_only_by_an_explicit_choice(verb: str, choice: tuple[str, ...]) -> None:
    ended = call("host=/nowhere", "dlq", verb, *choice)
    assert ended.code == 2
    assert "--id N, as often as needed, or --all" in ended.err


def test_dead_letters_that_are_not_there_or_have_no_queue_end_with_1(
    dsn: str, db: psycopg.Connection
) -> None:
    assert answers(call(dsn, "dlq", "purge", "--id", "1")) == (1, "purged 0 of 1")
    dead_letter(db, {}), dead_letter(db, {}, queue="jtd_gone")
    stuck = call(dsn, "dlq", "requeue", "--all")
    assert answers(stuck) == (1, "requeued 1")
    assert "a queue that is no more" in stuck.err
    assert answers(call(dsn, "dlq", "purge", "--all")) == (0, "purged 1")


def test_the_list_of_dead_letters_shows_the_job_but_never_the_body(dsn: str, db: psycopg.Connection) -> None:
    job = str(uuid4())
    for body in ({"jtd_id": job, "to": PRIVATE}, {"jtd_id": PRIVATE}, [PRIVATE], None, 5):
        dead_letter(db, body)
    listed = call(dsn, "dlq", "list", "--json")
    found = [(letter["jtd_id"], letter["body"].partition(",")[0]) for letter in json.loads(listed.out)]
    assert found == [(job, "object"), ("", "object"), ("", "array"), ("", "null"), ("", "number")]
    assert PRIVATE not in listed.out + call(dsn, "dlq", "list").out
    few = call(dsn, "dlq", "list", "--limit", "2")
    assert len(few.out.splitlines()) == 3
    assert few.err == "There are more than 2; --limit shows more.\n"


# migrate


def test_migrate_prints_sql_without_a_database_and_tells_what_it_did_as_json(dsn: str) -> None:
    printed = process(None, "migrate", "--print")
    assert printed.code == 0
    assert "CREATE OR REPLACE FUNCTION jtd.claim_v1" in printed.out
    report = json.loads(call(dsn, "migrate", "--json").out)
    assert report["applied"] == []
    assert "triggers" in report["unchanged"]
    assert re.fullmatch(
        r"The database is at this release; \d+ files were in place already.\n", call(dsn, "migrate").out
    )
    nowhere = call(None, "migrate")
    assert nowhere.code == 2
    assert "JTD_DATABASE_URL" in nowhere.err


def test_a_migration_that_is_refused_says_why(dsn: str, db: psycopg.Connection) -> None:
    db.execute("INSERT INTO jtd.migrations (name, checksum) VALUES ('999_future', 'x')")
    ended = call(dsn, "migrate")
    assert ended.code == 1
    assert "999_future" in ended.err


# what goes wrong


def test_a_database_that_cannot_be_reached_is_named_without_its_password() -> None:
    for command in (("status",), ("migrate",), ("cancel", str(TENANT))):
        ended = call(f"postgresql://me:{PRIVATE}@127.0.0.1:1/jobs", *command)
        assert (ended.code, ended.out) == (1, "")
        assert ended.err.startswith("jtd-worker: cannot reach database jobs at 127.0.0.1:1 as me: ")
        assert ended.err.endswith("check JTD_DATABASE_URL and that the server runs\n")
        assert ended.err.count("\n") == 1
        assert PRIVATE not in ended.err


def test_the_option_is_taken_before_the_variable(dsn: str) -> None:
    assert call("host=/nowhere", "status", "--dsn", dsn).code == 0


@pytest.mark.parametrize("command", [("status",), ("run",)])
def test_a_url_that_cannot_be_read_is_not_shown(command: tuple[str, ...]) -> None:
    ended = process(f"mysql://me:{PRIVATE}@127.0.0.1/jobs", *command, **OUTBOX)
    assert ended.code == 1
    assert ended.err.startswith("jtd-worker: JTD_DATABASE_URL is not a libpq URL")
    assert PRIVATE not in ended.err


def test_a_role_without_the_right_is_told_what_to_grant(dsn: str) -> None:
    assert call(as_role(dsn, "jtd_operator"), "status").code == 0
    ended = call(as_role(dsn, "jtd_producer"), "status")
    assert ended.code == 1
    assert "permission denied for function status_v1; grant the role" in ended.err
    made = call(as_role(dsn, "jtd_producer"), "enqueue", *JOB, "--to", "a@example.com")
    assert made.code == 0, made.err


def test_settings_that_are_wrong_are_all_named_before_a_worker_starts() -> None:
    ended = process("host=/nowhere", "run", JTD_SLOTS="0", JTD_PROVIDERS="email:pigeon")
    assert ended.code == 1
    assert ended.err.startswith("jtd-worker: the settings cannot be used:\n")
    assert "JTD_SLOTS" in ended.err
    assert "pigeon" in ended.err
    assert "Traceback" not in ended.err


def test_a_side_task_that_dies_ends_the_worker_with_one_clear_last_line(
    dsn: str, db: psycopg.Connection
) -> None:
    db.execute("DROP FUNCTION jtd.tick_v1")
    ended = process(dsn, "run", **OUTBOX)
    assert ended.code == 1
    *before, last = ended.err.splitlines()
    assert any("scheduler.py" in line for line in before)
    assert last.startswith("jtd-worker: the worker stopped: UndefinedFunction: function jtd.tick_v1(")
    assert last.endswith("run jtd-worker migrate")


def test_what_nobody_foresaw_keeps_its_traceback(dsn: str, db: psycopg.Connection) -> None:
    db.execute(
        "CREATE OR REPLACE FUNCTION jtd.status_v1() RETURNS jsonb LANGUAGE plpgsql"
        " AS $$ BEGIN RAISE EXCEPTION 'surprise'; END $$"
    )
    ended = process(dsn, "status")
    assert ended.code == 1
    assert "Traceback" in ended.err
    assert "surprise" in ended.err


def test_a_name_that_the_output_cannot_hold_stops_nothing(dsn: str, db: psycopg.Connection) -> None:
    db.execute("SELECT jtd.pause('sms', 'Z\u00fcrich')")
    ended = process(dsn, "status", PYTHONIOENCODING="ascii")
    assert ended.code == 0, ended.err
    assert "paused: Z\\xfcrich" in ended.out


def test_a_tenant_a_provider_and_a_source_type_are_paused_and_go_on(dsn: str, db: psycopg.Connection) -> None:
    targets = [
        ("--tenant", str(TENANT), f"tenant {TENANT}"),
        ("--provider", "email:smtp", "provider email:smtp"),
        ("--source-type", "payment_due", "source type payment_due"),
    ]
    for option, value, name in targets:
        paused = call(dsn, "pause", option, value, "--reason", "a wrong text")
        assert (paused.code, paused.out.partition(";")[0]) == (0, f"{name} is paused")
    status = call(dsn, "status").out
    assert f"The tenant {TENANT} is paused since" in status
    assert "The source type payment_due is paused since" in status
    assert "Provider smtp of channel email is paused: a wrong text." in status
    assert status.count("a wrong text") == 3
    for option, value, name in targets:
        assert call(dsn, "resume", option, value).out == f"{name} goes on\n"
        again = call(dsn, "resume", option, value)
        assert (again.code, again.err) == (1, f"jtd-worker: {name} is not paused\n")
    assert "paused" not in call(dsn, "status").out


@pytest.mark.parametrize(
    ("choice", "code", "said"),
    [
        ((), 2, "give one of CHANNEL, --provider, --tenant and --source-type"),
        (("email", "--tenant", str(TENANT)), 2, "give one of CHANNEL"),
        (("--provider", "smtp"), 2, "give CHANNEL:PROVIDER as in JTD_PROVIDERS"),
        (("--provider", "fax:smtp"), 1, "there is no channel 'fax'"),
        (("--source-type", "gone"), 1, "there is no source type 'gone'"),
    ],
)
def test_what_cannot_be_paused_is_named(dsn: str, choice: tuple[str, ...], code: int, said: str) -> None:
    ended = call(dsn, "pause", *choice)
    assert ended.code == code
    assert said in " ".join(ended.err.split())


def test_what_a_limit_or_a_pause_holds_back_keeps_no_worker_from_being_idle(
    dsn: str, db: psycopg.Connection
) -> None:
    db.execute(
        "INSERT INTO n_jtd_tenant_config (tenant_id, channels_enabled, daily_limit) VALUES (%s, %s, 1)",
        [TENANT, Jsonb({"email": True})],
    )
    insert_many(db, 3, source_type_code="payment_received")
    other = insert_jtd(db, tenant_id=OTHER_TENANT)
    db.execute("SELECT jtd.pause_tenant(%s)", [OTHER_TENANT])
    worker = Worker(db)
    assert len(worker.claim()) == 1
    db.execute("DELETE FROM jtd.inflight")
    worker.tick()
    assert one(db, "SELECT jtd.idle_v1('{jtd_email}')") is True
    assert "Tenants with a limit used up (daily_limit): 1;" in call(dsn, "status").out
    db.execute("SELECT jtd.resume_tenant(%s)", [OTHER_TENANT])
    assert one(db, "SELECT jtd.idle_v1('{jtd_email}')") is False
    worker.tick()
    assert worker.claim_one().id == other
