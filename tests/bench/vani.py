"""Measures what VaNi costs: `python -m tests.bench.vani`.

A tenant with 100,000 appointments over the year ahead: a tick when nothing is due, a page of the plan of one
week, and all of it. Medians and the worst; only a quiet machine tells anything. About two minutes.
"""

import statistics
import time
from collections.abc import Callable

import psycopg

from jtd_worker.migrate import migrate
from tests.jobs import TENANT, one
from tests.postgres import Databases, server
from tests.tenants import set_tenant
from tests.work import tick

APPOINTMENTS = 100_000
TIMES = 30


def timed(what: Callable[[], object], times: int = TIMES) -> str:
    """Return the median and the worst of some runs, in ms."""
    took = []
    for _ in range(times):
        begun = time.perf_counter()
        what()
        took.append((time.perf_counter() - begun) * 1000)
    return f"median {statistics.median(took):6.1f} ms, worst {max(took):6.1f} ms"


def main() -> None:
    """Print the figures."""
    with server() as dsn, Databases(admin=dsn).database() as name:
        migrate(name)
        with psycopg.connect(name, autocommit=True) as db:
            measure(db)


def measure(db: psycopg.Connection) -> None:
    """Fill the database and measure."""
    set_tenant(db, vani_enabled=True, vani_auto_execute_types=["appointment"])
    db.execute(
        "INSERT INTO public.n_jtd (tenant_id, event_type_code, source_type_code, scheduled_at,"
        " recipient_name, payload)"
        " SELECT %s, 'appointment', 'appointment_created', now() + n * interval '315 s' + interval '3 days',"
        " 'Zoe',"
        ' \'{"recipient_data": {"email": "zoe@customer.example"}, "tenant_name": "Acme"}\''
        " FROM generate_series(1, %s) AS s (n)",
        (TENANT, APPOINTMENTS),
    )
    print("ticks until each was looked at:", timed(lambda: tick(db, 1), 50))
    # the rest as if it had been done: their steps are what takes the time, and this is not what is measured
    db.execute("SET session_replication_role = replica")
    db.execute("UPDATE public.n_jtd SET status_code = 'scheduled' WHERE event_type_code = 'appointment'")
    db.execute(
        "UPDATE jtd.work SET status_code = 'scheduled', looked_at = now(), next_at = at - interval '1 day'"
    )
    db.execute("UPDATE jtd.work SET at_since = now() - interval '30 days'")
    db.execute("SET session_replication_role = origin")
    db.execute("DELETE FROM public.n_jtd WHERE event_type_code <> 'appointment'")
    db.execute("DELETE FROM jtd.vani_switches")
    db.execute("VACUUM ANALYZE")
    print("tick, nothing due:", timed(lambda: tick(db, 1)))
    week = "SELECT count(*) FROM jtd.vani_plan(%s, now() + interval '30 days', now() + interval '37 days'"
    print("rows of a week's plan:", one(db, week + ", true, NULL)", TENANT))
    print("a page of it:", timed(lambda: one(db, week + ")", TENANT)))
    print("all of it:", timed(lambda: one(db, week + ", true, NULL)", TENANT)))


if __name__ == "__main__":
    main()
