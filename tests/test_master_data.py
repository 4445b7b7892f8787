"""The seed: what is in it is what the data model says, and running it again harms nothing."""

import psycopg
import pytest

from jtd_worker.migrations import sql_directory
from tests.jobs import TENANT, one

SEED = sql_directory() / "002_seed_jtd_master_data.sql"
MASTERS = (
    "n_system_actors",
    "n_jtd_event_types",
    "n_jtd_channels",
    "n_jtd_statuses",
    "n_jtd_status_flows",
    "n_jtd_source_types",
    "n_jtd_templates",
)
MESSAGES = {"notification", "reminder", "payment", "document"}
MESSAGE_FLOW = """
    created>pending* created>scheduled* scheduled>pending* pending>queued* queued>executing* executing>sent*
    executing>failed* queued>failed* pending>failed* sent>delivered* sent>read* delivered>read* sent>failed*
    sent>bounced* delivered>bounced* failed>pending queued>pending* executing>pending* pending>sent*
    failed>sent* failed>delivered* failed>read* failed>bounced* created>cancelled scheduled>cancelled
    pending>cancelled queued>cancelled executing>cancelled failed>cancelled pending>expired
    queued>expired executing>expired pending>no_credits* no_credits>pending* no_credits>expired*"""
VISIT_FLOW = """
    created>scheduled* scheduled>reminded* scheduled>confirmed scheduled>rescheduled reminded>confirmed
    reminded>rescheduled confirmed>in_progress* confirmed>rescheduled confirmed>no_show in_progress>completed
    rescheduled>scheduled* created>cancelled scheduled>cancelled reminded>cancelled confirmed>cancelled"""
FLOWS = {
    "notification": MESSAGE_FLOW,
    "reminder": MESSAGE_FLOW,
    "payment": MESSAGE_FLOW,
    "document": MESSAGE_FLOW
    + " delivered>viewed* viewed>signed viewed>rejected delivered>expired* viewed>expired*",
    "appointment": VISIT_FLOW,
    "service_visit": VISIT_FLOW + " confirmed>dispatched dispatched>in_progress dispatched>no_show",
    "task": """
        created>pending* created>assigned pending>assigned pending>in_progress assigned>in_progress
        in_progress>blocked blocked>in_progress in_progress>completed created>cancelled pending>cancelled
        assigned>cancelled in_progress>cancelled""",
}


def contents(db: psycopg.Connection) -> dict[str, list[tuple[object, ...]]]:
    return {name: db.execute(f"SELECT * FROM {name} ORDER BY 1, 2").fetchall() for name in MASTERS}


def test_the_seed_runs_twice_and_keeps_what_an_operator_changed(db: psycopg.Connection) -> None:
    db.execute("UPDATE n_jtd_channels SET rate_limit_per_minute = 7, is_paused = true WHERE code = 'sms'")
    db.execute("UPDATE n_jtd_source_types SET is_active = false WHERE code = 'system'")
    db.execute(
        "UPDATE n_jtd_templates SET content = 'ours', name = 'Ours' WHERE template_key LIKE 'payment%'"
    )
    db.execute("UPDATE n_jtd_event_types SET default_max_retries = 0 WHERE code = 'payment'")
    before = contents(db)
    assert all(before.values())
    for _ in range(2):
        db.execute(SEED.read_bytes())
    after = contents(db)
    for name in MASTERS:
        if name != "n_jtd_templates":
            assert after[name] == before[name], name
    ours = db.execute("SELECT DISTINCT content, name, version FROM n_jtd_templates WHERE content = 'ours'")
    assert ours.fetchall() == [("ours", "Ours", 2)]
    assert len(after["n_jtd_templates"]) == len(before["n_jtd_templates"])


def test_event_types_are_those_of_the_data_model(db: psycopg.Connection) -> None:
    rows = db.execute(
        "SELECT code, category, array_to_string(allowed_channels, ' '), supports_scheduling,"
        " supports_recurrence, supports_batch, default_priority, default_max_retries, retry_delay_seconds,"
        " is_message FROM n_jtd_event_types ORDER BY display_order"
    ).fetchall()
    everywhere = "email sms whatsapp push inapp"
    assert rows == [
        ("notification", "communication", everywhere, False, False, True, 5, 3, 300, True),
        ("reminder", "communication", everywhere, True, True, True, 6, 3, 300, True),
        ("appointment", "scheduling", "email sms whatsapp inapp", True, False, False, 7, 3, 300, False),
        ("service_visit", "scheduling", "email sms whatsapp", True, True, False, 8, 3, 300, False),
        ("task", "action", "inapp email", True, False, False, 5, 0, 0, False),
        ("payment", "communication", "email sms whatsapp", False, False, True, 8, 3, 300, True),
        ("document", "communication", "email inapp", False, False, False, 6, 3, 600, True),
    ]


def test_channels_are_those_of_the_data_model(db: psycopg.Connection) -> None:
    db.execute("DELETE FROM n_jtd_channels")  # the limits of which tests have lifted
    db.execute(SEED.read_bytes())
    rows = db.execute(
        "SELECT code, default_provider, default_cost_per_unit::float, rate_limit_per_minute,"
        " max_content_length, supports_attachments, supports_rich_content, has_delivery_confirmation,"
        " has_read_receipt, queue_name"
        " FROM n_jtd_channels ORDER BY display_order"
    ).fetchall()
    assert rows == [
        ("email", "msg91", 0.25, 100, 50000, True, True, True, True, "jtd_email"),
        ("sms", "msg91", 0.75, 50, 160, False, False, True, False, "jtd_sms"),
        ("whatsapp", "msg91", 0.5, 30, 4096, True, True, True, True, "jtd_whatsapp"),
        ("push", "firebase", 0.01, 500, 256, False, False, True, False, "jtd_push"),
        ("inapp", "internal", 0.0, 1000, 1000, False, True, True, True, "jtd_inapp"),
    ]


@pytest.mark.parametrize("event", FLOWS)
def test_flows_are_those_of_the_data_model(db: psycopg.Connection, event: str) -> None:
    statuses = {
        code
        for (code,) in db.execute(
            "SELECT code FROM n_jtd_statuses WHERE event_type_code = %s", (event,)
        ).fetchall()
    }
    # only the reminder has a status `scheduled`, so the step exists for it alone
    wanted = {step for step in FLOWS[event].split() if set(step.rstrip("*").split(">")) <= statuses}
    rows = db.execute(
        "SELECT a.code || '>' || b.code || CASE WHEN f.is_automatic THEN '*' ELSE '' END"
        " FROM n_jtd_status_flows AS f JOIN n_jtd_statuses AS a ON a.id = f.from_status_id"
        " JOIN n_jtd_statuses AS b ON b.id = f.to_status_id WHERE f.event_type_code = %s",
        (event,),
    ).fetchall()
    assert {step for (step,) in rows} == wanted


def test_every_status_can_be_reached_and_only_ends_are_never_left(db: psycopg.Connection) -> None:
    rows = db.execute(
        """SELECT s.event_type_code, s.code, s.is_initial, s.is_terminal,
            EXISTS (SELECT FROM n_jtd_status_flows AS f WHERE f.to_status_id = s.id),
            EXISTS (SELECT FROM n_jtd_status_flows AS f WHERE f.from_status_id = s.id)
        FROM n_jtd_statuses AS s"""
    ).fetchall()
    for event, code, is_initial, is_terminal, is_entered, is_left in rows:
        assert is_entered is not is_initial, (event, code)
        assert is_left is not is_terminal, (event, code)


def test_the_walk_of_the_enqueue_trigger_is_valid_for_every_message(db: psycopg.Connection) -> None:
    invalid = db.execute(
        """SELECT e.code, w.* FROM jtd.walk AS w CROSS JOIN n_jtd_event_types AS e
        WHERE e.is_message AND w.from_status_code IS NOT NULL
            AND NOT jtd.is_valid_step(e.code, w.from_status_code, w.to_status_code)
            AND (e.code = 'reminder' OR 'scheduled' <> ALL (ARRAY[w.from_status_code, w.to_status_code]))"""
    ).fetchall()
    assert invalid == []


def test_source_types_send_on_channels_that_their_event_type_allows(db: psycopg.Connection) -> None:
    wrong = db.execute(
        """SELECT s.code, c.channel FROM n_jtd_source_types AS s
        CROSS JOIN LATERAL unnest(s.default_channels) AS c (channel)
        LEFT JOIN n_jtd_event_types AS e ON e.code = s.default_event_type
        LEFT JOIN n_jtd_channels AS x ON x.code = c.channel
        WHERE x.code IS NULL OR e.code IS NULL OR c.channel <> ALL (e.allowed_channels)"""
    ).fetchall()
    assert wrong == []
    identity = db.execute("SELECT code FROM n_jtd_source_types WHERE bypasses_gates ORDER BY code").fetchall()
    assert [code for (code,) in identity] == ["contract_signoff", "user_created", "user_invite"]


@pytest.mark.parametrize("is_live", [True, False])
def test_every_source_type_finds_a_template_for_each_of_its_channels(
    db: psycopg.Connection, is_live: bool
) -> None:
    rows = db.execute(
        """SELECT s.code, c.channel, f.id FROM n_jtd_source_types AS s
        CROSS JOIN LATERAL unnest(s.default_channels) AS c (channel)
        LEFT JOIN LATERAL jtd.find_template(NULL, NULL, NULL, %s, s.code, c.channel, %s, 'de') AS f
            ON true""",
        (TENANT, is_live),
    ).fetchall()
    assert len(rows) > 20
    assert [(code, channel) for code, channel, template in rows if template is None] == []


def test_templates_belong_to_channels_and_source_types_that_exist(db: psycopg.Connection) -> None:
    astray = """SELECT count(*) FROM n_jtd_templates AS t
        LEFT JOIN n_jtd_channels AS c ON c.code = t.channel_code
        LEFT JOIN n_jtd_source_types AS s ON s.code = t.source_type_code
        WHERE c.code IS NULL OR t.tenant_id IS NOT NULL
            OR (t.source_type_code IS NOT NULL AND s.code IS NULL)"""
    assert one(db, astray) == 0


# Which template is found


def template(db: psycopg.Connection, **columns: object) -> object:
    """Store a template for the key `k` on email, and return its id."""
    given: dict[str, object] = {
        "template_key": "k",
        "name": "n",
        "channel_code": "email",
        "content": "c",
        **columns,
    }
    names, marks = ", ".join(given), ", ".join(["%s"] * len(given))
    return one(db, f"INSERT INTO n_jtd_templates ({names}) VALUES ({marks}) RETURNING id", *given.values())


def found(db: psycopg.Connection, **arguments: object) -> object:
    """Return the id of the template that a live German job of TENANT is given."""
    given: dict[str, object] = {
        "p_id": None,
        "p_version": None,
        "p_key": "k",
        "p_tenant": TENANT,
        "p_source": "user_invite",
        "p_channel": "email",
        "p_is_live": True,
        "p_locale": "de",
        **arguments,
    }
    call = ", ".join(f"{name} => %s" for name in given)
    rows = db.execute(f"SELECT id FROM jtd.find_template({call})", tuple(given.values())).fetchall()
    assert len(rows) <= 1
    return rows[0][0] if rows else None


def test_the_closest_template_is_found_in_a_total_order(db: psycopg.Connection) -> None:
    # from the least to the most wanted; each is preferred to all before it
    for columns in (
        {},
        {"version": 2},
        {"locale": "de"},
        {"is_live": True},
        {"is_live": True, "locale": "de"},
        {"tenant_id": TENANT},
        {"tenant_id": TENANT, "locale": "de"},
        {"tenant_id": TENANT, "is_live": True},
        {"tenant_id": TENANT, "is_live": True, "locale": "de", "version": 3},
    ):
        newest = template(db, **columns)
        assert found(db) == newest, columns


def test_what_is_not_for_the_job_is_not_found(db: psycopg.Connection) -> None:
    for columns in (
        {"tenant_id": "30000000-0000-0000-0000-000000000001"},
        {"is_live": False},
        {"locale": "fr"},
        {"channel_code": "sms"},
        {"is_active": False},
        {"template_key": "other", "source_type_code": "user_invite"},
    ):
        template(db, **columns)
    assert found(db) is None
    foreign = one(db, "SELECT id FROM n_jtd_templates WHERE tenant_id IS NOT NULL")
    assert found(db, p_id=foreign) is None


def test_a_template_named_by_id_wins_and_keeps_the_version_that_was_pinned(db: psycopg.Connection) -> None:
    template(db)
    by_id = template(db, template_key="other")
    assert found(db, p_id=by_id) == by_id
    version = one(
        db,
        "SELECT version FROM jtd.find_template(%s, 7, 'k', %s, 'user_invite', 'email', true, NULL)",
        by_id,
        TENANT,
    )
    assert version == 7


@pytest.mark.parametrize(
    ("event_type", "flags"),
    [
        ("notification", "created i, delivered S, read TS, failed FR, bounced TF, cancelled T, expired T"),
        ("reminder", "created i, delivered S, read TS, failed FR, bounced TF, cancelled T, expired T"),
        ("payment", "created i, delivered S, read TS, failed FR, bounced TF, cancelled T, expired T"),
        (
            "document",
            "created i, delivered S, read TS, failed FR, bounced TF, cancelled T, expired T, "
            "signed TS, rejected TF",
        ),
        ("appointment", "created i, completed TS, no_show TF, cancelled T"),
        ("service_visit", "created i, completed TS, no_show TF, cancelled T"),
        ("task", "created i, completed TS, cancelled T"),
    ],
)
def test_each_status_has_the_flags_of_the_data_model(
    db: psycopg.Connection, event_type: str, flags: str
) -> None:
    rows = db.execute(
        "SELECT code, concat(CASE WHEN is_initial THEN 'i' END, CASE WHEN is_terminal THEN 'T' END,"
        " CASE WHEN is_success THEN 'S' END, CASE WHEN is_failure THEN 'F' END,"
        " CASE WHEN allows_retry THEN 'R' END) FROM n_jtd_statuses WHERE event_type_code = %s",
        [event_type],
    ).fetchall()
    assert {code: found for code, found in rows if found} == dict(
        pair.split(" ") for pair in flags.split(", ")
    )
