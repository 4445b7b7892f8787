"""Figures for Prometheus; labels are codes, never contacts or tenants."""

from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """The figures of one worker, and of the database as this worker last saw it."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.claimed = Counter("jtd_claimed", "JTDs claimed.", ["queue"], registry=self.registry)
        self.attempts = Counter(
            "jtd_attempts", "Attempts ended.", ["channel", "provider", "outcome"], registry=self.registry
        )
        self.seconds = Histogram(
            "jtd_attempt_seconds",
            "From the claim to the outcome.",
            ["channel"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self.cut = Counter(
            "jtd_cut", "Messages sent of which the text was cut.", ["channel"], registry=self.registry
        )
        self.answers = Counter(
            "jtd_settled", "Results by the answer of the database.", ["answer"], registry=self.registry
        )
        self.reclaimed = Counter(
            "jtd_reclaimed", "JTDs taken back from dead workers.", registry=self.registry
        )
        self.found = Counter(
            "jtd_found", "JTDs that were on no list, put back by the sweep.", registry=self.registry
        )
        self.ready = Gauge("jtd_worker_ready", "1 if /readyz answers 200.", registry=self.registry)
        self._queue: dict[str, Gauge] = {
            key: Gauge(f"jtd_queue_{name}", text, ["channel", "lane"], registry=self.registry)
            for key, name, text in (
                ("messages", "messages", "Messages in the queue."),
                ("ready", "ready", "JTDs that are due and await admission."),
                ("oldest_seconds", "oldest_seconds", "How long the oldest readable message has waited."),
                ("is_paused", "paused", "1 if the channel is paused."),
            )
        }
        self._waiting = Gauge("jtd_waiting", "JTDs not due yet.", ["reason"], registry=self.registry)
        self._discards = Gauge(
            "jtd_discards", "Messages not turned into work.", ["reason"], registry=self.registry
        )
        self._in_flight = Gauge("jtd_in_flight", "JTDs executing, of all workers.", registry=self.registry)
        self._dead_letters = Gauge("jtd_dead_letters", "Messages in jtd_dlq.", registry=self.registry)
        self._workers = Gauge("jtd_workers", "Workers with a lease.", registry=self.registry)
        self._oldest_snapshot = Gauge(
            "jtd_oldest_snapshot_seconds",
            "How long the oldest transaction has held back vacuum.",
            registry=self.registry,
        )
        self._unserved = Gauge(
            "jtd_unserved",
            "1 for a channel with work that no worker serves.",
            ["channel"],
            registry=self.registry,
        )

        self._breakers = Gauge(
            "jtd_breaker_open",
            "1 for a provider that nothing is handed to at present.",
            ["channel", "provider"],
            registry=self.registry,
        )
        self._rates = Gauge(
            "jtd_rate_reached",
            "1 for a provider that was handed as many messages as its limit lets it.",
            ["channel", "provider"],
            registry=self.registry,
        )

    def see(self, status: dict[str, Any]) -> None:
        """Take over what `jtd.status_v1` told."""
        for queue in status["queues"]:
            for key, gauge in self._queue.items():
                gauge.labels(queue["channel"], queue["lane"]).set(queue[key])
        for gauge, values in ((self._waiting, status["waiting"]), (self._discards, status["discards"])):
            gauge.clear()
            for reason, count in values.items():
                gauge.labels(reason).set(count)
        self._breakers.clear()
        for breaker in status["breakers"]:
            self._breakers.labels(breaker["channel"], breaker["provider"]).set(1)
        self._rates.clear()
        for rate in status["rates"]:
            self._rates.labels(rate["channel"], rate["provider"]).set(rate["free_at"] is not None)
        self._unserved.clear()
        for channel in status["unserved"]:
            self._unserved.labels(channel).set(1)
        self._oldest_snapshot.set(status["oldest_snapshot_seconds"])
        self._in_flight.set(status["in_flight"])
        self._dead_letters.set(status["dead_letters"])
        self._workers.set(sum(worker["is_alive"] for worker in status["workers"]))

    def text(self) -> bytes:
        """Return the Prometheus text format, version 0.0.4."""
        return generate_latest(self.registry)
