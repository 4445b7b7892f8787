"""The standard screens: what a user interface pages through, per tenant, person, state and time."""

import json
from datetime import timedelta
from typing import Any
from uuid import UUID

import psycopg

from tests.jobs import OTHER_TENANT, TENANT, USER, insert_jtd, one
from tests.work import AHEAD, insert_work

PAGE = (
    "SELECT id, at FROM jtd.appointments WHERE tenant_id = %s AND (at, id) > (%s, %s) ORDER BY at, id LIMIT 3"
)
FIRST = UUID(int=0)


def screen(db: psycopg.Connection, view: str, columns: str) -> list[tuple[Any, ...]]:
    return db.execute(
        f"SELECT {columns} FROM jtd.{view} WHERE tenant_id = %s ORDER BY at, id", (TENANT,)
    ).fetchall()


def test_appointments_and_visits_are_on_one_screen_and_tasks_on_the_other(db: psycopg.Connection) -> None:
    insert_jtd(db)
    appointment = insert_work(db)
    visit = insert_work(db, "service_visit", scheduled_at=AHEAD + timedelta(hours=1))
    task = insert_work(db, "task")
    insert_work(db, tenant_id=OTHER_TENANT)
    assert screen(db, "appointments", "id, kind") == [(appointment, "appointment"), (visit, "service_visit")]
    assert screen(db, "tasks", "id, kind") == [(task, "task")]


def test_a_screen_shows_state_person_title_and_the_next_steps_of_a_person(db: psycopg.Connection) -> None:
    appointment = insert_work(db, recipient_id=USER, recipient_name="Zoë")
    db.execute("SELECT jtd.act(%s, 'scheduled')", (appointment,))
    columns = "state, state_name, state_type, is_closed, is_late, person_id, person_name, title, steps"
    assert screen(db, "appointments", columns) == [
        (
            "scheduled", "Scheduled", "waiting", False, False, USER, "Zoë", "Check-up",
            ["confirmed", "rescheduled", "cancelled"],
        )
    ]  # fmt: skip


def test_what_should_have_begun_is_late_until_it_is_closed(db: psycopg.Connection) -> None:
    appointment = insert_work(db, scheduled_at=AHEAD.replace(year=2020))
    assert screen(db, "appointments", "is_late, is_closed") == [(True, False)]
    db.execute("SELECT jtd.act(%s, 'cancelled', p_reason => 'ill')", (appointment,))
    assert screen(db, "appointments", "is_late, is_closed") == [(False, True)]


def test_a_user_interface_pages_through_without_gap_or_double(db: psycopg.Connection) -> None:
    ids = [insert_work(db, scheduled_at=AHEAD + timedelta(hours=n // 2)) for n in range(8)]
    ids.append(insert_work(db, scheduled_at=None))
    seen: list[UUID] = []
    at: Any = "-infinity"
    last = FIRST
    while page := db.execute(PAGE, (TENANT, at, last)).fetchall():
        seen += [found[0] for found in page]
        last, at = page[-1]
    assert seen == ids


def test_a_page_reads_an_index_however_much_work_there_is(db: psycopg.Connection) -> None:
    db.execute(
        "INSERT INTO public.n_jtd (tenant_id, event_type_code, source_type_code, scheduled_at)"
        " SELECT %s, 'appointment', 'appointment_created', %s::timestamptz + n * interval '1 min'"
        " FROM generate_series(1, 5000) AS s (n)",
        (TENANT, AHEAD),
    )
    db.execute("ANALYZE jtd.work")
    (plan,) = one(db, f"EXPLAIN (ANALYZE, FORMAT json) {PAGE}", TENANT, AHEAD + timedelta(hours=20), FIRST)
    assert "work_screen_idx" in json.dumps(plan)
    assert _most_rows(plan["Plan"]) < 200


def _most_rows(node: dict[str, Any]) -> int:
    return max(
        int(node["Actual Rows"] * node["Actual Loops"]) if node.get("Relation Name") == "work" else 0,
        *(_most_rows(inner) for inner in node.get("Plans", [])), 0,
    )  # fmt: skip


def test_row_level_security_holds_on_the_screens(db: psycopg.Connection) -> None:
    mine, _ = insert_work(db), insert_work(db, tenant_id=OTHER_TENANT)
    with db.transaction(force_rollback=True):
        db.execute("CREATE ROLE jtd_test_screen")
        db.execute("GRANT USAGE ON SCHEMA jtd TO jtd_test_screen")
        for table in ("jtd.work", "jtd.screen", "jtd.appointments", "public.n_jtd", "public.n_jtd_statuses",
                      "public.n_jtd_source_types", "public.n_jtd_status_flows"):  # fmt: skip
            db.execute(f"GRANT SELECT ON {table} TO jtd_test_screen")
        db.execute("ALTER TABLE public.n_jtd ENABLE ROW LEVEL SECURITY")
        db.execute(f"CREATE POLICY own ON public.n_jtd USING (tenant_id = '{TENANT}')")
        db.execute("SET LOCAL ROLE jtd_test_screen")
        assert db.execute("SELECT id FROM jtd.appointments").fetchall() == [(mine,)]
