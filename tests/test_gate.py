"""jtd.gate says what a plain model in Python says, over random settings, moments and time zones."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from psycopg.types.json import Jsonb

from tests.jobs import OTHER_TENANT, TENANT, USER, insert_jtd, one
from tests.worker_calls import no_triggers

CHANNELS = ["email", "sms", "inapp", "pigeon"]
SOURCES = ["payment_received", "user_invite", "unheard_of"]
ZONES = [
    "UTC",
    "Asia/Kolkata",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Pacific/Auckland",
]
CONTACTS = ["john@example.com", "Jane@Example.org", "+1 415 555 0101"]
SPREAD = timedelta(minutes=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What the gate looks at in a row."""

    tenant: UUID
    channel: str | None
    event: str
    source: str
    is_live: bool
    expires_in: int | None
    """Seconds from the moment asked about; None is never."""
    priority: int
    contact: str
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """A row of n_jtd_tenant_config."""

    is_active: bool
    channels: dict[str, object]
    zone: str
    quiet: tuple[time, time] | None
    exempt: frozenset[str]
    action: str
    test_recipients: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A row of n_jtd_tenant_source_config."""

    is_active: bool
    is_enabled: bool
    channels: tuple[str, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Switches:
    """What operators, tenants and recipients have set."""

    allowed: tuple[str, ...]
    active_channels: frozenset[str]
    inactive: frozenset[str]
    """Event types and source types that are switched off."""
    paused: frozenset[str | UUID]
    """Channels, tenants and source types."""
    bypassing: frozenset[str]
    tenants: dict[tuple[UUID, bool], Tenant]
    sources: dict[tuple[UUID, str, bool], Source]
    suppressed: frozenset[tuple[UUID, str, str | None, str | None, str]]
    """Tenant, canonical recipient, channel, source type, kind."""
    holds: dict[tuple[UUID, bool, str, str], int]
    """(tenant, is_live, channel or empty, reason) -> seconds from the moment asked about."""


def is_quiet(local: time, start: time, end: time) -> bool:
    if start < end:
        return start <= local < end
    return start != end and (local >= start or local < end)


def quiet_until(at: datetime, zone: str, start: time, end: time) -> datetime | None:
    """Walk the wall clock minute by minute."""
    here = ZoneInfo(zone)
    if not is_quiet(at.astimezone(here).time(), start, end):
        return None
    moment = at.astimezone(UTC).replace(second=0, microsecond=0)
    while True:
        moment += timedelta(minutes=1)
        if not is_quiet(moment.astimezone(here).time(), start, end):
            return moment


def spread(jtd_id: UUID, start: time, end: time) -> timedelta:
    open_for = (
        timedelta(hours=start.hour - end.hour, minutes=start.minute - end.minute) % timedelta(days=1)
    ) / 2
    return min(SPREAD, open_for) * (int(jtd_id.hex[-4:], 16) / 65536)


def canonical(contact: str) -> str:
    return contact.lower() if "@" in contact else "".join(filter(str.isdigit, contact))


def suppression(job: Job, switches: Switches) -> str | None:
    found = [
        (kind, source, channel)
        for tenant, recipient, channel, source, kind in switches.suppressed
        if tenant == job.tenant
        and recipient in {canonical(job.contact), str(USER)}
        and channel in {None, job.channel}
        and source in {None, job.source}
    ]
    if any(kind in {"bounce", "complaint"} for kind, _, _ in found):
        return "hard"
    for is_closest in (
        lambda s, c: s and c,
        lambda s, c: s and not c,
        lambda s, c: c and not s,
        lambda s, c: True,
    ):
        kinds = {kind for kind, source, channel in found if is_closest(source, channel)}
        if kinds:
            return "opt_out" if "opt_out" in kinds else None
    return None


def model(
    job: Job, switches: Switches, jtd_id: UUID, at: datetime
) -> tuple[str, str | None, datetime | None]:
    """The verdict, its reason and its end, written the slow and plain way."""
    stop = _stop(job, switches)
    if stop is not None:
        return stop, _reason(job, switches), None
    tenant = switches.tenants.get((job.tenant, job.is_live))
    if tenant is not None and not tenant.is_active:
        tenant = None
    is_identity = job.source in switches.bypassing
    if tenant is not None and tenant.quiet is not None:
        is_exempt = ("urgent" in tenant.exempt and job.priority >= 9) or (
            "identity" in tenant.exempt and is_identity
        )
        until = quiet_until(at, tenant.zone, *tenant.quiet)
        if until is not None and not is_exempt:
            return "defer", "quiet_hours", until + spread(jtd_id, *tenant.quiet)
    held = [
        (seconds, reason)
        for (whose, is_live, channel, reason), seconds in switches.holds.items()
        if (whose, is_live) == (job.tenant, job.is_live)
        and channel in {"", job.channel}
        and seconds > 0
        and (job.attempt == 0 or reason == "tenant_rate")
    ]
    if held and not is_identity and tenant is not None:
        seconds, reason = min(held, key=lambda h: (-h[0], h[1]))
        if tenant.action == "block" and reason != "tenant_rate":
            return "block", f"blocked_{reason}", None
        return "defer", reason, at + timedelta(seconds=seconds)
    if job.is_live:
        return "send", None, None
    listed = tenant.test_recipients if tenant is not None else ()
    to = str(USER) if job.channel == "inapp" else canonical(job.contact)
    reaches = to in listed or "@" + to.partition("@")[2] in listed
    return "send", None if reaches else "test_mode", None


def _stop(job: Job, switches: Switches) -> str | None:
    reason = _reason(job, switches)
    if reason is None:
        return None
    return "expire" if reason == "expired" else "block" if reason.startswith("blocked_") else "defer"


def _reason(job: Job, switches: Switches) -> str | None:  # noqa: PLR0912 - the rules, in their order
    if job.expires_in is not None and job.expires_in <= 0:
        return "expired"
    if job.channel not in switches.active_channels:
        return "blocked_channel_inactive"
    if job.event != "notification" or job.channel not in switches.allowed:
        return "blocked_channel_not_allowed"
    if job.event in switches.inactive:
        return "blocked_event_type_inactive"
    if job.source in switches.inactive and job.source != "unheard_of":
        return "blocked_source_inactive"
    if job.channel in switches.paused:
        return "channel_paused"
    if job.tenant in switches.paused:
        return "tenant_paused"
    if job.source in switches.paused:
        return "source_paused"
    kind = suppression(job, switches)
    if kind == "hard":
        return "blocked_suppressed"
    if job.source in switches.bypassing:
        return None
    source = switches.sources.get((job.tenant, job.source, job.is_live))
    if source is not None and source.is_active:
        if not source.is_enabled:
            return "blocked_source_disabled"
        if source.channels is not None and job.channel not in source.channels:
            return "blocked_channel_disabled"
    tenant = switches.tenants.get((job.tenant, job.is_live))
    if tenant is not None and tenant.is_active and tenant.channels.get(str(job.channel)) is not True:
        return "blocked_channel_disabled"
    return "blocked_suppressed" if kind else None


def write(db: psycopg.Connection, job: Job, switches: Switches, at: datetime) -> UUID:
    """Put the settings and the job into the database."""
    for channel in ("email", "sms", "inapp"):
        db.execute(
            "UPDATE public.n_jtd_channels SET is_active = %s, is_paused = %s WHERE code = %s",
            [channel in switches.active_channels, channel in switches.paused, channel],
        )
    db.execute(
        "UPDATE public.n_jtd_event_types SET allowed_channels = %s, is_active = %s"
        " WHERE code = 'notification'",
        [list(switches.allowed), "notification" not in switches.inactive],
    )
    db.execute(
        "UPDATE public.n_jtd_source_types SET bypasses_gates = code = ANY (%s), is_active = code <> ALL (%s)",
        [list(switches.bypassing), list(switches.inactive)],
    )
    for paused in switches.paused:
        scope = "tenant" if isinstance(paused, UUID) else "source_type"
        db.execute("INSERT INTO jtd.pauses (scope, code) VALUES (%s, %s)", [scope, str(paused)])
    for (tenant, is_live), setting in switches.tenants.items():
        start, end = setting.quiet or (None, None)
        db.execute(
            "INSERT INTO public.n_jtd_tenant_config (tenant_id, is_live, is_active, channels_enabled,"
            " timezone, quiet_hours_start, quiet_hours_end, quiet_hours_exempt, limit_action,"
            " test_recipients)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            [tenant, is_live, setting.is_active, Jsonb(setting.channels), setting.zone, start, end,
             list(setting.exempt), setting.action, list(setting.test_recipients)],
        )  # fmt: skip
    for (tenant, source, is_live), own in switches.sources.items():
        db.execute(
            "INSERT INTO public.n_jtd_tenant_source_config"
            " (tenant_id, source_type_code, is_live, is_active, is_enabled, channels_enabled)"
            " VALUES (%s, %s, %s, %s, %s, %s)",
            [
                tenant,
                source,
                is_live,
                own.is_active,
                own.is_enabled,
                None if own.channels is None else list(own.channels),
            ],
        )
    for tenant, recipient, channel, source, kind in switches.suppressed:
        db.execute(
            "INSERT INTO public.n_jtd_suppressions"
            " (tenant_id, recipient, channel_code, source_type_code, kind) VALUES (%s, %s, %s, %s, %s)",
            [tenant, recipient, channel, source, kind],
        )
    for (tenant, is_live, channel, reason), seconds in switches.holds.items():
        db.execute(
            "INSERT INTO jtd.holds (tenant_id, is_live, channel_code, reason, until, limits)"
            " SELECT %s, %s, %s, %s, %s, coalesce((SELECT jtd.limits_of(t) FROM n_jtd_tenant_config AS t"
            " WHERE t.tenant_id = %s AND t.is_live = %s), '')",
            [tenant, is_live, channel, reason, at + timedelta(seconds=seconds), tenant, is_live],
        )
    return insert_jtd(
        db,
        tenant_id=job.tenant,
        channel_code=job.channel,
        event_type_code=job.event,
        source_type_code=job.source,
        is_live=job.is_live,
        expires_at=None if job.expires_in is None else at + timedelta(seconds=job.expires_in),
        priority=job.priority,
        recipient_contact=job.contact,
        recipient_id=USER,
        attempt=job.attempt,
        status_code="queued",
    )


tenants = st.sampled_from([TENANT, OTHER_TENANT])
channels = st.sampled_from(["email", "sms", "inapp"])
mostly = st.integers(0, 3).map(bool)
clock = st.times().map(lambda t: t.replace(second=0, microsecond=0, minute=t.minute - t.minute % 5))


def rarely(usual: object, *others: object) -> st.SearchStrategy[Any]:
    """Draw `usual` most of the time, so that what comes later in the gate is reached, too."""
    return st.integers(0, 15 * len(others)).map(lambda n: others[n - 1] if 0 < n <= len(others) else usual)


jobs = st.builds(
    Job,
    tenant=tenants,
    channel=st.one_of(st.just("email"), st.just("email"), rarely("email", *CHANNELS, None)),
    event=rarely("notification", "gone"),
    source=st.sampled_from(SOURCES),
    is_live=mostly,
    expires_in=rarely(None, 3600, -1),
    priority=st.sampled_from([5, 9]),
    contact=st.sampled_from(CONTACTS),
    attempt=st.sampled_from([0, 0, 1]),
)
settings_of_tenants = st.builds(
    Tenant,
    is_active=mostly,
    channels=st.one_of(
        st.just(dict.fromkeys(CHANNELS, True)),
        st.just(dict.fromkeys(CHANNELS, True)),
        st.dictionaries(channels, st.sampled_from([True, True, False, None, "true", 1])),
    ),
    zone=st.sampled_from(ZONES),
    quiet=st.one_of(st.none(), st.tuples(clock, clock), st.just((time(0, 5), time(0)))),
    exempt=st.frozensets(st.sampled_from(["urgent", "identity"])),
    action=st.sampled_from(["defer", "block"]),
    test_recipients=st.lists(
        st.sampled_from([*map(canonical, CONTACTS), "@example.com", str(USER)]), max_size=2
    ).map(tuple),
)
settings_of_sources = st.builds(
    Source,
    is_active=mostly,
    is_enabled=mostly,
    channels=st.one_of(st.none(), st.none(), st.lists(channels, max_size=2).map(tuple)),
)
switches = st.builds(
    Switches,
    allowed=rarely(("email", "sms", "inapp"), (), ("sms",), ("email", "inapp")),
    active_channels=rarely(frozenset({"email", "sms", "inapp"}), frozenset(), frozenset({"sms", "inapp"})),
    inactive=rarely(frozenset(), frozenset({"notification"}), *(frozenset({source}) for source in SOURCES)),
    paused=rarely(
        frozenset(),
        *(frozenset({what}) for what in ("email", TENANT, OTHER_TENANT, *SOURCES)),
    ),
    bypassing=st.frozensets(st.sampled_from(["user_invite", "payment_received"])),
    tenants=st.dictionaries(st.tuples(tenants, st.booleans()), settings_of_tenants, max_size=4),
    sources=st.dictionaries(
        st.tuples(tenants, st.sampled_from(SOURCES[:2]), st.booleans()),
        settings_of_sources,
        max_size=4,
    ),
    suppressed=st.frozensets(
        st.tuples(
            tenants,
            st.sampled_from([*map(canonical, CONTACTS), str(USER)]),
            st.one_of(st.none(), channels),
            st.one_of(st.none(), st.sampled_from(SOURCES)),
            st.sampled_from(["opt_out", "opt_out", "opt_in", "opt_in", "bounce", "complaint"]),
        ),
        max_size=4,
    ),
    holds=st.dictionaries(
        st.tuples(
            tenants,
            st.booleans(),
            st.sampled_from(["", "", "email"]),
            st.sampled_from(["daily_limit", "monthly_limit", "tenant_rate"]),
        ),
        st.sampled_from([-1, 60, 3600]),
        max_size=2,
    ),
)


@st.composite
def cases(draw: st.DrawFn) -> tuple[Job, Switches]:
    """Draw a job, and settings of which most are those of its own tenant and source."""
    job, drawn = draw(jobs), draw(switches)
    whose = (job.tenant, job.is_live)
    if draw(mostly):
        drawn.tenants[whose] = draw(settings_of_tenants)
    if draw(st.booleans()):
        drawn.sources[job.tenant, job.source, job.is_live] = draw(settings_of_sources)
    if draw(st.booleans()):
        drawn.holds[(*whose, "", draw(st.sampled_from(["daily_limit", "monthly_limit"])))] = 60
    return job, drawn


moments = st.one_of(
    st.datetimes(datetime(2024, 1, 1), datetime(2026, 12, 31), timezones=st.just(UTC)),
    # around the changes of the clocks of the zones above, of which one is half an hour
    st.builds(
        lambda day, second: datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(seconds=second),
        st.sampled_from(
            [date(2024, 3, 31), date(2024, 10, 27), date(2024, 3, 10), date(2024, 11, 3), date(2024, 4, 6),
             date(2024, 10, 5), date(2024, 9, 28)]
        ),
        st.integers(0, 86_399),
    ),
)  # fmt: skip


@settings(
    max_examples=500,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(case=cases(), at=moments)
def test_the_gate_agrees_with_a_plain_model(
    db: psycopg.Connection, case: tuple[Job, Switches], at: datetime
) -> None:
    job, switches = case
    with db.transaction(force_rollback=True):
        jtd_id = write(db, job, switches, at)
        found = db.execute(
            "SELECT id, verdict, reason, until FROM jtd.gate(ARRAY[%s::uuid], %s)", [jtd_id, at]
        ).fetchall()
        verdict, reason, until = model(job, switches, jtd_id, at)
        assert [row[:3] for row in found] == [(jtd_id, verdict, reason)]
        if until is None:
            assert found[0][3] is None
        else:
            assert abs(found[0][3] - until) < timedelta(milliseconds=1)


@settings(max_examples=3000, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=moments, zone=st.sampled_from(ZONES), start=clock, end=clock)
@example(datetime(2024, 3, 31, 0, 30, tzinfo=UTC), "Europe/Berlin", time(22), time(2, 30))
@example(datetime(2024, 10, 27, 0, 10, tzinfo=UTC), "Europe/Berlin", time(22), time(2, 30))
@example(datetime(2024, 10, 27, 1, 10, tzinfo=UTC), "Europe/Berlin", time(22), time(2, 30))
@example(datetime(2024, 10, 27, 0, 5, tzinfo=UTC), "Europe/Berlin", time(2, 5), time(0))
@example(datetime(2024, 3, 31, 0, 0, tzinfo=UTC), "Europe/Berlin", time(2, 5), time(2))
def test_quiet_hours_end_when_the_clock_on_the_wall_says_so(
    db: psycopg.Connection, at: datetime, zone: str, start: time, end: time
) -> None:
    assert one(db, "SELECT jtd.quiet_until(%s, %s, %s, %s)", at, zone, start, end) == quiet_until(
        at, zone, start, end
    )


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
