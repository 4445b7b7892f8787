"""The audit trail: one row for every change of status, whoever made it, and versions of template texts."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import psycopg
import pytest

from tests.jobs import USER, Step, history, insert_jtd, insert_many, one, row

VANI = UUID("00000000-0000-0000-0000-000000000001")
Actor = tuple[str, UUID | None, str | None]


def update(db: psycopg.Connection, jtd_id: UUID, **columns: Any) -> None:
    """Change a job by hand, without the help of any function of ours."""
    names = ", ".join(f"{name} = %s" for name in columns)
    db.execute(f"UPDATE n_jtd SET {names} WHERE id = %s", (*columns.values(), jtd_id))


def last(db: psycopg.Connection, jtd_id: UUID, columns: str) -> tuple[Any, ...]:
    """Return columns of the job's newest row in the audit trail."""
    found = db.execute(
        f"SELECT {columns} FROM n_jtd_history WHERE jtd_id = %s ORDER BY id DESC LIMIT 1", (jtd_id,)
    ).fetchone()
    assert found is not None
    return found


def actor(db: psycopg.Connection, jtd_id: UUID) -> tuple[Any, ...]:
    return last(db, jtd_id, "performed_by_type, performed_by_id, performed_by_name")


# What is recorded


def test_a_statement_leaves_one_row_for_each_status_that_it_changed(db: psycopg.Connection) -> None:
    ids = insert_many(db, 5)
    changed = db.execute(
        "UPDATE n_jtd SET status_code = CASE WHEN id = ANY (%s) THEN 'executing' ELSE status_code END",
        (ids[:3],),
    )
    assert changed.rowcount == 5
    assert [len(history(db, jtd_id)) for jtd_id in ids] == [4, 4, 4, 3, 3]
    assert history(db, ids[0])[-1] == Step("status_changed", "queued", "executing", True)


def test_a_change_of_anything_else_leaves_none(db: psycopg.Connection) -> None:
    jtd_id = insert_jtd(db)
    before = row(db, jtd_id)
    update(db, jtd_id, priority=9, status_code="queued", payload="{}", performed_by_name="Jane")
    assert len(history(db, jtd_id)) == 3
    assert row(db, jtd_id)["status_changed_at"] == before["status_changed_at"]


def test_a_step_by_hand_fills_what_belongs_to_it(db: psycopg.Connection) -> None:
    jtd_id = insert_jtd(db)
    before = row(db, jtd_id)
    update(db, jtd_id, status_code="failed", transition_note="gave up")
    job = row(db, jtd_id)
    assert (job["previous_status_code"], job["is_valid_transition"]) == ("queued", True)
    assert job["status_changed_at"] > before["status_changed_at"]
    assert job["completed_at"] is not None
    assert job["status_id"] == one(
        db, "SELECT id FROM n_jtd_statuses WHERE event_type_code = 'notification' AND code = 'failed'"
    )
    assert last(db, jtd_id, "reason") == ("gave up",)
    update(db, jtd_id, status_code="pending")
    assert row(db, jtd_id)["completed_at"] is None
    assert last(db, jtd_id, "reason") == (None,)


@pytest.mark.parametrize(
    "also",
    [
        {},
        {"status_changed_at": datetime(2030, 1, 1, tzinfo=UTC)},
        {"is_valid_transition": True},
        {"previous_status_code": "queued", "status_changed_at": datetime(2030, 1, 1, tzinfo=UTC)},
    ],
)
def test_an_invalid_step_is_done_and_flagged_however_it_is_written(
    db: psycopg.Connection, also: dict[str, Any]
) -> None:
    jtd_id = insert_jtd(db)
    update(db, jtd_id, status_code="delivered", **also)
    job = row(db, jtd_id)
    assert (job["status_code"], job["is_valid_transition"]) == ("delivered", False)
    assert job["previous_status_code"] == "queued"
    assert job["status_changed_at"] == also.get("status_changed_at", job["status_changed_at"])
    assert history(db, jtd_id)[-1] == Step("status_changed", "queued", "delivered", False)
    update(db, jtd_id, status_code="read")
    assert history(db, jtd_id)[-1] == Step("status_changed", "delivered", "read", True)


def test_a_status_that_nobody_knows_is_flagged_and_named_as_lost(db: psycopg.Connection) -> None:
    jtd_id = insert_jtd(db)
    update(db, jtd_id, status_code="posted")
    assert history(db, jtd_id)[-1] == Step("status_changed", "queued", "posted", False)
    assert row(db, jtd_id)["status_id"] is None
    assert one(db, "SELECT place FROM jtd.conservation()") == "lost"


def test_a_step_is_valid_exactly_if_the_flow_of_the_event_type_has_it(db: psycopg.Connection) -> None:
    db.execute("ALTER TABLE n_jtd DISABLE TRIGGER n_jtd_20_enqueue_row")
    db.execute(
        """INSERT INTO n_jtd (
            tenant_id, event_type_code, source_type_code, channel_code, status_code, source_ref)
        SELECT gen_random_uuid(), a.event_type_code, 'manual', 'email', a.code, b.code
        FROM n_jtd_statuses AS a
        JOIN n_jtd_statuses AS b ON b.event_type_code = a.event_type_code AND b.id <> a.id
            AND b.code <> 'created'"""  # set back to created, a message begins its walk anew
    )
    changed = db.execute("UPDATE n_jtd SET status_code = source_ref").rowcount
    assert changed > 700
    taken = db.execute(
        "SELECT event_type_code, from_status_code, to_status_code, is_valid_transition FROM n_jtd_history"
        " WHERE action = 'status_changed'"
    ).fetchall()
    flows = db.execute(
        "SELECT f.event_type_code, a.code, b.code FROM n_jtd_status_flows AS f"
        " JOIN n_jtd_statuses AS a ON a.id = f.from_status_id"
        " JOIN n_jtd_statuses AS b ON b.id = f.to_status_id"
    ).fetchall()
    assert len(taken) == changed
    assert {step[:3] for step in taken if step[3]} == set(flows)
    differing = (
        "SELECT count(*) FROM n_jtd AS j JOIN n_jtd_history AS h ON h.jtd_id = j.id"
        " WHERE h.action = 'status_changed' AND h.is_valid_transition <> j.is_valid_transition"
    )
    assert one(db, differing) == 0


def test_details_say_which_attempt_ended_how(db: psycopg.Connection) -> None:
    jtd_id = insert_jtd(db)
    update(db, jtd_id, status_code="executing", attempt=2)
    update(db, jtd_id, status_code="failed", error_code="E1", error_message="no", provider_code="smtp")
    assert last(db, jtd_id, "details") == (
        {"attempt": 2, "error_code": "E1", "error_message": "no", "provider": "smtp"},
    )


# Who acted


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        (f"user:{USER}:Jane: of Acme", ("user", USER, "Jane: of Acme")),
        (f"user:{USER}", ("user", USER, None)),
        ("user::Jane", ("user", None, "Jane")),
        ("vani", ("vani", VANI, "VaNi")),
        ("system", ("system", UUID("00000000-0000-0000-0000-000000000002"), "System")),
        (f"webhook::{'x' * 300}", ("webhook", UUID("00000000-0000-0000-0000-000000000003"), "x" * 200)),
    ],
)
def test_the_actor_of_a_transaction_is_named_for_all_it_does(
    db: psycopg.Connection, setting: str, expected: Actor
) -> None:
    jtd_id = insert_jtd(db)
    with db.transaction():
        db.execute("SELECT set_config('jtd.actor', %s, true)", (setting,))
        update(db, jtd_id, status_code="cancelled", performed_by_name="somebody else")
        made = insert_jtd(db)
    assert actor(db, jtd_id) == expected
    assert actor(db, made) == expected
    update(db, made, status_code="cancelled")
    assert actor(db, made)[0] == "system"


@pytest.mark.parametrize("setting", ["jane", "user:1", "user:not-a-uuid:Jane", ":", "User", f"user {USER}"])
def test_an_actor_that_cannot_be_read_is_refused(db: psycopg.Connection, setting: str) -> None:
    jtd_id = insert_jtd(db)
    db.execute("SELECT set_config('jtd.actor', %s, false)", (setting,))
    for statement in (
        "UPDATE n_jtd SET status_code = 'cancelled'",
        "INSERT INTO n_jtd SELECT * FROM n_jtd WHERE false",
    ):
        with pytest.raises(psycopg.Error, match="names no actor") as caught:
            db.execute(statement)
        assert caught.value.sqlstate == "JT020"
    assert len(history(db, jtd_id)) == 3


def test_without_one_the_columns_that_the_statement_changed_name_the_actor(db: psycopg.Connection) -> None:
    jtd_id = insert_jtd(db, performed_by_type="vani", performed_by_id=VANI, performed_by_name="VaNi")
    assert actor(db, jtd_id) == ("vani", VANI, "VaNi")
    update(
        db,
        jtd_id,
        status_code="executing",
        performed_by_type="user",
        performed_by_id=USER,
        performed_by_name="J",
    )
    assert actor(db, jtd_id) == ("user", USER, "J")
    update(db, jtd_id, status_code="sent")
    assert actor(db, jtd_id) == ("system", None, one(db, "SELECT session_user::text"))


# Where it is kept


def test_this_month_and_the_three_to_come_have_partitions(db: psycopg.Connection) -> None:
    wanted = one(
        db,
        "SELECT array_agg('n_jtd_history_' || to_char(first + n * interval '1 month', 'YYYY_MM') ORDER BY n)"
        " FROM (SELECT date_trunc('month', now() AT TIME ZONE 'UTC') AS first) AS m,"
        " generate_series(0, 3) AS n",
    )
    assert len(wanted) == 4
    partitions = db.execute(
        "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'n_jtd_history'::regclass"
    ).fetchall()
    assert {name for (name,) in partitions} == {*wanted, "n_jtd_history_default"}
    insert_jtd(db)
    assert one(db, "SELECT DISTINCT tableoid::regclass::text FROM n_jtd_history") == wanted[0]


def test_a_month_without_a_partition_stops_no_enqueue(db: psycopg.Connection) -> None:
    month = one(db, "SELECT 'n_jtd_history_' || to_char(now() AT TIME ZONE 'UTC', 'YYYY_MM')")
    db.execute(f"DROP TABLE {month}")
    jtd_id = insert_jtd(db)
    assert one(db, "SELECT DISTINCT tableoid::regclass::text FROM n_jtd_history") == "n_jtd_history_default"
    db.execute("SELECT jtd.make_partitions()")
    assert len(history(db, jtd_id)) == 3
    assert one(db, "SELECT to_regclass(%s) IS NULL", month), "its rows stay in the default partition"


# Template texts


@pytest.mark.parametrize("column", ["subject", "content", "content_html"])
def test_a_changed_text_is_a_new_version_and_the_old_text_is_kept(
    db: psycopg.Connection, column: str
) -> None:
    key = "user_invite_email_v1"
    template_id, old = db.execute(
        f"SELECT id, {column} FROM n_jtd_templates WHERE template_key = %s", (key,)
    ).fetchall()[0]
    db.execute(f"UPDATE n_jtd_templates SET {column} = 'new' WHERE id = %s", (template_id,))
    db.execute(f"UPDATE n_jtd_templates SET {column} = 'newer' WHERE id = %s", (template_id,))
    assert one(db, "SELECT version FROM n_jtd_templates WHERE id = %s", template_id) == 3
    kept = db.execute(
        f"SELECT version, {column} FROM n_jtd_template_versions WHERE template_id = %s ORDER BY version",
        (template_id,),
    ).fetchall()
    assert kept == [(1, old), (2, "new")]


def test_a_change_of_its_name_is_no_new_version(db: psycopg.Connection) -> None:
    db.execute(
        "UPDATE n_jtd_templates SET name = 'x', is_active = false, content = content"
        " WHERE template_key NOT LIKE 'layout%'"
    )
    assert one(db, "SELECT DISTINCT version FROM n_jtd_templates") == 1
    assert one(db, "SELECT count(*) FROM n_jtd_template_versions") == 0


def test_a_trigger_that_joins_old_and_new_rows_never_does_so_in_a_nested_loop(db: psycopg.Connection) -> None:
    joins = db.execute(
        "SELECT proname, 'enable_nestloop=off' = ANY (proconfig) FROM pg_proc"
        " WHERE pronamespace = 'jtd'::regnamespace AND prosrc LIKE '%old_rows%' AND prosrc LIKE '%new_rows%'"
    ).fetchall()
    assert {name for name, _ in joins} >= {"audit_update", "place_updated", "heed_updated"}
    assert all(safe for _, safe in joins)
