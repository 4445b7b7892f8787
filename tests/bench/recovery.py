"""Measures how fast work goes on after something broke: `python -m tests.bench.recovery`.

Real daemons with their default lease, a Postgres of their own, and a webhook on loopback that holds its
answers back when told to. Prints each figure beside what is promised; about two minutes. Ends with 1 if a
promise of exactness (no duplicate, nothing held) is broken; the times are for people to judge.
"""

import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg

from jtd_worker.migrate import migrate
from jtd_worker.testing.http_server import Request, Step, Steps, ThreadedHttpServer, answer
from tests.cluster import Cluster
from tests.daemon import Daemon, eventually, running
from tests.jobs import insert_many, one
from tests.postgres import lift_rate_limits

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
SENT = "SELECT count(*) FROM n_jtd WHERE status_code = 'sent'"
IN_FLIGHT = "SELECT count(*) FROM jtd.inflight WHERE handed_off_at IS NOT NULL"


class Sink:
    """A webhook that answers at once, or when it is released."""

    def __init__(self) -> None:
        self.holds = False

    def __call__(self, request: Request) -> Steps:
        return [Step.WAIT, *answer(200)] if self.holds else answer(200)


@contextmanager
def world(name: str) -> Iterator[tuple[Cluster, Sink, ThreadedHttpServer, Callable[..., Daemon]]]:
    """Yield a migrated cluster, a webhook, and what starts a daemon on them."""
    sink = Sink()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=f"jtd-{name}-")))
        folder.chmod(0o755)
        (folder / "a").mkdir()
        cluster = stack.enter_context(Cluster(folder / "a"))
        cluster.create("jobs")
        migrate(cluster.dsn("jobs"))
        lift_rate_limits(cluster.dsn("jobs"))  # it is the worker that is measured
        server = stack.enter_context(ThreadedHttpServer(sink))

        def start(**settings: str) -> Daemon:
            own = {"email_webhook_url": server.url, "email_webhook_secret": SECRET, **settings}
            return stack.enter_context(running(cluster.dsn("jobs"), "email:webhook", folder, **own))

        yield cluster, sink, server, start


@contextmanager
def connected(cluster: Cluster) -> Iterator[psycopg.Connection]:
    with psycopg.connect(cluster.dsn("jobs"), autocommit=True) as db:
        yield db


def since(begun: float) -> float:
    return time.monotonic() - begun


def tell(what: str, seconds: float, promise: float) -> None:
    print(f"{what:<66} {seconds:5.1f} s (at most {promise:g} s)", flush=True)


def takeover() -> None:
    """A daemon is killed while it sends; the other takes back what it held."""
    with world("takeover") as (cluster, sink, _, start), connected(cluster) as db:
        first = start()
        sink.holds = True
        insert_many(db, 32)
        eventually(lambda: one(db, IN_FLIGHT) == 32)
        start()
        sink.holds = False
        first.process.kill()
        begun = time.monotonic()
        insert_many(db, 10)
        eventually(lambda: one(db, SENT) == 10)
        tell("SIGKILL: the other replica sends what comes", since(begun), 10)
        eventually(lambda: one(db, "SELECT count(*) FROM jtd.inflight") == 0)
        tell("SIGKILL: what the dead one held is taken back", since(begun), 10)


def restart() -> None:
    """Postgres crashes and comes back under load."""
    with world("restart") as (cluster, _, _, start):
        start(slots="64")
        with connected(cluster) as db:
            insert_many(db, 20_000)
            eventually(lambda: one(db, SENT) >= 500)
            usual = rate(db)
        cluster.stop("immediate")
        time.sleep(2)  # an outage lasts
        cluster.start()
        begun = time.monotonic()
        with connected(cluster) as db:
            while rate(db) < 0.8 * usual and since(begun) < 30:
                pass
            tell(f"Postgres back: at 80 % of {usual:.0f} JTDs/s again", since(begun), 5)
            db.execute(
                "UPDATE n_jtd SET status_code = 'cancelled' WHERE status_code IN ('queued', 'pending')"
            )
            eventually(lambda: one(db, "SELECT count(*) FROM jtd.inflight") == 0)
            eventually(lambda: one(db, "SELECT count(*) FROM jtd.sleepers") == 2)
            before = one(db, SENT)
            asked = time.monotonic()
            insert_many(db, 1)
            eventually(lambda: one(db, SENT) == before + 1)
            tell("Postgres back: an idle worker is woken by a notification", since(asked), 0.5)


def rate(db: psycopg.Connection) -> float:
    """Return JTDs sent a second, over half a second."""
    begun, before = time.monotonic(), one(db, SENT)
    time.sleep(0.5)
    return float((one(db, SENT) - before) / since(begun))


def outage() -> bool:
    """Postgres is away for half a minute with 200 sends on their way; the rule is hold."""
    with world("outage") as (cluster, sink, server, start):
        settings = {"slots": "100", "email_webhook_unknown": "hold"}
        start(**settings)
        start(**settings)
        sink.holds = True
        with connected(cluster) as db:
            insert_many(db, 200)
            eventually(lambda: one(db, IN_FLIGHT) == 200)
        cluster.stop("immediate")
        server.release()
        sink.holds = False
        time.sleep(30)  # the outage
        cluster.start()
        begun = time.monotonic()
        with connected(cluster) as db:
            eventually(lambda: one(db, "SELECT count(*) FROM jtd.inflight") == 0)
            tell("30 s outage: 200 results of sends on their way recorded", since(begun), 5)
            held = one(db, "SELECT count(*) FROM n_jtd WHERE status_code <> 'sent'")
        duplicates = sum(count - 1 for count in server.server.counts.values())
        print(f"30 s outage: {duplicates} duplicates, {held} held (0 and 0)")
        return not duplicates and not held


def drain() -> None:
    """A daemon is told to stop under load; what it had not started goes back."""
    with world("drain") as (cluster, sink, server, start), connected(cluster) as db:
        daemon = start(drain_seconds="2")
        sink.holds = True
        insert_many(db, 1000)
        eventually(lambda: one(db, IN_FLIGHT) > 0)
        daemon.signal(signal.SIGTERM)
        begun = time.monotonic()
        eventually(lambda: one(db, "SELECT count(*) FROM jtd.inflight WHERE handed_off_at IS NULL") == 0)
        used = one(db, "SELECT count(*) FROM n_jtd WHERE retry_count > 0")
        tell(f"SIGTERM: unstarted work is claimable, {used} attempts used", since(begun), 1)
        server.release()
        daemon.wait()


def main() -> int:
    takeover()
    restart()
    drain()
    return 0 if outage() else 1


if __name__ == "__main__":
    sys.exit(main())
