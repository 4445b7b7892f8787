"""Figures of the web process for Prometheus; labels are codes, never contacts, tenants or addresses."""

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest


class WebMetrics:
    """The figures of one process of `jtd-worker serve`."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.ready = Gauge("jtd_web_ready", "1 if /readyz answers 200.", registry=self.registry)
        self.streams = Gauge("jtd_feed_streams", "Open streams of the feed.", registry=self.registry)
        self.webhooks = Counter(
            "jtd_webhook_requests",
            "Requests of providers, by the HTTP status they were answered with.",
            ["channel", "provider", "answer"],
            registry=self.registry,
        )
        self.receipts = Counter(
            "jtd_receipts",
            "Receipts put on record, copies included.",
            ["channel", "provider", "kind"],
            registry=self.registry,
        )
        self.known = Counter(
            "jtd_receipts_known",
            "Receipts that were on record already.",
            ["channel", "provider"],
            registry=self.registry,
        )

    def text(self) -> bytes:
        """Return the Prometheus text format, version 0.0.4."""
        return generate_latest(self.registry)
