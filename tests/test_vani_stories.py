"""The flows of work as stories: what people do, what VaNi does, and what the audit trail tells afterwards."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest

from tests.daemon import eventually, running
from tests.jobs import USER, one, row
from tests.tenants import change, set_tenant
from tests.test_vani import ALL_TYPES, deliver, in_, made, work
from tests.work import pass_time, tick


class Story:
    """One piece of work and the people around it."""

    def __init__(self, db: psycopg.Connection, jtd_id: UUID) -> None:
        self.db = db
        self.id = jtd_id

    def later(self, amount: str) -> None:
        """Time passes, and whatever was due is done; what was to be sent is sent."""
        pass_time(self.db, amount)
        self.settle()

    def settle(self) -> None:
        tick(self.db)
        for step in ("confirm", "remind", "tell"):
            deliver(self.db, self.id, step)
        tick(self.db)

    def person(self, status: str, reason: str | None = None, to: str | None = None) -> None:
        """A person takes the next step."""
        moved_to = in_(self.db, to) if to else None
        query = "SELECT jtd.act(%s, %s, %s, %s, %s, 'Jo')"
        assert one(self.db, query, self.id, status, USER, reason, moved_to) == "done"
        self.settle()

    @property
    def told(self) -> list[str]:
        """Which messages its person got, in order, each counted once however many channels it took."""
        return list(dict.fromkeys(f"{step}" for step, _, state in made(self.db, self.id) if state == "sent"))

    @property
    def trail(self) -> list[str]:
        """Who took which step."""
        rows = self.db.execute(
            "SELECT performed_by_name, to_status_code FROM public.n_jtd_history"
            " WHERE jtd_id = %s AND action = 'status_changed' ORDER BY id",
            (self.id,),
        ).fetchall()
        return [f"{who}: {what}" for who, what in rows]


def story(db: psycopg.Connection, kind: str, at: str | None, **columns: Any) -> Story:
    begun = Story(db, work(db, kind, at=at, **columns))
    begun.settle()
    return begun


@pytest.fixture
def vani(db: psycopg.Connection) -> None:
    db.execute("SET TimeZone = 'UTC'")
    set_tenant(db, vani_enabled=True, vani_auto_execute_types=ALL_TYPES)


@pytest.mark.usefixtures("vani")
def test_an_appointment_from_the_first_message_to_the_end(db: psycopg.Connection) -> None:
    visit = story(db, "appointment", "5 days")
    assert visit.told == ["confirm"]
    visit.later("4 days 1 min")
    assert visit.told == ["confirm", "remind"]
    visit.person("confirmed")
    visit.later("22 h")
    visit.later("2 h")
    visit.person("completed")
    assert visit.trail == [
        "VaNi: scheduled", "VaNi: reminded", "Jo: confirmed", "VaNi: in_progress", "Jo: completed",
    ]  # fmt: skip


@pytest.mark.usefixtures("vani")
def test_an_appointment_that_is_rescheduled_and_to_which_nobody_comes(db: psycopg.Connection) -> None:
    visit = story(db, "appointment", "3 days")
    visit.person("rescheduled", "she is away", to="10 days")
    assert visit.trail == ["VaNi: scheduled", "Jo: rescheduled", "VaNi: scheduled"]
    visit.later("3 days")
    assert visit.told == ["confirm"], "nothing of the old time"
    visit.person("confirmed")
    visit.later("6 days 1 min")
    assert visit.told == ["confirm", "remind"]
    visit.person("no_show", "she did not come")
    visit.later("5 days")
    assert visit.trail[-2:] == ["Jo: confirmed", "Jo: no_show"]


@pytest.mark.usefixtures("vani")
def test_an_appointment_that_is_cancelled(db: psycopg.Connection) -> None:
    visit = story(db, "appointment", "3 days")
    visit.person("cancelled", "ill")
    visit.later("4 days")
    assert visit.told == ["confirm"]
    assert visit.trail == ["VaNi: scheduled", "Jo: cancelled"]


@pytest.mark.usefixtures("vani")
def test_a_service_visit_whose_technician_is_sent_out_by_people(db: psycopg.Connection) -> None:
    visit = story(db, "service_visit", "2 days", recipient_name="Zoë")
    visit.later("1 day 1 min")
    visit.person("confirmed")
    visit.person("dispatched")
    visit.later("1 day")
    assert visit.trail[-1] == "Jo: dispatched", "dispatched > in_progress is a person's"
    visit.person("in_progress")
    visit.person("completed")
    assert visit.trail == [
        "VaNi: scheduled", "VaNi: reminded", "Jo: confirmed", "Jo: dispatched", "Jo: in_progress",
        "Jo: completed",
    ]  # fmt: skip


def test_the_same_appointment_without_vani_is_all_peoples_work(db: psycopg.Connection) -> None:
    visit = story(db, "appointment", "3 days")
    visit.later("2 days 23 h")
    for status in ("scheduled", "confirmed", "in_progress", "completed"):
        visit.person(status)
    assert visit.told == []
    assert {line.partition(":")[0] for line in visit.trail} == {"Jo"}


@pytest.mark.parametrize("is_on", [True, False], ids=["with VaNi", "without"])
def test_a_task_from_creation_to_done(db: psycopg.Connection, is_on: bool) -> None:
    set_tenant(db, vani_enabled=is_on, vani_auto_execute_types=["task"])
    task = story(db, "task", None, recipient_id=USER)
    assert task.told == (["tell"] if is_on else [])
    task.person("assigned")
    task.person("in_progress")
    task.person("blocked", "a part is missing")
    task.person("in_progress")
    task.person("completed")
    begins: Sequence[str] = ["VaNi: pending"] if is_on else []
    assert task.trail == [
        *begins, "Jo: assigned", "Jo: in_progress", "Jo: blocked", "Jo: in_progress", "Jo: completed",
    ]  # fmt: skip


def test_switched_on_in_the_middle_and_off_again(db: psycopg.Connection) -> None:
    set_tenant(db)
    visit = story(db, "appointment", "5 days")
    visit.person("scheduled")
    change(db, "vani_enabled = true, vani_auto_execute_types = '{appointment}'")
    visit.settle()
    assert visit.told == [], "that it has a time was told by people"
    visit.later("4 days 1 min")
    assert visit.told == ["remind"]
    change(db, "vani_enabled = false")
    visit.person("confirmed")
    visit.later("1 day")
    assert visit.trail == ["Jo: scheduled", "VaNi: reminded", "Jo: confirmed"]


def test_a_running_worker_does_all_of_it(db: psycopg.Connection, dsn: str, tmp_path: Path) -> None:
    set_tenant(db, vani_enabled=True, vani_auto_execute_types=["appointment"])
    db.execute(
        "UPDATE public.n_jtd_source_types SET reminder_offsets = '{5 s}' WHERE code = 'appointment_created'"
    )
    providers = "email:outbox,sms:outbox,whatsapp:outbox"
    with running(dsn, providers, tmp_path):
        appointment = work(db, at="9 s")
        eventually(lambda: row(db, appointment)["status_code"] == "reminded", 30)
    sent = one(db, "SELECT count(*) FROM public.n_jtd_outbox")
    assert sent == 5, "a confirmation by two channels, a reminder by three"
