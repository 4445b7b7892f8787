"""A message that names no channel goes to each channel of its source that reaches its recipient."""

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.jobs import TENANT, USER, one, places, row
from tests.tenants import change, insert, set_source, set_tenant


def test_a_message_without_a_channel_goes_to_each_channel_of_its_source(db: psycopg.Connection) -> None:
    parent = insert(
        db,
        channel_code=None,
        source_type_code="payment_overdue",
        template_key="payment_overdue_email_v1",
        recipient_contact=None,
        payload={"recipient_data": {"email": "john@example.com", "mobile": "+14155550101"}, "amount": "9"},
        idempotency_key="invoice/7",
        metadata={"campaign": "june"},
    )
    first, second = db.execute(
        "SELECT channel_code, recipient_contact, status_code, parent_id, idempotency_key, template_key,"
        " metadata FROM n_jtd ORDER BY parent_id NULLS FIRST"
    ).fetchall()
    key = "payment_overdue_email_v1"
    metadata = {"campaign": "june"}
    assert first == ("email", "john@example.com", "queued", None, "invoice/7", key, metadata)
    assert second == ("sms", "+14155550101", "queued", parent, "invoice/7:sms", None, metadata)
    assert places(db) == {"queued": 2}


def test_the_same_key_again_makes_no_second_sibling(db: psycopg.Connection) -> None:
    for _ in range(2):
        db.execute(
            "SELECT * FROM jtd.enqueue(tenant_id => %s, event_type => 'notification', source_type =>"
            " 'payment_overdue', recipient => '+14155550101', idempotency_key => 'k', payload => %s)",
            [TENANT, Jsonb({"recipient_data": {"email": "john@example.com"}})],
        )
    assert db.execute("SELECT channel_code FROM n_jtd ORDER BY 1").fetchall() == [("email",), ("sms",)]


@pytest.mark.parametrize(("length", "is_kept"), [(196, True), (197, False), (200, False)])
def test_a_siblings_key_is_its_parents_id_where_the_parents_key_leaves_no_room_for_the_channel(
    db: psycopg.Connection, length: int, is_kept: bool
) -> None:
    key = "k" * length
    for _ in range(2):
        db.execute(
            "INSERT INTO n_jtd (tenant_id, event_type_code, source_type_code, payload, idempotency_key)"
            " VALUES (%s, 'notification', 'payment_overdue', %s, %s) ON CONFLICT DO NOTHING",
            [TENANT, Jsonb({"recipient_data": {"email": "a@example.com", "mobile": "+14155550101"}}), key],
        )
    parent, sibling = db.execute("SELECT id, idempotency_key FROM n_jtd ORDER BY parent_id NULLS FIRST")
    assert parent[1] == key
    assert sibling[1] == f"{key if is_kept else parent[0]}:sms"


def test_the_tenants_channels_for_a_source_come_before_its_own(db: psycopg.Connection) -> None:
    set_source(db, channels_enabled=["inapp", "pigeon", "email", "email"])
    jtd_id = insert(db, channel_code=None, recipient_id=USER)
    found = db.execute("SELECT channel_code, parent_id FROM n_jtd ORDER BY parent_id NULLS FIRST").fetchall()
    assert found == [("inapp", None), ("email", jtd_id)]


def test_a_channel_that_reaches_nobody_is_left_out_and_on_record(db: psycopg.Connection) -> None:
    jtd_id = insert(db, channel_code=None, source_type_code="payment_overdue")
    assert one(db, "SELECT channel_code FROM n_jtd") == "email"
    assert one(db, "SELECT reason FROM n_jtd_history WHERE action = 'note' AND jtd_id = %s", jtd_id) == (
        "not sent by sms as well: no usable recipient"
    )


def test_the_row_takes_the_first_channel_that_reaches_somebody(db: psycopg.Connection) -> None:
    insert(db, channel_code=None, source_type_code="payment_overdue", recipient_contact="+14155550101")
    assert db.execute("SELECT channel_code, status_code FROM n_jtd").fetchall() == [("sms", "queued")]


def test_a_channel_that_the_tenant_has_off_is_not_routed_to(db: psycopg.Connection) -> None:
    set_tenant(db, channels_enabled={"email": False, "inapp": True})
    set_source(db, channels_enabled=["email", "inapp"])
    insert(db, channel_code=None, recipient_id=USER)
    assert one(db, "SELECT channel_code FROM n_jtd") == "inapp"
    change(db, "channels_enabled = '{}'")
    off = insert(db, channel_code=None, recipient_id=USER)
    assert row(db, off)["channel_code"] == "email", "a switch of the tenant's never fails a producer"


def test_a_message_for_which_no_channel_fits_is_refused(db: psycopg.Connection) -> None:
    set_source(db, channels_enabled=["pigeon"])
    with pytest.raises(psycopg.Error, match="channel is missing") as caught:
        insert(db, channel_code=None)
    assert caught.value.sqlstate == "JT008"


def test_a_row_that_is_not_inserted_has_no_siblings(db: psycopg.Connection) -> None:
    insert(db, idempotency_key="k")
    db.execute(
        "INSERT INTO n_jtd (tenant_id, event_type_code, source_type_code, payload, idempotency_key)"
        " VALUES (%s, 'notification', 'payment_overdue', %s, 'k') ON CONFLICT DO NOTHING",
        [TENANT, Jsonb({"recipient_data": {"email": "a@example.com", "mobile": "+14155550101"}})],
    )
    assert one(db, "SELECT count(*) FROM n_jtd") == 1


def test_an_imported_row_is_not_routed(db: psycopg.Connection) -> None:
    insert(db, status_code="sent", route=Jsonb([{"channel": "sms", "recipient": "+14155550101"}]))
    assert one(db, "SELECT count(*) FROM n_jtd") == 1
    given = insert(db, route=Jsonb([{"channel": "sms", "recipient": "+14155550101"}]))
    assert row(db, given)["route"] is None, "a producer does not write it"
