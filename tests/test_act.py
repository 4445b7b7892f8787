"""Work that waits for people: their one verb, and its traces in the audit trail."""

import json
from datetime import timedelta
from uuid import UUID, uuid4

import psycopg
import pytest

from tests.command import call
from tests.jobs import USER, Step, history, insert_jtd, one, row
from tests.work import AHEAD, insert_work

ABSENT = UUID("50000000-0000-0000-0000-000000000001")
LATER = AHEAD + timedelta(days=2)


def act(db: psycopg.Connection, jtd_id: UUID, status: str, **given: object) -> str:
    named = "".join(f", p_{name} => %s" for name in given)
    return str(one(db, f"SELECT jtd.act(%s, %s{named})", jtd_id, status, *given.values()))


def last(db: psycopg.Connection, jtd_id: UUID) -> tuple[object, ...]:
    found = db.execute(
        "SELECT performed_by_type, performed_by_id, performed_by_name, reason FROM public.n_jtd_history"
        " WHERE jtd_id = %s ORDER BY id DESC LIMIT 1",
        (jtd_id,),
    ).fetchone()
    assert found is not None
    return tuple(found)


def test_a_person_takes_an_appointment_through_its_flow(db: psycopg.Connection) -> None:
    appointment = insert_work(db)
    for status in ("scheduled", "confirmed", "in_progress", "completed"):
        assert act(db, appointment, status, actor=USER) == "done"
    assert history(db, appointment) == [
        Step("created", None, "created", True),
        Step("status_changed", "created", "scheduled", True),
        Step("status_changed", "scheduled", "confirmed", True),
        Step("status_changed", "confirmed", "in_progress", True),
        Step("status_changed", "in_progress", "completed", True),
    ]
    assert row(db, appointment)["completed_at"] is not None


def test_who_did_it_and_why_is_in_the_audit_trail(db: psycopg.Connection) -> None:
    appointment = insert_work(db)
    act(db, appointment, "cancelled", actor=USER, reason=" ill ", actor_name="Jo")
    assert last(db, appointment) == ("user", USER, "Jo", "ill")


def test_without_an_actor_the_setting_says_who(db: psycopg.Connection) -> None:
    appointment = insert_work(db)
    db.execute("SELECT set_config('jtd.actor', %s, false)", (f"user:{USER}:Max",))
    act(db, appointment, "scheduled")
    assert last(db, appointment)[:3] == ("user", USER, "Max")


def test_the_actor_is_forgotten_afterwards(db: psycopg.Connection) -> None:
    with db.transaction():
        act(db, insert_work(db), "scheduled", actor=USER, actor_name="Jo")
        assert one(db, "SELECT current_setting('jtd.actor', true)") == ""


def test_a_step_that_its_flow_lacks_is_done_and_flagged(db: psycopg.Connection) -> None:
    appointment = insert_work(db)
    assert act(db, appointment, "completed") == "flagged"
    assert history(db, appointment)[-1] == Step("status_changed", "created", "completed", False)
    assert act(db, appointment, "scheduled") == "flagged", "also out of a final state"
    assert row(db, appointment)["completed_at"] is None


def test_the_same_step_twice_changes_nothing(db: psycopg.Connection) -> None:
    appointment = insert_work(db)
    act(db, appointment, "cancelled", reason="ill")
    before = history(db, appointment)
    assert act(db, appointment, "cancelled") == "unchanged"
    assert history(db, appointment) == before


@pytest.mark.parametrize("reason", [None, "", "  "])
def test_a_step_that_needs_a_reason_is_refused_without_one(
    db: psycopg.Connection, reason: str | None
) -> None:
    appointment = insert_work(db)
    with pytest.raises(psycopg.Error, match="needs a reason") as refused:
        act(db, appointment, "cancelled", reason=reason)
    assert refused.value.sqlstate == "JT013"
    assert row(db, appointment)["status_code"] == "created"


def test_an_owner_may_ask_for_no_reason(db: psycopg.Connection) -> None:
    db.execute("UPDATE public.n_jtd_status_flows SET requires_reason = false")
    assert act(db, insert_work(db), "cancelled") == "done"


def test_an_unknown_status_is_refused_with_those_there_are(db: psycopg.Connection) -> None:
    with pytest.raises(psycopg.Error, match="'done' is not allowed") as refused:
        act(db, insert_work(db, "task"), "done")
    assert refused.value.sqlstate == "JT012"
    assert "in_progress" in str(refused.value.diag.message_hint)


def test_rescheduling_takes_a_new_time_and_says_which(db: psycopg.Connection) -> None:
    appointment = insert_work(db)
    act(db, appointment, "scheduled")
    assert act(db, appointment, "rescheduled", reason="he asked", scheduled_at=LATER) == "done"
    assert row(db, appointment)["scheduled_at"] == LATER
    details = one(
        db, "SELECT details FROM public.n_jtd_history WHERE jtd_id = %s ORDER BY id DESC LIMIT 1", appointment
    )
    assert [details["moved_from"][:10], details["moved_to"][:10]] == ["2090-03-04", "2090-03-06"]
    assert act(db, appointment, "scheduled") == "done"
    assert act(db, appointment, "scheduled", scheduled_at=AHEAD) == "done", "moved once more, as it stands"
    assert row(db, appointment)["scheduled_at"] == AHEAD


@pytest.mark.parametrize(
    ("status", "time"),
    [("rescheduled", None), ("confirmed", LATER), ("rescheduled", "infinity")],
    ids=["missing", "out of place", "never"],
)
def test_a_time_that_is_missing_or_has_no_place_is_refused(
    db: psycopg.Connection, status: str, time: object
) -> None:
    appointment = insert_work(db)
    with pytest.raises(psycopg.Error) as refused:
        act(db, appointment, status, reason="why", scheduled_at=time)
    assert refused.value.sqlstate == "JT014"


def test_messages_and_what_is_not_there_are_left_alone(db: psycopg.Connection) -> None:
    message = insert_jtd(db)
    assert act(db, message, "sent") == "not_work"
    assert row(db, message)["status_code"] == "queued"
    assert act(db, ABSENT, "sent") == "absent"


def test_the_operators_role_may_act_and_the_producers_may_not(db: psycopg.Connection) -> None:
    may = "SELECT has_function_privilege(%s, 'jtd.act(uuid, text, uuid, text, timestamptz, text)', 'execute')"
    assert one(db, may, "jtd_operator") is True
    assert one(db, may, "jtd_producer") is False


# ---------------------------------------------------------------- the list of work


def listed(db: psycopg.Connection) -> list[tuple[object, ...]]:
    query = "SELECT jtd_id, event_type_code, status_code, at, person_id FROM jtd.work ORDER BY jtd_id"
    return db.execute(query).fetchall()


def test_work_is_listed_as_it_stands_and_messages_are_not(db: psycopg.Connection) -> None:
    insert_jtd(db)
    task = insert_work(db, "task", recipient_id=None)
    assert [found[:3] for found in listed(db)] == [(task, "task", "created")]
    db.execute(
        "UPDATE public.n_jtd SET recipient_id = %s, scheduled_at = %s WHERE id = %s", (USER, AHEAD, task)
    )
    act(db, task, "assigned")
    assert listed(db) == [(task, "task", "assigned", AHEAD, USER)]
    db.execute("DELETE FROM public.n_jtd WHERE id = %s", (task,))
    assert listed(db) == []


def test_a_change_that_the_list_does_not_show_leaves_it_alone(db: psycopg.Connection) -> None:
    task = insert_work(db, "task")
    version = one(db, "SELECT xmin::text FROM jtd.work WHERE jtd_id = %s", task)
    db.execute("UPDATE public.n_jtd SET metadata = '{\"a\": 1}' WHERE id = %s", (task,))
    assert one(db, "SELECT xmin::text FROM jtd.work WHERE jtd_id = %s", task) == version


def test_the_sweep_lists_work_that_was_made_while_triggers_were_off(db: psycopg.Connection) -> None:
    db.execute("SET session_replication_role = replica")
    task = insert_work(db, "task")
    db.execute("SET session_replication_role = origin")
    assert listed(db) == []
    db.execute("SELECT jtd.rebuild_queues(true)")
    assert [found[0] for found in listed(db)] == [task]


# ---------------------------------------------------------------- the command


def test_the_command_takes_a_step(db: psycopg.Connection, dsn: str) -> None:
    appointment = insert_work(db)
    ended = call(dsn, "act", str(appointment), "scheduled", "--at", LATER.isoformat(), "--by", str(USER),
                    "--as", "Jo")  # fmt: skip
    assert (ended.code, ended.out) == (0, "it is scheduled now\n")
    assert last(db, appointment)[:3] == ("user", USER, "Jo")
    assert row(db, appointment)["scheduled_at"] == LATER


def test_the_command_says_what_is_missing_and_what_is_odd(db: psycopg.Connection, dsn: str) -> None:
    appointment = insert_work(db)
    refused = call(dsn, "act", str(appointment), "cancelled")
    assert refused.code == 1
    assert "--reason" in refused.err
    flagged = call(dsn, "act", str(appointment), "completed", "--json")
    assert flagged.code == 0
    assert json.loads(flagged.out)["answer"] == "flagged"
    assert call(dsn, "act", str(uuid4()), "completed").code == 1
    assert call(dsn, "act", str(insert_jtd(db)), "completed").code == 1
