"""Settings: everything wrong is named at once, and nothing secret is shown."""

import pytest

from jtd_worker import settings
from jtd_worker.errors import ConfigurationError
from jtd_worker.registry import ProviderName

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in [name for name in os.environ if name.startswith("JTD_")]:
        monkeypatch.delenv(name)


def load(monkeypatch: pytest.MonkeyPatch, **given: str) -> settings.Configuration:
    for name, value in given.items():
        monkeypatch.setenv(f"JTD_{name.upper()}", value)
    return settings.load()


def test_defaults_are_enough_beside_a_database_and_providers(monkeypatch: pytest.MonkeyPatch) -> None:
    found = load(monkeypatch, database_url="postgresql://x", providers="email:outbox, inapp:db")
    assert (found.settings.slots, found.settings.lease_seconds, found.settings.http) == (32, 8, "")
    assert {channel: [str(p.name) for p in pool] for channel, pool in found.providers.items()} == {
        "email": ["email:outbox"],
        "inapp": ["inapp:db"],
    }


def test_every_mistake_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError) as refused:
        load(
            monkeypatch,
            providers="email:webhook,sms:pigeon",
            slots="0",
            http="8080",
            email_webhook_url="http://elsewhere.example/hook",
            email_webhook_colour="red",
            email_smtp_host="mail.example",
        )
    text = str(refused.value)
    for name in (
        "JTD_DATABASE_URL: is required",
        "JTD_SLOTS",
        "JTD_HTTP: is not host:port",
        "JTD_EMAIL_WEBHOOK_URL",
        "JTD_EMAIL_WEBHOOK_SECRET: is required",
        "JTD_EMAIL_WEBHOOK_COLOUR: is not a setting of this provider",
        "no provider 'pigeon' for channel 'sms'",
        "JTD_EMAIL_SMTP_HOST is not a setting of the worker or of a provider in JTD_PROVIDERS",
    ):
        assert name in text


@pytest.mark.parametrize("providers", ["", " , ", "email", "email:", ":smtp", "email:smtp.", "Email:smtp"])
def test_providers_that_cannot_be_read_are_refused(monkeypatch: pytest.MonkeyPatch, providers: str) -> None:
    with pytest.raises(ConfigurationError, match="JTD_PROVIDERS"):
        load(monkeypatch, database_url="x", providers=providers)


def test_an_unknown_name_of_ours_is_refused_but_those_of_the_tests_are_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    load(monkeypatch, database_url="x", providers="email:outbox", test_database_url="y")
    with pytest.raises(ConfigurationError, match="JTD_SLOT is not a setting"):
        load(monkeypatch, slot="4")


def test_a_second_instance_has_settings_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    found = load(
        monkeypatch,
        database_url="x",
        providers="email:smtp,email:smtp.backup",
        email_smtp_host="one.example",
        email_smtp_from="a@one.example",
        email_smtp_backup_host="two.example",
        email_smtp_backup_from="a@two.example",
    )
    first, second = found.providers["email"]
    assert [first.settings.host, second.settings.host] == ["one.example", "two.example"]  # type: ignore[attr-defined]
    assert second.name == ProviderName(channel="email", provider="smtp", instance="backup")
    assert second.name.code == "smtp.backup"


def test_no_secret_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    found = load(
        monkeypatch,
        database_url="postgresql://user:hunter2@host/db",
        providers="email:webhook",
        email_webhook_url="https://hook.example/",
        email_webhook_secret=SECRET,
    )
    assert "hunter2" not in repr(found)
    assert SECRET not in repr(found)
    with pytest.raises(ConfigurationError) as refused:
        load(monkeypatch, email_webhook_secret="whsec_not-base64-but-secret")
    assert "not-base64-but-secret" not in str(refused.value)
