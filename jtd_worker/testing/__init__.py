"""The conformance kit: what any adapter must show, against real servers that go wrong on command.

A pytest plug-in: `pytest_plugins = ["jtd_worker.testing.plugin"]` in conftest.py, with `jtd-worker[testing]`
installed. A test module subclasses `HttpConformance` and says what its provider looks like; every promise of
an adapter is then a test. `SmtpConformance` is the same for adapters that submit mail by SMTP.
"""

from jtd_worker.testing.http_cases import Expect, refused, sent, throttled, unknown
from jtd_worker.testing.http_conformance import Accepts, Golden, HttpConformance, Refuses
from jtd_worker.testing.samples import sample
from jtd_worker.testing.smtp_cases import Relay
from jtd_worker.testing.smtp_conformance import SmtpConformance

__all__ = [
    "Accepts",
    "Expect",
    "Golden",
    "HttpConformance",
    "Refuses",
    "Relay",
    "SmtpConformance",
    "refused",
    "sample",
    "sent",
    "throttled",
    "unknown",
]
