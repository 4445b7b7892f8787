"""The simulator: each recipient does what the page says, in a worker too; receipts are signed and posted."""

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from pydantic import ValidationError
from standardwebhooks import Webhook

from jtd_worker.channels.any_simulator import CAPABILITIES, FATES, Settings, Simulator, build, fate_of
from jtd_worker.result import Refused, Retry, Scope, SendResult, Sent, Throttled, Unknown
from jtd_worker.testing import sample
from jtd_worker.testing.http_server import HttpServer, ThreadedHttpServer, answer, in_turn
from tests.daemon import eventually, running, serving
from tests.jobs import history, insert_jtd, row

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
PAGE = (Path(__file__).parent.parent / "docs" / "channels" / "simulator.md").read_text()


def told() -> Iterator[tuple[str, str, str, tuple[str, ...]]]:
    for line in PAGE.split("| before the @ |")[1].split("\n\n")[0].splitlines()[2:]:
        local, suffix, answered, receipts = (cell.strip() for cell in line.strip("|").split(" | "))
        yield local.strip("`"), suffix.strip("`"), answered, tuple(re.findall(r"`(\w+)`", receipts))


@pytest.mark.parametrize(("local", "suffix", "answered", "receipts"), list(told()))
def test_the_page_says_what_happens(
    local: str, suffix: str, answered: str, receipts: tuple[str, ...]
) -> None:
    fate = FATES[local]
    for to in (f"{local}@example.com", f"{local.upper()}+9@example.com", f"+141555501{suffix}"):
        assert fate_of(to) == fate
    assert (fate.answer, fate.receipts) == (answered, receipts)


def test_the_page_has_them_all_and_anybody_else_is_delivered() -> None:
    assert [line[0] for line in told()] == list(FATES)
    for to in ("john@example.com", "+14155550199", "01890000-0000-7000-8000-0000000000bb", ""):
        assert fate_of(to) == FATES["delivered"]


def settings(**given: Any) -> Settings:
    return Settings.model_validate({"receipt_seconds": 0, "slow_seconds": 0, **given})


async def send(adapter: Any, local: str) -> SendResult:
    (result,) = await adapter.send([sample("email", to=f"{local}@example.com")])
    return result  # type: ignore[no-any-return]


async def test_each_answer_is_one_that_a_provider_could_give() -> None:
    adapter = build(settings(throttled_seconds=7), "email")
    assert adapter.capabilities == CAPABILITIES
    assert CAPABILITIES.needs_hand_off
    sent = Sent(provider_message_id=f"sim-{sample('email').idempotency_key}")
    for local in ("delivered", "read", "bounce", "soft", "complaint", "slow", "somebody"):
        assert await send(adapter, local) == sent
    refused, down = await send(adapter, "refused"), await send(adapter, "down")
    assert isinstance(refused, Refused)
    assert (refused.retry, refused.scope) == (Retry.NEVER, Scope.RECIPIENT)
    assert isinstance(down, Refused)
    assert (down.retry, down.scope) == (Retry.LATER, Scope.NETWORK)
    assert isinstance(await send(adapter, "unknown"), Unknown)
    throttled = await send(adapter, "throttled")
    assert isinstance(throttled, Throttled)
    assert throttled.retry_after == timedelta(seconds=7)
    assert await send(adapter, "throttled") == sent
    await adapter.aclose()


async def posted(script: Any, local: str, **given: Any) -> list[dict[str, Any]]:
    """Return what is reported of one message, each proved by the scheme's own library."""
    async with HttpServer(script) as server:
        adapter = build(settings(receipts_url=server.url, receipts_secret=SECRET, **given), "email")
        assert isinstance(await send(adapter, local), Sent)
        await adapter.aclose()
        return [
            Webhook(SECRET).verify(request.body, dict(request.headers))
            | {"key": request.headers["webhook-id"]}
            for request in server.requests
        ]


async def test_receipts_are_signed_and_come_in_order() -> None:
    delivered, complained = await posted(answer(204), "complaint")
    assert delivered["type"] == "jtd.receipt"
    assert [one["data"]["kind"] for one in (delivered, complained)] == ["delivered", "complained"]
    assert delivered["data"]["id"] == str(sample("email").jtd_id)
    assert delivered["key"] != complained["key"]
    (bounced,) = await posted(answer(204), "bounce", receipt_seconds=3600)  # closing waits for no pause
    assert (bounced["data"]["kind"], bounced["data"]["code"]) == ("bounced", "550")


async def test_a_receipt_that_was_not_taken_is_posted_again_as_the_same_event() -> None:
    async with HttpServer(in_turn(answer(503), answer(204))) as server:
        adapter = Simulator(settings(receipts_url=server.url, receipts_secret=SECRET))
        await send(adapter, "delivered")
        await server.wait_until(lambda server: len(server.requests) == 2)
        await adapter.aclose()
    first, second = server.requests
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.body == second.body


async def test_a_receiver_that_is_away_stops_nothing() -> None:
    assert await posted(answer(500), "delivered") != []
    adapter = build(settings(receipts_url="http://127.0.0.1:9", receipts_secret=SECRET), "email")
    assert isinstance(await send(adapter, "delivered"), Sent)
    await adapter.aclose()


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"receipts_url": "https://jtd.example/webhooks"}, "give both, or neither"),
        ({"receipts_secret": SECRET}, "give both, or neither"),
        ({"receipts_secret": "planted", "receipts_url": "https://a.example"}, "does not start with `whsec_`"),
        ({"receipts_url": "http://jtd.example", "receipts_secret": SECRET}, "use https"),
    ],
)
def test_a_mistake_in_the_settings_is_told(given: dict[str, str], told: str) -> None:
    with pytest.raises(ValidationError) as raised:
        settings(**given)
    assert told in str(raised.value)
    assert not {"planted", SECRET} & set(str(raised.value).split("'"))


def test_a_worker_carries_out_every_fate(dsn: str, db: psycopg.Connection, tmp_path: Path) -> None:
    fates = {local: fate for local, fate in FATES.items() if local != "down"}
    jobs = {local: insert_jtd(db, recipient_contact=f"{local}@example.com") for local in fates}
    expected = {(str(jobs[local]), str(kind)) for local, fate in fates.items() for kind in fate.receipts}
    with ThreadedHttpServer(answer(204)) as server:
        given = {"receipts_url": server.url, "receipts_secret": SECRET, "receipt_seconds": "0.1",
                 "slow_seconds": "0.1", "throttled_seconds": "1"}  # fmt: skip
        variables = {f"email_simulator_{name}": value for name, value in given.items()}
        with running(dsn, "email:simulator", tmp_path, **variables):
            eventually(lambda: reported(server) == expected)
            eventually(lambda: ended(db) == {"sent": len(jobs) - 2, "failed": 2})
    assert row(db, jobs["refused"])["error_code"] == "simulated_refused"
    assert row(db, jobs["unknown"])["error_code"] == "outcome_unknown"
    sent = row(db, jobs["slow"])
    assert (sent["provider_code"], sent["provider_message_id"]) == ("simulator", f"sim-{jobs['slow']}")


def ended(db: psycopg.Connection) -> dict[str, int]:
    return dict(db.execute("SELECT status_code, count(*) FROM public.n_jtd GROUP BY 1").fetchall())


def test_the_web_process_takes_its_receipts_and_the_jobs_follow(
    dsn: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    ends = {
        "delivered": "delivered",
        "read": "read",
        "bounce": "bounced",
        "soft": "sent",
        "complaint": "delivered",
    }
    jobs = {local: insert_jtd(db, recipient_contact=f"{local}@example.com") for local in ends}
    with serving(dsn, tmp_path, receipts="email:simulator", receipts_email_simulator_secrets=SECRET) as (
        _,
        url,
    ):
        given = {
            "receipts_url": f"{url}/webhooks/simulator",
            "receipts_secret": SECRET,
            "receipt_seconds": "0",
        }
        variables = {f"email_simulator_{name}": value for name, value in given.items()}
        with running(dsn, "email:simulator", tmp_path, **variables):
            for local, end in ends.items():
                eventually(lambda local=local, end=end: row(db, jobs[local])["status_code"] == end)  # type: ignore[misc]
            eventually(lambda: suppressed(db) == {("bounce", "bounce@"), ("complaint", "complaint@")})
            eventually(lambda: "receipt" in {step.action for step in history(db, jobs["soft"])})


def suppressed(db: psycopg.Connection) -> set[tuple[str, str]]:
    query = "SELECT kind, replace(recipient, 'example.com', '') FROM public.n_jtd_suppressions"
    return set(db.execute(query).fetchall())


def test_a_provider_that_is_down_is_tried_again(dsn: str, db: psycopg.Connection, tmp_path: Path) -> None:
    jtd_id: UUID = insert_jtd(db, recipient_contact="down@example.com")
    with running(dsn, "email:simulator", tmp_path):
        eventually(lambda: row(db, jtd_id)["retry_count"] == 1)
    assert row(db, jtd_id)["status_code"] == "pending"


def reported(server: ThreadedHttpServer) -> set[tuple[str, str]]:
    data = [request.json["data"] for request in server.server.requests]
    return {(one["id"], one["kind"]) for one in data}
