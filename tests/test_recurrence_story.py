"""Zoë's reminder, from the first to the last, over a change of the clocks, with real workers."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID
from zoneinfo import ZoneInfo

import psycopg

from tests.command import call
from tests.daemon import eventually, running
from tests.jobs import TENANT, one, places, row
from tests.series import insert_series, jobs, latest
from tests.worker_calls import move

BERLIN = ZoneInfo("Europe/Berlin")


def weeks_until_the_clocks_have_changed(start: datetime) -> int:
    """Count the weeks until Berlin has another offset from UTC than at `start`."""
    weeks = 1
    while (start + timedelta(weeks=weeks)).astimezone(BERLIN).utcoffset() == start.utcoffset():
        weeks += 1
    return weeks


def on_the_wall(moment: datetime) -> str:
    return f"{moment.astimezone(BERLIN):%H:%M:%S}"


def sent(db: psycopg.Connection, jtd_id: UUID) -> str | None:
    """Return the text that was kept instead of sent, None as long as there is none."""
    found = db.execute("SELECT content FROM n_jtd_outbox WHERE jtd_id = %s", [jtd_id]).fetchone()
    return found and str(found[0])


def time_passes(db: psycopg.Connection, jtd_id: UUID) -> None:
    """Let a job be due now, as if the weeks until then had passed."""
    move(db, jtd_id, "scheduled_at = now(), occurs_at = now()")


def test_a_reminder_keeps_its_hour_when_the_clocks_change(
    dsn: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    # Zoë, in Berlin, wants to be reminded every so many weeks, at this hour, five times at most.
    db.execute("INSERT INTO n_jtd_tenant_config (tenant_id, timezone) VALUES (%s, 'Europe/Berlin')", [TENANT])
    start = datetime.now(BERLIN).replace(microsecond=0)
    weeks = weeks_until_the_clocks_have_changed(start)
    series = insert_series(db, f"RRULE:FREQ=WEEKLY;INTERVAL={weeks};COUNT=5", scheduled_at=start)

    with (
        running(dsn, "email:outbox", tmp_path),
        running(dsn, "email:outbox", tmp_path),
    ):
        # She gets the first one. The next is made, once, by one of the two workers: the clocks have changed
        # by then, and it is at the same hour on her wall, which is another hour in UTC.
        assert eventually(lambda: sent(db, series))
        second = eventually(lambda: jobs(db, series)[1:])[0]
        due = row(db, second)["scheduled_at"]
        assert on_the_wall(due) == on_the_wall(start)
        assert abs(due - start - timedelta(weeks=weeks)) == timedelta(hours=1)
        assert row(db, second)["status_code"] == "scheduled"

        # Her appointment is another one now: she is told of it from the second on.
        text = '{"recipient_name": "Zoë", "appointment_date": "Maundy Thursday", "tenant_name": "Acme"}'
        move(db, second, f"payload = '{text}'")
        time_passes(db, second)
        assert "Maundy Thursday" in eventually(lambda: sent(db, second))

        # The third she does not need. The fourth comes all the same.
        third = eventually(lambda: jobs(db, series)[2:])[0]
        assert call(dsn, "cancel", str(third), "--reason", "on holiday").code == 0
        time_passes(db, third)
        fourth = eventually(lambda: jobs(db, series)[3:])[0]
        assert "Maundy Thursday" in row(db, fourth)["payload"]["appointment_date"]

        # For a long while nobody looks: the tenant is paused, and so the fourth waits; the series goes on.
        db.execute("SELECT jtd.pause_tenant(%s, 'unpaid')", [TENANT])
        time_passes(db, fourth)
        fifth = eventually(lambda: jobs(db, series)[4:])[0]
        assert sent(db, fourth) is None
        db.execute("SELECT jtd.resume_tenant(%s)", [TENANT])
        assert eventually(lambda: sent(db, fourth))

        # The fifth is the last.
        time_passes(db, fifth)
        assert eventually(lambda: sent(db, fifth))
        eventually(lambda: latest(db, series) and one(db, "SELECT ended IS NOT NULL FROM jtd.recurring"))
    assert jobs(db, series) == [series, second, third, fourth, fifth]
    assert sent(db, third) is None
    assert [row(db, job)["occurrence"] for job in jobs(db, series)] == [1, 2, 3, 4, 5]
    assert "the series has ended: its COUNT of 5 is reached" in " ".join(
        call(dsn, "show", str(fifth)).out.split()
    )
    places(db)


def test_a_series_that_nobody_wants_any_more_sends_nothing_more(
    dsn: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    series = insert_series(db, "FREQ=DAILY", scheduled_at=datetime.now(UTC))
    with running(dsn, "email:outbox", tmp_path) as daemon:
        second = eventually(lambda: jobs(db, series)[1:])[0]
        daemon.wait_for("series.continued")
        assert call(dsn, "end-series", str(series)).code == 0
        assert row(db, second)["status_code"] == "cancelled"
        time_passes(db, second)
        assert eventually(lambda: sent(db, series))
        last = insert_series(db, "FREQ=DAILY;COUNT=1", scheduled_at=datetime.now(UTC))
        assert daemon.wait_for("series.ended")["jtd_id"] == str(last)
    assert (jobs(db, series), jobs(db, last)) == ([series, second], [last])
