"""Adapters from outside: a package with an entry point is found, sends, and disturbs nothing."""

import importlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest

from jtd_worker.adapter import Sureness
from jtd_worker.channel_commands import FACTS, HEADERS
from jtd_worker.errors import ConfigurationError
from jtd_worker.receipt import ForgedError, MalformedError, Receipt, ReceiptKind, WebhookRequest
from jtd_worker.registry import ProviderName, find_module, installed
from jtd_worker.result import Retry, Scope
from jtd_worker.testing import Accepts, Golden, HttpConformance, Refuses, refused, sample, unknown
from jtd_worker.testing.http_server import ThreadedHttpServer, answer
from tests.command import call, process
from tests.daemon import eventually, running
from tests.jobs import insert_jtd, row

SAMPLE = Path(__file__).parent / "sample_channel"
TOKEN = "planted-token-that-nobody-may-see"
SECRET = "planted-receipt-secret"
SMS = sample("sms")


@pytest.fixture(scope="module", autouse=True)
def package(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder that the sample package is installed in by pip, on the path of this module's tests."""
    source = tmp_path_factory.mktemp("source")
    for path in SAMPLE.iterdir():
        if path.is_file():
            (source / path.name).write_bytes(path.read_bytes())
    target = tmp_path_factory.mktemp("installed")
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
    subprocess.run(
        [sys.executable, "-m", "pip", "install", *options, "--target", target, source],
        check=True,
        capture_output=True,
        timeout=120,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(target)
        yield target
    sys.modules.pop("sms_acme", None)


class TestSample(HttpConformance):
    provider = "sms:acme"
    settings = {"token": TOKEN}
    secrets = (TOKEN,)
    accepts = (Accepts(name="an id", status=201, body={"id": "m-1"}, id="m-1"),)
    refuses = (
        Refuses(name="a number", status=200, body={"error": {"code": "bad_number"}},
                expect=refused(Retry.NEVER, Scope.RECIPIENT), code="bad_number"),
        Refuses(name="no balance", status=400, body={"error": {"code": "no_balance"}},
                expect=refused(Retry.AFTER_OPERATOR, Scope.CREDENTIAL)),
        Refuses(name="full", status=503, body={"error": {"code": "full"}},
                expect=refused(Retry.LATER, Scope.PROVIDER)),
        Refuses(name="a gateway before it", status=502, expect=unknown()),
    )  # fmt: skip
    golden = (
        Golden(
            name="a message",
            message=SMS,
            target="/v1/messages",
            headers={"authorization": f"Bearer {TOKEN}"},
            json={"to": "+14155550123", "from": "ACME", "text": SMS.text, "ref": str(SMS.jtd_id)},
        ),
    )


def test_a_new_http_provider_is_one_file_of_less_than_80_lines() -> None:
    lines = (SAMPLE / "sms_acme.py").read_text().splitlines()
    assert len(lines) < 80
    assert max(map(len, lines)) <= 110


EVENT = {"event": "e-1", "status": "arrived", "id": "m-1", "ref": str(UUID(int=7)), "at": 1893553445}


def parse(event: object, token: str = SECRET) -> list[Receipt]:
    module: Any = find_module(ProviderName.parse("sms:acme"))
    request = WebhookRequest(
        method="POST",
        url="https://jtd.example/webhooks/acme",
        headers={"x-acme-token": token},
        body=json.dumps(event).encode(),
        received_at=datetime(2030, 1, 2, tzinfo=UTC),
    )
    parser = module.build_receipts(module.ReceiptSettings.model_validate({"secrets": f"other {SECRET}"}))
    return list(parser(request))


def test_its_receipts_are_proved_and_read() -> None:
    assert parse(EVENT) == [
        Receipt(
            kind=ReceiptKind.DELIVERED,
            event_key="e-1",
            provider_message_id="m-1",
            reference=UUID(int=7),
            at=datetime.fromtimestamp(1893553445, UTC),
        )
    ]
    assert [one.kind for one in parse({**EVENT, "status": "dead"})] == [ReceiptKind.BOUNCED]
    assert parse({**EVENT, "status": "queued"}) == []
    with pytest.raises(ForgedError):
        parse(EVENT, "guess")
    with pytest.raises(MalformedError):
        parse([EVENT])


def test_a_worker_sends_by_it(
    dsn: str, db: psycopg.Connection, tmp_path: Path, package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = Path(__file__).parent.parent
    monkeypatch.setenv("PYTHONPATH", f"{root}:{package}")
    jtd_id = insert_jtd(
        db, channel_code="sms", template_key="user_invite_sms_v1", recipient_contact="+14155550123"
    )
    with ThreadedHttpServer(answer(200, b'{"id": "m-7"}')) as server:
        settings = {"sms_acme_base_url": server.url.removesuffix("/hook"), "sms_acme_token": TOKEN}
        with running(dsn, "sms:acme", tmp_path, **settings) as daemon:
            eventually(lambda: row(db, jtd_id)["status_code"] == "sent")
    assert TOKEN not in daemon.text
    (request,) = server.server.requests
    assert request.json["ref"] == str(jtd_id)
    sent = row(db, jtd_id)
    assert (sent["provider_code"], sent["provider_message_id"]) == ("acme", "m-7")


# ---------------------------------------------------------------- several packages


def distribution(folder: Path, package: str, **entries: str) -> Path:
    """Make an installed distribution of entry points alone, as a folder for the path."""
    info = folder / package / f"{package}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    lines = "".join(f"{name} = {target}\n" for name, target in entries.items())
    (info / "entry_points.txt").write_text(f"[jtd_worker.channels]\n{lines}")
    importlib.invalidate_caches()
    return folder / package


def test_two_packages_with_one_name_are_a_mistake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(distribution(tmp_path, "acme_too", sms_acme="json"))
    with pytest.raises(ConfigurationError, match="acme_too and jtd-channel-acme both bring sms_acme"):
        find_module(ProviderName.parse("sms:acme"))


def test_our_own_file_comes_before_an_installed_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(distribution(tmp_path, "taker", any_noop="json", email_noop="json"))
    assert (
        getattr(find_module(ProviderName.parse("sms:noop")), "__name__", "") == "jtd_worker.channels.any_noop"
    )
    assert (
        getattr(find_module(ProviderName.parse("email:noop")), "__name__", "")
        == "jtd_worker.channels.any_noop"
    )
    assert [one.package for one in installed() if one.provider == "noop" and one.channel == "any"] == [
        "jtd-worker"
    ]


def test_an_installed_one_may_serve_every_channel_and_gives_way_to_its_channels_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(distribution(tmp_path, "wide", any_acme="sms_acme", any_wide="sms_acme"))
    assert hasattr(find_module(ProviderName.parse("voice:wide.backup")), "build")
    assert hasattr(find_module(ProviderName.parse("voice:acme")), "build")
    assert find_module(ProviderName.parse("sms:acme")) is sys.modules["sms_acme"]


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("no_such_module", "sms_bad of bad cannot be loaded: ModuleNotFoundError"),
        ("json:nothing", "sms_bad of bad cannot be loaded: AttributeError"),
        ("json", "sms_bad of bad has no Settings and no build"),
    ],
)
def test_a_package_that_cannot_be_used_is_named(
    target: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(distribution(tmp_path, "bad", sms_bad=target))
    with pytest.raises(ConfigurationError, match=told):
        find_module(ProviderName.parse("sms:bad"))


def test_a_provider_that_nobody_brings_is_named_with_what_was_looked_for() -> None:
    with pytest.raises(ConfigurationError, match=r"sms_nobody\.py or any_nobody\.py, or a package"):
        find_module(ProviderName.parse("sms:nobody"))


# ---------------------------------------------------------------- the command that lists them


def test_the_command_lists_ours_and_those_of_packages_without_a_database() -> None:
    ended = call(None, "channels")
    assert (ended.code, ended.err) == (0, "")
    lines = [re.split(r"  +", line) for line in ended.out.splitlines()]
    assert lines[0] == list(HEADERS)
    assert ["sms", "acme", "vendor's pages", "hold", "yes", "1", "jtd-channel-acme"] in lines
    assert ["any", "outbox", "an open standard, or ours", "none", "no", "1000", "jtd-worker"] in lines
    assert set(FACTS) == set(Sureness)


def test_the_command_gives_one_json_document() -> None:
    ended = process(None, "channels", "--json")
    assert ended.code == 0, ended.err
    (http,) = [one for one in json.loads(ended.out) if one["provider"] == "http"]
    expected = {"channel": "any", "package": "jtd-worker", "sureness": "configured", "unknown_rule": "hold",
                "transactional": False, "batch_size": 1, "has_receipts": True}  # fmt: skip
    assert expected.items() <= http.items()


def test_the_command_tells_what_cannot_be_used_and_lists_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(distribution(tmp_path, "bad", sms_bad="no_such_module", sms_bare="bare"))
    (tmp_path / "bad" / "bare.py").write_text("Settings = build = None\n")
    ended = call(None, "channels")
    assert ended.code == 1
    assert ended.err.startswith("sms_bad of bad cannot be loaded: ModuleNotFoundError")
    assert re.search(r"^sms +bare +bad$", ended.out, re.MULTILINE)
    assert re.search(r"^sms +acme ", ended.out, re.MULTILINE)
    sys.modules.pop("bare", None)
