"""What README and docs say is so: their SQL and Python run, their tables match code and catalog."""

import importlib
import os
import pkgutil
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
from pydantic import BaseModel, SecretStr
from pydantic_core import PydanticUndefined
from typer.main import get_command

import jtd_worker.channels
from jtd_worker.adapter import Adapter, Capabilities, UnknownRule
from jtd_worker.channel_commands import HEADERS
from jtd_worker.channel_commands import row as told_of
from jtd_worker.cli import app
from jtd_worker.message import Message
from jtd_worker.metrics import Metrics
from jtd_worker.registry import Provider, ProviderName, find_module, installed
from jtd_worker.result import Refused, Retry, SendResult, Sent, Unknown
from jtd_worker.serve_settings import ServeSettings
from jtd_worker.settings import Settings
from jtd_worker.testing.http_server import HttpServer, Script, Step, answer
from jtd_worker.web_metrics import WebMetrics
from tests.daemon import run_until_idle
from tests.jobs import row

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
DOCS = {
    str(path.relative_to(ROOT / "docs")): path.read_text() for path in sorted((ROOT / "docs").rglob("*.md"))
}
ALL = {"README.md": README, **DOCS}
MESSAGE = Message(
    jtd_id=UUID(int=1),
    tenant_id=UUID(int=2),
    channel="voice",
    event_type="notification",
    source_type="user_invite",
    idempotency_key=str(UUID(int=1)),
    created_at=datetime(2030, 1, 1, tzinfo=UTC),
    to="+14155550101",
    text="Hello.",
)


def blocks(text: str, language: str) -> list[str]:
    """Return the code blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def table(text: str, heading: str) -> list[list[str]]:
    """Return the cells of the first table whose head begins with `heading`."""
    lines = text[text.index(f"| {heading} |") :].splitlines()[2:]
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split(" | ")])
    return rows


def codes(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


# ---------------------------------------------------------------- settings


def shown(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, str]]:
    """Yield the variables of a model with their defaults as the README writes them."""
    for name, field in model.model_fields.items():
        if field.default_factory is not None:
            default = "by TLS" if name == "port" else "by region"
        elif field.default is PydanticUndefined:
            default = "required"
        elif field.default in (None, "", (), SecretStr("")):
            default = "none"
        else:
            default = f"`{field.default:g}`" if isinstance(field.default, float) else f"`{field.default}`"
        yield f"`{prefix}{(field.alias or name).upper()}`", default


def told(prefix: str) -> set[tuple[str, str]]:
    """Return the variables that the tables of settings have under a prefix, in the README or a page."""
    pages = "\n".join(ALL.values())
    return set(re.findall(rf"^\| (`{prefix}\w+`) \| ([^|]+?) \|", pages, re.MULTILINE))


def test_the_readme_lists_every_setting_of_the_worker_with_its_default() -> None:
    listed = {(name, default) for name, default, *_ in table(README, "name | default | meaning")}
    assert listed == set(shown(Settings, "JTD_"))


def test_every_setting_of_every_provider_is_in_the_readme_or_a_page() -> None:
    without = set()
    for module in pkgutil.iter_modules(jtd_worker.channels.__path__):
        channel, _, provider = module.name.partition("_")
        prefix = f"JTD_{channel if channel != 'any' else 'sms'}_{provider}_".upper()
        model = importlib.import_module(f"jtd_worker.channels.{module.name}").Settings
        if model.model_fields:
            assert told(prefix) == set(shown(model, prefix)), module.name
        else:
            without.add(f"<channel>:{provider}" if channel == "any" else f"{channel}:{provider}")
    start = README.index("Without settings: ")
    assert set(codes(README[start : README.index("\n\n", start)])) >= without


def test_the_readme_lists_the_providers_as_the_command_does() -> None:
    listed = table(README, " | ".join(HEADERS[:-1]))
    told = [told_of(one, find_module(one.name).CAPABILITIES) for one in installed()]  # type: ignore[attr-defined]
    assert [[re.sub(r"\[(\w+)\]\(.*\)", r"\1", cell) for cell in cells] for cells in listed] == [
        list(cells[:-1]) for cells in told
    ]


def test_the_page_of_the_web_process_lists_its_settings_with_their_defaults() -> None:
    listed = {
        (name, default) for name, default, *_ in table(DOCS["serve.md"], "variable | default | meaning")
    }
    assert listed == set(shown(ServeSettings, "JTD_"))


def test_every_provider_that_reports_is_on_a_page_with_its_settings() -> None:
    expected: set[tuple[str, str]] = set()
    for module in pkgutil.iter_modules(jtd_worker.channels.__path__):
        channel, _, provider = module.name.partition("_")
        found = importlib.import_module(f"jtd_worker.channels.{module.name}")
        if hasattr(found, "build_receipts"):
            name = f"{channel if channel != 'any' else 'sms'}_{provider}".upper()
            expected |= set(shown(found.ReceiptSettings, f"JTD_RECEIPTS_{name}_"))
    assert told("JTD_RECEIPTS_") == expected


# ---------------------------------------------------------------- commands


def commands() -> set[str]:
    """The commands of jtd-worker, and those under a group as `group command`."""
    found = set()
    for name, command in get_command(app).commands.items():  # type: ignore[attr-defined]
        found.add(name)
        found |= {f"{name} {inner}" for inner in getattr(command, "commands", {})}
    return found


@pytest.mark.parametrize("page", ALL)
def test_every_command_named_is_there(page: str) -> None:
    code = "\n".join([*codes(ALL[page]), *blocks(ALL[page], "sh")])
    named = set(re.findall(r"^jtd-worker ([a-z-]+)", code, re.MULTILINE))
    assert named <= commands()


def test_operations_lists_every_command_and_what_the_dead_letters_have() -> None:
    listed = {
        cells[0].strip("`").removeprefix("jtd-worker ") for cells in table(DOCS["operations.md"], "command")
    }
    assert listed == {name for name in commands() if " " not in name}
    dlq = next(cells[1] for cells in table(DOCS["operations.md"], "command") if "dlq" in cells[0])
    assert {f"dlq {name}" for name in codes(dlq)[:3]} == {
        name for name in commands() if name.startswith("dlq ")
    }


@pytest.mark.parametrize("page", ALL)
def test_every_make_target_named_is_there(page: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`?make ([a-z][a-z-]+)`", ALL[page])) <= targets


def test_the_commands_of_the_shell_blocks_take_their_options() -> None:
    lines = "\n".join(blocks(README, "sh")).replace("\\\n", "").splitlines()
    called = [line for line in lines if line.startswith("jtd-worker ")]
    assert called
    for line in called:
        name, *options = re.findall(r"^jtd-worker ([a-z]+)|(--[a-z-]+)", line)
        command = get_command(app).commands[name[0]]  # type: ignore[attr-defined]
        known = {option for parameter in command.params for option in parameter.opts}
        assert {option for _, option in options} <= known, line


# ---------------------------------------------------------------- SQL


@pytest.mark.parametrize("page", ALL)
def test_the_sql_runs_as_it_stands(page: str, db: psycopg.Connection) -> None:
    for block in blocks(ALL[page], "sql"):
        db.execute(block.encode())


def test_the_jobs_of_the_readme_are_sent(db: psycopg.Connection, dsn: str, tmp_path: Path) -> None:
    insert, enqueue = blocks(README, "sql")[:2]
    assert "INSERT INTO n_jtd (" in insert
    db.execute(insert.encode())
    db.execute(enqueue.encode())
    run_until_idle(dsn, "email:outbox,sms:outbox", tmp_path)
    rows = db.execute("SELECT channel_code, status_code FROM n_jtd ORDER BY 1").fetchall()
    assert rows == [("email", "sent"), ("sms", "scheduled")]


def test_the_python_of_the_readme_makes_one_job_per_key(db: psycopg.Connection) -> None:
    (code,) = [block for block in blocks(README, "python") if "def invite" in block]
    names: dict[str, Any] = {}
    exec(code, names)
    payload = {"inviter_name": "Jane", "tenant_name": "Acme", "invite_link": "https://example.com/i"}
    arguments = (db, "7f0c2f5e-8c1d-4b57-9a0e-3f6d1c2b4a50", "john@example.com", payload)
    first = names["invite"](*arguments)
    assert row(db, UUID(first))["status_code"] == "queued"
    assert names["invite"](*arguments) == first


def test_the_statement_for_node_makes_a_job(db: psycopg.Connection) -> None:
    (code,) = blocks(README, "js")
    statement = re.search(r"`(.*?)`", code, re.DOTALL)
    assert statement
    query = re.sub(r"\$(\d)", "%s", statement[1])
    assert query.count("%s") == 3
    parameters = ("7f0c2f5e-8c1d-4b57-9a0e-3f6d1c2b4a50", "john@example.com", "{}")
    (jtd_id,) = db.execute(query.encode(), parameters).fetchall()[0]
    assert row(db, jtd_id)["status_code"] == "queued"


def test_the_shell_command_of_the_readme_makes_a_job(db: psycopg.Connection, dsn: str) -> None:
    (block,) = [block for block in blocks(README, "sh") if "jtd-worker enqueue" in block]
    done = subprocess.run(
        ["bash", "-euc", f'jtd-worker() {{ "{sys.executable}" -m jtd_worker "$@"; }}\n{block}'],
        cwd=ROOT,
        env={**os.environ, "JTD_DATABASE_URL": dsn},
        check=True,
        capture_output=True,
        text=True,
    )
    assert row(db, UUID(done.stdout.strip()))["status_code"] == "queued"


# ---------------------------------------------------------------- the adapter of the README


@pytest.fixture
def sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The adapter of the README as the file that the README names."""
    (code,) = [block for block in blocks(README, "python") if "def build" in block]
    assert "`jtd_worker/channels/voice_acme.py` serves `voice:acme`" in README
    (tmp_path / "voice_acme.py").write_text(code)
    monkeypatch.setattr(jtd_worker.channels, "__path__", [*jtd_worker.channels.__path__, str(tmp_path)])
    monkeypatch.delitem(sys.modules, "jtd_worker.channels.voice_acme", raising=False)
    importlib.invalidate_caches()


def build(url: str) -> Adapter:
    return Provider.make(ProviderName.parse("voice:acme"), {"url": url, "token": "t0ken"}).build()


@pytest.mark.usefixtures("sample")
@pytest.mark.parametrize(
    ("script", "expected"),
    [
        (answer(200, headers={"x-call-id": "call-1"}), Sent(provider_message_id="call-1")),
        (answer(401), Retry.AFTER_OPERATOR),
        (answer(422), Retry.NEVER),
        (answer(503), Unknown),
        ([Step.RESET], Unknown),
    ],
)
async def test_the_adapter_of_the_readme_works(script: Script, expected: object) -> None:
    async with HttpServer(script) as server:
        adapter = build(server.url)
        assert adapter.capabilities == Capabilities(unknown_rule=UnknownRule.HOLD)
        (result,) = await adapter.send([MESSAGE])
        await adapter.aclose()
        assert server.requests[0].headers["authorization"] == "Bearer t0ken"
        assert server.requests[0].json.keys() == {"to", "say"}
    assert expected in (result, type(result), how(result))


@pytest.mark.usefixtures("sample")
async def test_the_adapter_of_the_readme_knows_that_nothing_left_without_a_connection() -> None:
    async with HttpServer(answer(200)) as server:
        url = server.url
    adapter = build(url)
    (result,) = await adapter.send([MESSAGE])
    await adapter.aclose()
    assert how(result) is Retry.LATER


def how(result: SendResult) -> Retry | None:
    return result.retry if isinstance(result, Refused) else None


# ---------------------------------------------------------------- tables of the docs


def test_the_columns_of_n_jtd_are_those_of_the_catalog(db: psycopg.Connection) -> None:
    listed = [name for cells in table(DOCS["data-model.md"], "column") for name in codes(cells[0])]
    rows = db.execute(
        "SELECT attname FROM pg_attribute"
        " WHERE attrelid = 'n_jtd'::regclass AND attnum > 0 AND NOT attisdropped"
    ).fetchall()
    assert sorted(listed) == sorted(name for (name,) in rows)


def test_a_column_that_only_describes_says_so_in_both_places(db: psycopg.Connection) -> None:
    told = {
        name
        for cells in table(DOCS["data-model.md"], "column")
        for name in codes(cells[0])
        if re.search(r"describes? only|kept for it|nobody yet", cells[1])
    }
    rows = db.execute(
        "SELECT attname FROM pg_attribute WHERE attrelid = 'n_jtd'::regclass"
        " AND col_description(attrelid, attnum) LIKE 'Describes only%'"
    ).fetchall()
    assert told == {name for (name,) in rows}


def test_the_tables_named_are_those_of_the_catalog(db: psycopg.Connection) -> None:
    named = {name for cells in table(DOCS["data-model.md"], "tables") for name in codes(cells[0])} - {"jtd"}
    rows = db.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')"
        " AND NOT relispartition AND relname LIKE 'n\\_%'"
    ).fetchall()
    assert named == {name for (name,) in rows}


def test_every_refusal_of_the_sql_is_explained() -> None:
    raised = set()
    for path in (ROOT / "sql").rglob("*.sql"):
        raised |= set(re.findall(r"'(JT\d{3})'", path.read_text()))
    assert [codes(cells[0])[0] for cells in table(DOCS["data-model.md"], "SQLSTATE")] == sorted(raised)


def test_the_metrics_named_are_those_served() -> None:
    served = set()
    for family in Metrics().registry.collect():
        served.add(f"{family.name}_total" if family.type == "counter" else family.name)
    assert {codes(cells[0])[0] for cells in table(DOCS["operations.md"], "metric")} == served


def test_the_metrics_of_the_web_process_are_those_served() -> None:
    served = set()
    for family in WebMetrics().registry.collect():
        served.add(f"{family.name}_total" if family.type == "counter" else family.name)
    assert {codes(cells[0])[0] for cells in table(DOCS["serve.md"], "web metric")} == served


def test_the_capabilities_named_are_those_of_an_adapter() -> None:
    listed = {codes(cells[0])[0] for cells in table(DOCS["adapters.md"], "field")}
    assert listed == set(Capabilities.__dataclass_fields__)
    assert {rule.name for rule in UnknownRule} <= set(codes(DOCS["adapters.md"]))


def test_the_roles_named_are_those_created(db: psycopg.Connection) -> None:
    rows = db.execute(
        "SELECT rolname FROM pg_roles WHERE rolname LIKE 'jtd\\_%' AND NOT rolcanlogin"
    ).fetchall()
    named = {codes(cells[0])[0] for cells in table(DOCS["operations.md"], "role")}
    assert named <= {name for (name,) in rows}
    assert len(named) == 4


@pytest.mark.parametrize("page", ALL)
def test_every_link_leads_somewhere(page: str) -> None:
    folder = ROOT if page == "README.md" else (ROOT / "docs" / page).parent
    for target in re.findall(r"\]\(([^)#]+)\)", ALL[page]):
        assert "://" in target or (folder / target).exists(), target
