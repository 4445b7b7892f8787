"""jtd.gate says what a plain model in Python says, over random settings."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.types.json import Jsonb

from tests.jobs import OTHER_TENANT, TENANT, insert_jtd
from tests.worker_calls import no_triggers

CHANNELS = ["email", "sms", "inapp", "pigeon"]
SOURCES = ["payment_received", "user_invite", "unheard_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What the gate looks at in a row."""

    tenant: UUID
    channel: str | None
    event: str
    source: str
    is_live: bool
    expires_in: int | None
    """Seconds from now; None is never."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Switches:
    """What operators and tenants have set."""

    allowed: tuple[str, ...]
    active_channels: frozenset[str]
    paused_channels: frozenset[str]
    bypassing: frozenset[str]
    tenants: dict[tuple[UUID, bool], tuple[bool, dict[str, object]]]
    """(tenant, is_live) -> (is_active, channels_enabled)"""
    sources: dict[tuple[UUID, str, bool], tuple[bool, bool]]
    """(tenant, source, is_live) -> (is_active, is_enabled)"""


def model(job: Job, switches: Switches) -> tuple[str, str | None]:
    """The verdict and its reason, written the slow and plain way."""
    if job.expires_in is not None and job.expires_in <= 0:
        return "expire", "expired"
    if job.channel not in switches.active_channels:
        return "block", "blocked_channel_inactive"
    if job.event != "notification" or job.channel not in switches.allowed:
        return "block", "blocked_channel_not_allowed"
    if job.channel in switches.paused_channels:
        return "defer", "channel_paused"
    if job.source not in switches.bypassing:
        is_active, is_enabled = switches.sources.get((job.tenant, job.source, job.is_live), (False, True))
        if is_active and not is_enabled:
            return "block", "blocked_source_disabled"
        is_active, enabled = switches.tenants.get((job.tenant, job.is_live), (False, {}))
        if is_active and enabled.get(job.channel) is not True:
            return "block", "blocked_channel_disabled"
    return "send", None if job.is_live else "test_mode"


def write(db: psycopg.Connection, job: Job, switches: Switches) -> UUID:
    """Put the settings and the job into the database."""
    for channel in ("email", "sms", "inapp"):
        db.execute(
            "UPDATE public.n_jtd_channels SET is_active = %s, is_paused = %s WHERE code = %s",
            [channel in switches.active_channels, channel in switches.paused_channels, channel],
        )
    db.execute(
        "UPDATE public.n_jtd_event_types SET allowed_channels = %s WHERE code = 'notification'",
        [list(switches.allowed)],
    )
    db.execute(
        "UPDATE public.n_jtd_source_types SET bypasses_gates = code = ANY (%s)", [list(switches.bypassing)]
    )
    for (tenant, is_live), (is_active, enabled) in switches.tenants.items():
        db.execute(
            "INSERT INTO public.n_jtd_tenant_config (tenant_id, is_live, is_active, channels_enabled)"
            " VALUES (%s, %s, %s, %s)",
            [tenant, is_live, is_active, Jsonb(enabled)],
        )
    for (tenant, source, is_live), (is_active, is_enabled) in switches.sources.items():
        db.execute(
            "INSERT INTO public.n_jtd_tenant_source_config"
            " (tenant_id, source_type_code, is_live, is_active, is_enabled) VALUES (%s, %s, %s, %s, %s)",
            [tenant, source, is_live, is_active, is_enabled],
        )
    return insert_jtd(
        db,
        tenant_id=job.tenant,
        channel_code=job.channel,
        event_type_code=job.event,
        source_type_code=job.source,
        is_live=job.is_live,
        expires_at=None if job.expires_in is None else datetime.now(UTC) + timedelta(seconds=job.expires_in),
        status_code="queued",
    )


tenants = st.sampled_from([TENANT, OTHER_TENANT])
channels = st.sampled_from(["email", "sms", "inapp"])
mostly = st.integers(0, 3).map(bool)
jobs = st.builds(
    Job,
    tenant=tenants,
    channel=st.sampled_from(["email"] * 6 + [*CHANNELS, None]),
    event=st.sampled_from(["notification"] * 9 + ["gone"]),
    source=st.sampled_from(SOURCES),
    is_live=mostly,
    expires_in=st.sampled_from([None, None, 3600, -1]),
)
switches = st.builds(
    Switches,
    allowed=st.lists(channels, max_size=3).map(
        lambda some: tuple({"email", *some}) if len(some) < 3 else tuple(some)
    ),
    active_channels=st.frozensets(channels, max_size=1).map(
        lambda off: frozenset({"email", "sms", "inapp"}) - off
    ),
    paused_channels=st.one_of(st.just(frozenset()), st.frozensets(channels, max_size=1)),
    bypassing=st.frozensets(st.sampled_from(["user_invite", "payment_received"])),
    tenants=st.dictionaries(
        st.tuples(tenants, st.booleans()),
        st.tuples(
            mostly,
            st.dictionaries(channels, st.sampled_from([True, True, False, None, "true", 1])),
        ),
        max_size=4,
    ),
    sources=st.dictionaries(
        st.tuples(tenants, st.sampled_from(SOURCES[:2]), st.booleans()), st.tuples(mostly, mostly), max_size=4
    ),
)


@settings(
    max_examples=400,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(job=jobs, switches=switches)
def test_the_gate_agrees_with_a_plain_model(db: psycopg.Connection, job: Job, switches: Switches) -> None:
    with db.transaction(force_rollback=True):
        jtd_id = write(db, job, switches)
        found = db.execute("SELECT id, verdict, reason, until FROM jtd.gate(ARRAY[%s::uuid])", [jtd_id])
        assert found.fetchall() == [(jtd_id, *model(job, switches), None)]


def test_a_job_that_is_not_there_gets_no_verdict(db: psycopg.Connection) -> None:
    assert db.execute("SELECT * FROM jtd.gate(ARRAY[gen_random_uuid()])").fetchall() == []
    assert db.execute("SELECT * FROM jtd.gate('{}')").fetchall() == []


@pytest.mark.parametrize("enabled", ["[]", "true", "null", '"email"'])
def test_switches_that_are_no_object_switch_everything_off(db: psycopg.Connection, enabled: str) -> None:
    jtd_id = insert_jtd(db, source_type_code="payment_received")
    db.execute(
        "INSERT INTO public.n_jtd_tenant_config (tenant_id, channels_enabled) VALUES (%s, %s::jsonb)",
        [TENANT, enabled],
    )
    [verdict] = db.execute("SELECT verdict, reason FROM jtd.gate(ARRAY[%s::uuid])", [jtd_id]).fetchall()
    assert verdict == ("block", "blocked_channel_disabled")


def test_a_row_left_by_disabled_triggers_gets_a_verdict_too(db: psycopg.Connection) -> None:
    with no_triggers(db):
        jtd_id = insert_jtd(db)
    assert db.execute("SELECT verdict FROM jtd.gate(ARRAY[%s::uuid])", [jtd_id]).fetchall() == [("send",)]
