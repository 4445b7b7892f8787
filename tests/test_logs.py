"""The form of the log: JSON lines for machines, plain words for people."""

import json
import subprocess
import sys

import pytest

SAY = (
    "import structlog; from jtd_worker import logs; logs.configure({!r});"
    " structlog.get_logger().info('jtd.sent', ms=1)"
)


@pytest.mark.parametrize(("style", "is_json"), [("json", True), ("auto", True), ("console", False)])
def test_the_log_has_the_form_of_the_setting(style: str, is_json: bool) -> None:
    """Standard error is no terminal here, so `auto` is JSON."""
    said = subprocess.run(
        [sys.executable, "-c", SAY.format(style)], capture_output=True, text=True, timeout=30, check=True
    )
    assert said.stdout == ""
    assert "jtd.sent" in said.stderr
    assert "\x1b[" not in said.stderr, "no colours where there is no terminal"
    if is_json:
        assert json.loads(said.stderr)["ms"] == 1
    else:
        assert not said.stderr.startswith("{")


def test_a_form_that_is_not_known_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from jtd_worker import settings
    from jtd_worker.errors import ConfigurationError

    monkeypatch.setenv("JTD_DATABASE_URL", "x")
    monkeypatch.setenv("JTD_PROVIDERS", "email:outbox")
    monkeypatch.setenv("JTD_LOG_FORMAT", "console")
    assert settings.load().settings.log_format == "console"
    monkeypatch.setenv("JTD_LOG_FORMAT", "xml")
    with pytest.raises(ConfigurationError, match="JTD_LOG_FORMAT"):
        settings.load()
