"""Devices: who registers one has it; a push goes to all that its user has; one that is gone is forgotten."""

import json
import signal
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.types.json import Jsonb

from jtd_worker import result as results
from jtd_worker.adapter import UnknownRule
from jtd_worker.fan_out import Joint, best
from jtd_worker.outcome import Failed, Outcome, Release, Retry, Sent, Snooze, Unknown
from jtd_worker.testing.http_server import Request, Step, Steps, ThreadedHttpServer, answer
from tests.daemon import eventually, run_until_idle, running
from tests.jobs import OTHER_TENANT, TENANT, USER, history, insert_jtd, one, places, row
from tests.service_account import account, grant
from tests.subscription import Subscription
from tests.test_web_push import AS_PRIVATE
from tests.worker_calls import Worker, result

OTHER_USER = UUID("20000000-0000-0000-0000-000000000002")
KEYS = Subscription().keys
PUSH: dict[str, Any] = {
    "channel_code": "push",
    "recipient_id": USER,
    "recipient_contact": None,
    "template_key": "user_invite_push_v1",
}


def register(db: psycopg.Connection, token: str, **given: Any) -> UUID:
    """Register a device as a service does."""
    values = {"p_tenant": TENANT, "p_user": USER, "p_family": "fcm", "p_token": token, **given}
    values = {name: Jsonb(value) if isinstance(value, dict) else value for name, value in values.items()}
    names = ", ".join(f"{name} => %({name})s" for name in values)
    found = db.execute(f"SELECT jtd.register_device({names})".encode(), values).fetchone()
    assert found is not None
    return UUID(str(found[0]))


def tokens(db: psycopg.Connection) -> set[str]:
    return {found[0] for found in db.execute("SELECT token FROM n_push_devices").fetchall()}


def devices(db: psycopg.Connection, *jtds: UUID) -> list[tuple[UUID, int, str, str]]:
    rows = db.execute("SELECT jtd_id, priority, family, token FROM jtd.devices_v1(%s)", [list(jtds)])
    return rows.fetchall()


# Registering


def test_a_device_is_registered_once_and_again_without_a_copy(db: psycopg.Connection) -> None:
    device = register(db, " a ", p_platform="android", p_label="Phone")
    seen = one(db, "SELECT last_registered_at FROM n_push_devices")
    assert register(db, "a") == device
    found = db.execute(
        "SELECT user_id, family, token, keys, platform, label, last_registered_at > %s FROM n_push_devices",
        [seen],
    ).fetchall()
    assert found == [(USER, "fcm", "a", {}, "android", "Phone", True)]


def test_two_registrations_never_have_the_same_moment(db: psycopg.Connection) -> None:
    register(db, "a")
    db.execute("UPDATE n_push_devices SET last_registered_at = '2200-01-01Z'")
    register(db, "a")
    assert one(db, "SELECT last_registered_at > '2200-01-01Z' FROM n_push_devices")


def test_a_device_that_another_user_signs_in_on_is_his_alone(db: psycopg.Connection) -> None:
    jtd = insert_jtd(db, **PUSH)
    register(db, "a")
    assert len(devices(db, jtd)) == 1
    register(db, "a", p_user=OTHER_USER)
    assert devices(db, jtd) == []
    register(db, "a", p_tenant=OTHER_TENANT)
    assert devices(db, jtd) == []


def test_a_device_is_forgotten_by_its_tenant_alone(db: psycopg.Connection) -> None:
    register(db, "a")
    assert one(db, "SELECT jtd.forget_device(%s, 'a')", OTHER_TENANT) is False
    assert one(db, "SELECT jtd.forget_device(%s, ' a')", TENANT) is True
    assert one(db, "SELECT jtd.forget_device(%s, 'a')", TENANT) is False


ENDPOINT = "https://push.example/wpush/v2/x"


@pytest.mark.parametrize(
    "given",
    [
        {"p_tenant": None},
        {"p_user": None},
        {"p_family": None},
        {"p_family": "apns"},
        {"p_token": None},
        {"p_token": ""},
        {"p_token": "a b"},
        {"p_token": "ä"},
        {"p_token": "a" * 2001},
        {"p_family": "webpush", "p_token": ENDPOINT},
        {"p_family": "webpush", "p_token": ENDPOINT, "p_keys": {"p256dh": KEYS["p256dh"]}},
        {"p_family": "webpush", "p_token": ENDPOINT, "p_keys": {**KEYS, "auth": "short"}},
        {"p_family": "webpush", "p_token": ENDPOINT, "p_keys": {**KEYS, "p256dh": KEYS["auth"]}},
        {"p_family": "webpush", "p_token": "http://push.example/x", "p_keys": KEYS},
        {"p_family": "webpush", "p_token": "https://a@push.example/x", "p_keys": KEYS},
        {"p_family": "webpush", "p_token": "http://localhost.evil.test/x", "p_keys": KEYS},
        {"p_family": "webpush", "p_token": "token", "p_keys": KEYS},
    ],
    ids=lambda given: ", ".join(f"{name}={str(value)[:20]}" for name, value in given.items()),
)
def test_what_no_message_could_be_sent_to_is_refused(db: psycopg.Connection, given: dict[str, Any]) -> None:
    with pytest.raises(psycopg.Error) as raised:
        register(db, "a", **given)
    assert raised.value.sqlstate == "JT070"
    assert tokens(db) == set()


def test_the_longest_token_fits(db: psycopg.Connection) -> None:
    register(db, "".join(f"{uuid4()}" for _ in range(60))[:2000])


def test_of_a_subscription_its_keys_are_kept_and_nothing_else(db: psycopg.Connection) -> None:
    register(db, ENDPOINT, p_family="webpush", p_keys={**KEYS, "more": "x" * 1000})
    assert one(db, "SELECT keys FROM n_push_devices") == KEYS


def test_only_a_service_may_register_and_only_a_worker_may_look(db: psycopg.Connection) -> None:
    def may(role: str, function: str) -> bool:
        return bool(one(db, "SELECT has_function_privilege(%s, %s, 'EXECUTE')", role, function))

    registering = "jtd.register_device(uuid,uuid,text,text,jsonb,text,text)"
    assert may("jtd_producer", registering)
    assert may("jtd_producer", "jtd.forget_device(uuid,text)")
    assert may("jtd_worker", "jtd.devices_v1(uuid[])")
    assert not may("jtd_producer", "jtd.devices_v1(uuid[])")
    assert not may("jtd_worker", registering)
    assert not one(db, "SELECT has_table_privilege('jtd_producer', 'n_push_devices', 'SELECT')")


# Looking them up


def test_each_job_has_the_devices_of_its_user_in_its_tenant(db: psycopg.Connection) -> None:
    register(db, "a")
    register(db, ENDPOINT, p_family="webpush", p_keys=KEYS)
    register(db, "b", p_user=OTHER_USER)
    register(db, "c", p_tenant=OTHER_TENANT)
    mine = insert_jtd(db, **PUSH, priority=7)
    named = insert_jtd(
        db, **{**PUSH, "recipient_id": None}, payload={"recipient_data": {"user_id": str(OTHER_USER).upper()}}
    )
    by_contact = insert_jtd(db, **{**PUSH, "recipient_id": None, "recipient_contact": str(OTHER_USER)})
    bare = insert_jtd(db, **{**PUSH, "recipient_id": None, "recipient_contact": "b"})
    assert sorted(devices(db, mine, named, by_contact, bare)) == sorted(
        [
            (mine, 7, "webpush", ENDPOINT),
            (mine, 7, "fcm", "a"),
            (named, 5, "fcm", "b"),
            (by_contact, 5, "fcm", "b"),
        ]
    )


def test_of_very_many_devices_the_last_registered_count(db: psycopg.Connection) -> None:
    for number in range(52):
        register(db, f"t{number}")
    jtd = insert_jtd(db, **PUSH)
    assert [found[3] for found in devices(db, jtd)] == [f"t{number}" for number in range(51, 1, -1)]


# Settling


@pytest.fixture
def worker(db: psycopg.Connection) -> Worker:
    return Worker(db)


def seen(db: psycopg.Connection, token: str) -> dict[str, str]:
    """Return a device as a worker tells that it is gone."""
    found = db.execute(
        "SELECT id, last_registered_at FROM n_push_devices WHERE token = %s", [token]
    ).fetchone()
    assert found is not None
    return {"id": str(found[0]), "registered_at": found[1].isoformat()}


@pytest.mark.parametrize("outcome", ["sent", "failed", "retry"])
def test_a_device_that_is_gone_is_deleted_with_the_result(
    db: psycopg.Connection, worker: Worker, outcome: str
) -> None:
    register(db, "a")
    register(db, "b")
    insert_jtd(db, **PUSH)
    job = worker.claim_one("jtd_push")
    assert worker.settle(result(job, outcome, gone_devices=[seen(db, "a")])) == ["applied"]
    assert tokens(db) == {"b"}


def test_a_device_that_was_registered_again_meanwhile_stays(db: psycopg.Connection, worker: Worker) -> None:
    register(db, "a")
    insert_jtd(db, **PUSH)
    job = worker.claim_one("jtd_push")
    gone = seen(db, "a")
    register(db, "a")
    worker.settle(result(job, "failed", gone_devices=[gone]))
    assert tokens(db) == {"a"}


def test_a_device_that_is_just_being_registered_delays_no_result_and_stays(
    dsn: str, db: psycopg.Connection, worker: Worker
) -> None:
    register(db, "a")
    insert_jtd(db, **PUSH)
    job = worker.claim_one("jtd_push")
    gone = seen(db, "a")
    with psycopg.connect(dsn) as other:
        register(other, "a")
        assert worker.settle(result(job, "sent", gone_devices=[gone])) == ["applied"]
        other.commit()
    assert tokens(db) == {"a"}


def test_a_result_that_names_no_device_as_it_should_stops_no_other(
    db: psycopg.Connection, worker: Worker
) -> None:
    register(db, "a")
    insert_jtd(db, **PUSH)
    insert_jtd(db, **PUSH)
    first, second = worker.claim("jtd_push")
    answers = worker.settle(
        result(first, "sent", gone_devices=[{"id": "x", "registered_at": "y"}]),
        result(second, "sent", gone_devices=[seen(db, "a"), seen(db, "a")]),
    )
    assert answers == ["applied", "applied"]
    assert tokens(db) == set()
    assert row(db, first.id)["status_code"] == row(db, second.id)["status_code"] == "sent"


# Parts


SENT = Sent(result=results.Sent(response={"devices": {"sent": 1, "gone": 0, "failed": 0}}))
UNKNOWN = Unknown(code="answer_lost", reason="x", rule=UnknownRule.RESEND)
RELEASE = Release()
SNOOZE = Snooze(code="provider_open", reason="x", delay=timedelta(seconds=5))
RETRY = Retry(code="http_500", reason="x", gone_devices=(UUID(int=1),))
FAILED = Failed(
    code="all_devices_gone",
    reason="x",
    response={"devices": {"sent": 0, "gone": 2, "failed": 0}},
    gone_devices=(UUID(int=2), UUID(int=3)),
)


def test_the_best_part_is_what_becomes_of_the_whole() -> None:
    order: list[Outcome] = [SENT, UNKNOWN, RELEASE, SNOOZE, RETRY, FAILED]
    for place, better in enumerate(order):
        for worse in order[place:]:
            for ends in ([(better, "a"), (worse, "b")], [(worse, "b"), (better, "a")]):
                ended, provider = best(ends, 4)
                assert type(ended) is type(better)
                assert provider == "a" or worse is better


def test_what_all_parts_say_of_devices_is_told() -> None:
    ended, _ = best([(FAILED, "fcm"), (SENT, "webpush"), (RETRY, "x"), (RELEASE, None)], 5)
    assert isinstance(ended, Sent)
    assert ended.result.response["devices"] == {"sent": 1, "gone": 3, "failed": 1}
    assert sorted(ended.result.gone_devices) == [UUID(int=1), UUID(int=2), UUID(int=3)]


def test_a_joint_settles_once_when_all_parts_have_ended() -> None:
    settled: list[tuple[Outcome, str | None]] = []
    joint = Joint(3, 4, lambda ended, provider: settled.append((ended, provider)))
    joint.settle(SNOOZE, "a")
    joint.settle(RELEASE, None)
    assert settled == []
    joint.settle(UNKNOWN, "c")
    assert settled == [(UNKNOWN, "c")]


# The real daemon


UNREGISTERED = {
    "error": {
        "code": 404,
        "status": "NOT_FOUND",
        "details": [
            {"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": "UNREGISTERED"}
        ],
    }
}


def fcm(request: Request) -> Steps:
    """Know no device whose token begins with `gone`; hang for `slow`."""
    token = request.json["message"]["token"]
    if token.startswith("gone"):
        return answer(404, json.dumps(UNREGISTERED).encode())
    if token.startswith("busy"):
        return answer(503)
    if token.startswith("hang"):
        return [Step.HANG]
    if token.startswith("wait"):
        return [Step.WAIT, *answer(404, json.dumps(UNREGISTERED).encode())]
    return answer(200, b'{"name": "projects/acme-app/messages/1"}')


def browser(request: Request) -> Steps:
    return answer(410 if "gone" in request.target else 201)


class Services:
    """FCM with its token server, and a browser's push service."""

    def __init__(self) -> None:
        self.tokens, self.fcm, self.browser = (
            ThreadedHttpServer(grant()),
            ThreadedHttpServer(fcm),
            ThreadedHttpServer(browser),
        )

    @property
    def settings(self) -> dict[str, str]:
        return {
            "push_fcm_base_url": self.fcm.url.removesuffix("/hook"),
            "push_fcm_service_account": account(self.tokens.url),
            "push_webpush_private_key": AS_PRIVATE,
            "push_webpush_subject": "mailto:ops@acme.example",
            "push_webpush_hosts": "localhost",
        }

    @property
    def fcm_settings(self) -> dict[str, str]:
        return {name: value for name, value in self.settings.items() if "fcm" in name}

    @property
    def asked(self) -> Counter[str]:
        """How often each device was written to, by token or path."""
        return Counter(
            [request.json["message"]["token"] for request in self.fcm.server.requests]
            + [request.target for request in self.browser.server.requests]
        )

    def endpoint(self, name: str) -> str:
        return self.browser.url.removesuffix("/hook") + f"/{name}"


@pytest.fixture
def services() -> Iterator[Services]:
    made = Services()
    with made.tokens, made.fcm, made.browser:
        yield made


def subscribe(db: psycopg.Connection, endpoint: str) -> UUID:
    return register(db, endpoint, p_family="webpush", p_keys=KEYS)


def test_a_push_reaches_all_devices_and_the_one_that_is_gone_is_forgotten(
    dsn: str, db: psycopg.Connection, tmp_path: Path, services: Services
) -> None:
    register(db, "gone-1")
    register(db, "well-1")
    register(db, "well-2")
    jtd = insert_jtd(db, **PUSH)
    daemon = run_until_idle(dsn, "push:fcm", tmp_path, **services.fcm_settings)
    found = row(db, jtd)
    assert (found["status_code"], found["provider_code"]) == ("sent", "fcm")
    assert found["provider_response"] == {"status": 200, "devices": {"sent": 2, "gone": 1, "failed": 0}}
    assert tokens(db) == {"well-1", "well-2"}
    assert services.asked == {"gone-1": 1, "well-1": 1, "well-2": 1}
    assert not [word for word in ("well-1", "gone-1", "ya29", "PRIVATE") if word in daemon.text]
    places(db)


def test_a_device_registered_again_while_it_was_sent_to_stays(
    dsn: str, db: psycopg.Connection, tmp_path: Path, services: Services
) -> None:
    register(db, "wait-1")
    jtd = insert_jtd(db, **PUSH)
    with running(dsn, "push:fcm", tmp_path, **services.fcm_settings):
        services.fcm.wait_until(lambda server: len(server.requests) == 1)
        register(db, "wait-1")
        services.fcm.release()
        eventually(lambda: row(db, jtd)["status_code"] == "failed")
    assert row(db, jtd)["error_code"] == "all_devices_gone"
    assert tokens(db) == {"wait-1"}


def test_phones_and_browsers_of_a_user_all_get_it(
    dsn: str, db: psycopg.Connection, tmp_path: Path, services: Services
) -> None:
    register(db, "well-1")
    register(db, "busy-1")
    subscribe(db, services.endpoint("one"))
    subscribe(db, services.endpoint("gone"))
    both = insert_jtd(db, **PUSH)
    register(db, "well-2", p_user=OTHER_USER)
    phone = insert_jtd(db, **{**PUSH, "recipient_id": OTHER_USER})
    run_until_idle(dsn, "push:fcm,push:webpush", tmp_path, **services.settings)
    assert [row(db, jtd)["status_code"] for jtd in (both, phone)] == ["sent", "sent"]
    assert row(db, both)["provider_response"]["devices"] == {"sent": 2, "gone": 1, "failed": 1}
    assert services.asked == {"well-1": 1, "busy-1": 1, "/one": 1, "/gone": 1, "well-2": 1}
    assert tokens(db) == {"well-1", "busy-1", services.endpoint("one"), "well-2"}
    assert sum(step.to_status == "sent" for step in history(db, both)) == 1
    places(db)


def test_a_retry_goes_to_no_device_that_has_it(
    dsn: str, db: psycopg.Connection, tmp_path: Path, services: Services
) -> None:
    register(db, "busy-1")
    subscribe(db, services.endpoint("one"))
    jtd = insert_jtd(db, **PUSH)
    run_until_idle(dsn, "push:fcm,push:webpush", tmp_path, **services.settings)
    found = row(db, jtd)
    assert (found["status_code"], found["provider_code"], found["retry_count"]) == ("sent", "webpush", 0)
    assert services.asked == {"busy-1": 1, "/one": 1}


def test_a_push_that_is_cut_off_when_one_device_has_it_is_not_sent_there_again(
    dsn: str, db: psycopg.Connection, tmp_path: Path, services: Services
) -> None:
    register(db, "well-1")
    register(db, "hang-1")
    jtd = insert_jtd(db, **PUSH)
    with running(dsn, "push:fcm", tmp_path, **services.fcm_settings, drain_seconds="2") as daemon:
        eventually(lambda: services.asked == {"well-1": 1, "hang-1": 1})
        daemon.signal(signal.SIGTERM)
        assert daemon.wait() == 0, daemon.text
    found = row(db, jtd)
    assert (found["status_code"], found["retry_count"]) == ("sent", 0)
    assert found["provider_response"]["devices"] == {"sent": 1, "gone": 0, "failed": 1}


def test_a_provider_that_is_left_alone_keeps_the_others_from_nothing(
    dsn: str, db: psycopg.Connection, tmp_path: Path, services: Services
) -> None:
    register(db, "well-1")
    subscribe(db, services.endpoint("one"))
    one(db, "SELECT jtd.trip_v1('push', 'webpush', 'http_403', 600) IS NOT NULL")
    jtd = insert_jtd(db, **PUSH)
    run_until_idle(dsn, "push:webpush,push:fcm", tmp_path, **services.settings)
    found = row(db, jtd)
    assert (found["status_code"], found["provider_code"]) == ("sent", "fcm")
    assert found["provider_response"]["devices"] == {"sent": 1, "gone": 0, "failed": 1}
    assert services.asked == {"well-1": 1}


def test_when_nobody_has_it_all_are_tried_again(
    dsn: str, db: psycopg.Connection, tmp_path: Path, services: Services
) -> None:
    register(db, "busy-1")
    subscribe(db, services.endpoint("gone"))
    jtd = insert_jtd(db, **PUSH)
    run_until_idle(dsn, "push:fcm,push:webpush", tmp_path, **services.settings)
    found = row(db, jtd)
    assert (found["status_code"], found["retry_count"], found["provider_code"]) == ("pending", 1, "fcm")
    assert tokens(db) == {"busy-1"}


@pytest.mark.parametrize(
    ("recipient", "code"),
    [
        ({"recipient_id": OTHER_USER}, "no_device"),
        ({"recipient_id": None, "recipient_contact": "well-1"}, "recipient_invalid"),
    ],
    ids=["a user without devices", "a bare token"],
)
def test_a_push_to_nobody_fails_with_a_reason(
    dsn: str, db: psycopg.Connection, tmp_path: Path, services: Services, recipient: dict[str, Any], code: str
) -> None:
    register(db, "well-1")
    jtd = insert_jtd(db, **{**PUSH, **recipient})
    run_until_idle(dsn, "push:fcm", tmp_path, **services.fcm_settings)
    found = row(db, jtd)
    assert (found["status_code"], found["error_code"]) == ("failed", code)
    assert found["completed_at"] is not None
    assert "device" in found["error_message"]
    assert services.asked == {}
    places(db)


def test_a_provider_without_devices_stands_in_for_users_who_have_none(
    dsn: str, db: psycopg.Connection, tmp_path: Path, services: Services
) -> None:
    register(db, "well-1")
    with_device = insert_jtd(db, **PUSH)
    without = insert_jtd(db, **{**PUSH, "recipient_id": OTHER_USER})
    run_until_idle(dsn, "push:fcm,push:noop", tmp_path, **services.fcm_settings)
    assert row(db, with_device)["provider_code"] == "fcm"
    assert row(db, without)["provider_code"] == "noop"


def test_a_test_row_goes_to_no_device(
    dsn: str, db: psycopg.Connection, tmp_path: Path, services: Services
) -> None:
    register(db, "well-1")
    jtd = insert_jtd(db, **PUSH, is_live=False)
    run_until_idle(dsn, "push:fcm", tmp_path, **services.fcm_settings)
    assert row(db, jtd)["provider_code"] == "outbox"
    assert services.asked == {}
