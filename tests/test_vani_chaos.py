"""Killed workers, and work that is moved, closed and switched: nothing twice, nothing unaccounted for."""

import random
import signal
import time
from contextlib import ExitStack
from pathlib import Path

import psycopg

from tests.daemon import Daemon, eventually, running
from tests.jobs import OTHER_TENANT, one
from tests.tenants import set_tenant
from tests.test_vani import in_, work

PROVIDERS = "email:outbox,sms:outbox,whatsapp:outbox,inapp:db"
SECONDS = 14.0
ZONES = ["UTC", "Asia/Kolkata", "America/New_York", "Australia/Lord_Howe"]
UNSENT = "('created', 'scheduled', 'pending', 'queued', 'executing')"


def test_killed_workers_repeat_nothing_and_leave_nothing_out(
    db: psycopg.Connection, dsn: str, tmp_path: Path
) -> None:
    chance = random.Random(7)
    set_tenant(db, vani_enabled=True, vani_auto_execute_types=["appointment"])
    set_tenant(db, tenant_id=OTHER_TENANT, vani_enabled=True, vani_auto_execute_types=["appointment"])
    db.execute(
        "UPDATE public.n_jtd_source_types SET reminder_offsets = '{6 s,3 s}'"
        " WHERE code = 'appointment_created'"
    )
    left_alone = []
    with ExitStack() as stack:

        def start() -> Daemon:
            return stack.enter_context(running(dsn, PROVIDERS, tmp_path, lease_seconds="2"))

        workers = [start(), start()]
        end = time.monotonic() + SECONDS
        disturbed = [work(db, at=f"{chance.uniform(8, 16)} s", tenant_id=OTHER_TENANT) for _ in range(30)]
        left_alone += [work(db, at=f"{chance.uniform(8, 16)} s") for _ in range(10)]
        while time.monotonic() < end:
            victim = chance.choice(disturbed)
            match chance.randrange(8):
                case 0:
                    number = chance.randrange(2)
                    workers[number].signal(signal.SIGKILL)
                    workers[number].wait()
                    workers[number] = start()
                case 1:
                    db.execute("SELECT jtd.act(%s, 'cancelled', p_reason => 'ill')", (victim,))
                case 2 | 3:
                    db.execute(
                        "SELECT jtd.act(%s, 'rescheduled', p_reason => 'later', p_scheduled_at => %s)",
                        (victim, in_(db, f"{chance.uniform(4, 12)} s")),
                    )
                case 4:
                    db.execute(
                        "UPDATE public.n_jtd_tenant_config SET vani_enabled = NOT vani_enabled, timezone = %s"
                        " WHERE tenant_id = %s",
                        (chance.choice(ZONES), OTHER_TENANT),
                    )
                case _:
                    db.execute("SELECT jtd.act(%s, 'confirmed')", (victim,))
            time.sleep(chance.uniform(0, 0.2))  # the pace of people
        eventually(lambda: one(db, "SELECT count(*) FROM jtd.work WHERE next_at IS NOT NULL") == 0, 40)
        eventually(
            lambda: (
                one(
                    db,
                    f"SELECT count(*) FROM public.n_jtd WHERE metadata ? 'vani' AND status_code IN {UNSENT}",
                )
                == 0
            ),
            40,
        )

    # sent once: one message for each step, time and channel, and one entry in the outbox for each
    assert (
        one(
            db,
            "SELECT count(*) - count(DISTINCT (metadata, channel_code))"
            " FROM public.n_jtd WHERE metadata ? 'vani'",
        )
        == 0
    )
    # what nobody touched was reminded of, twice, on each of three channels
    reminders = (
        "SELECT count(*) FROM public.n_jtd AS m"
        " JOIN public.n_jtd AS j ON j.id::text = m.metadata #>> '{vani,for}'"
        " WHERE m.metadata #>> '{vani,step}' = 'remind' AND m.status_code = 'sent' AND j.id = ANY (%s)"
    )
    late = (
        "SELECT count(*) FROM public.n_jtd_history"
        " WHERE jtd_id = ANY (%s) AND reason LIKE 'VaNi sends nothing%%'"
    )
    expired = reminders.replace("= 'sent'", "= 'expired'")
    accounted = one(db, reminders, left_alone) + 3 * one(db, late, left_alone) + one(db, expired, left_alone)
    assert accounted == 2 * 3 * len(left_alone)
    # reminded only after a reminder was sent, by the order of rows: their times are when transactions began
    unfounded = (
        "SELECT count(*) FROM public.n_jtd_history AS h WHERE h.to_status_code = 'reminded' AND NOT EXISTS ("
        " SELECT FROM public.n_jtd AS m JOIN public.n_jtd_history AS s ON s.jtd_id = m.id"
        " WHERE m.metadata #>> '{vani,for}' = h.jtd_id::text AND m.metadata #>> '{vani,step}' = 'remind'"
        " AND s.to_status_code = 'sent' AND s.id < h.id)"
    )
    assert one(db, unfounded) == 0
    # nothing was begun about what was cancelled
    outlived = (
        "SELECT count(*) FROM public.n_jtd AS m"
        " JOIN public.n_jtd AS j ON j.id::text = m.metadata #>> '{vani,for}'"
        " WHERE j.status_code = 'cancelled' AND m.created_at > j.status_changed_at"
    )
    assert one(db, outlived) == 0
    assert one(db, "SELECT count(*) FROM jtd.conservation() WHERE NOT sound") == 0
