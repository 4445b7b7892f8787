"""The conformance kit: what any adapter must show, against real servers that go wrong on command.

A pytest plug-in: `pytest_plugins = ["jtd_worker.testing.plugin"]` in conftest.py, with `jtd-worker[testing]`
installed. A test module subclasses `HttpConformance` and says what its provider looks like; every promise of
an adapter is then a test.
"""

from jtd_worker.testing.http_cases import Expect, refused, sent, throttled, unknown
from jtd_worker.testing.http_conformance import Accepts, Golden, HttpConformance, Refuses
from jtd_worker.testing.samples import sample

__all__ = [
    "Accepts",
    "Expect",
    "Golden",
    "HttpConformance",
    "Refuses",
    "refused",
    "sample",
    "sent",
    "throttled",
    "unknown",
]
