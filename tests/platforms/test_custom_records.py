"""How the contract's cart objects become the normal form, and what sets one aside."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from backend.domain.carts import Answer, SourceStatus
from backend.platforms.custom.records import RecordReader
from tests.platforms.custom_store import NOON, SINCE, Store, running_store


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    async with running_store() as running:
        yield running


async def test_a_full_record_is_read_field_by_field(store: Store) -> None:
    cart = await store.cart(
        id=42,
        created_at="2026-11-20T10:00:00+02:00",
        updated_at="2026-11-20T11:30:00.250Z",
        currency="kwd",
        total=12.345,
        subtotal="13.000",
        discount="0.655",
        tax=0,
        coupons=["WELCOME"],
        test=True,
        recovery_url="https://shop.example.com/r/42",
        consent={"email": "yes", "sms": "no", "source": "checkout", "at": "2026-11-20T08:00:00Z"},
    )
    assert (cart.source_cart_id, cart.status, cart.currency, cart.total) == (
        "42",
        SourceStatus.OPEN,
        "KWD",
        Decimal("12.345"),
    )
    assert (cart.created_at, cart.updated_at) == (
        datetime(2026, 11, 20, 8, tzinfo=UTC),
        datetime(2026, 11, 20, 11, 30, 0, 250_000, tzinfo=UTC),
    )
    assert (cart.subtotal, cart.discount, cart.tax, cart.coupons, cart.is_test) == (
        Decimal("13.000"),
        Decimal("0.655"),
        Decimal(0),
        ("WELCOME",),
        True,
    )
    assert (cart.consent.email, cart.consent.sms, cart.consent.source) == (Answer.YES, Answer.NO, "checkout")
    assert (cart.recovery_url, cart.raw_version, cart.is_mock) == ("https://shop.example.com/r/42", "custom/1", False)


async def test_a_shopper_is_read_trimmed_and_in_one_form(store: Store) -> None:
    customer = {"id": 7, "email": " Ada@Example.COM ", "phone": "(312) 555-0142", "country": "us", "first": " Ada "}
    shopper = (await store.cart(customer=customer)).shopper
    assert (shopper.id, shopper.email, shopper.phone, shopper.country, shopper.first_name, shopper.is_guest) == (
        "7",
        "ada@example.com",
        "+13125550142",
        "US",
        "Ada",
        False,
    )


@pytest.mark.parametrize("customer", [None, {}, {"email": None, "phone": ""}])
async def test_a_cart_without_contact_is_kept(store: Store, customer: dict[str, Any] | None) -> None:
    assert not (await store.cart(customer=customer)).shopper.is_contactable


async def test_a_line_is_read_with_its_own_total(store: Store) -> None:
    item = {"title": "Tea", "qty": 0.5, "unit_price": "9.90", "sku": "T", "image_url": "javascript:alert(1)"}
    (line,) = (await store.cart(items=[item])).lines
    assert (line.id, line.quantity, line.unit_price, line.line_total, line.sku, line.image_url) == (
        "1",
        Decimal("0.5"),
        Decimal("9.90"),
        Decimal("4.950"),
        "T",
        None,
    )


async def test_a_bought_cart_is_completed(store: Store) -> None:
    cart = await store.cart(completed_at="2026-11-20T11:00:00Z", status="open", order_ref="1001")
    assert (cart.status, cart.completed_at, cart.order_ref) == (
        SourceStatus.COMPLETED,
        datetime(2026, 11, 20, 11, tzinfo=UTC),
        "1001",
    )


async def test_an_expired_cart_says_so(store: Store) -> None:
    assert (await store.cart(status="expired")).status is SourceStatus.EXPIRED


async def test_an_emptied_cart_has_no_lines(store: Store) -> None:
    assert (await store.cart(items=[], total=0)).lines == ()


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"id": None}, "bad_id"),
        ({"id": ""}, "bad_id"),
        ({"id": "x" * 256}, "bad_id"),
        ({"updated_at": None}, "bad_time"),
        ({"updated_at": "yesterday"}, "bad_time"),
        ({"updated_at": "2099-01-01T00:00:00Z"}, "dated_in_the_future"),
        ({"completed_at": "2099-01-01T00:00:00Z"}, "dated_in_the_future"),
        ({"currency": "dollars"}, "bad_currency"),
        ({"currency": None}, "bad_currency"),
        ({"total": None}, "bad_amount"),
        ({"total": "NaN"}, "bad_amount"),
        ({"total": "1,000.00"}, "bad_amount"),
        ({"total": -1}, "bad_amount"),
        ({"total": 1e300}, "bad_amount"),
        ({"items": None}, "bad_items"),
        ({"items": ["mug"]}, "bad_items"),
        ({"items": [{"qty": 1, "unit_price": 1}]}, "bad_items"),
        ({"items": [{"title": "Mug", "unit_price": 1}]}, "bad_amount"),
        ({"items": [{"title": "Mug", "qty": 900_000_000_000, "unit_price": 900_000}]}, "bad_amount"),
        ({"status": "lost"}, "bad_status"),
        ({"status": 7}, "bad_status"),
        ({"customer": "Ada"}, "bad_customer"),
        ({"consent": {"email": "No!"}}, "bad_consent"),
        ({"consent": {"email": ["no"]}}, "bad_consent"),
        ({"consent": "no"}, "bad_consent"),
        ({"coupons": {"code": "A"}}, "bad_coupons"),
        ({"recovery_url": "javascript:alert(1)"}, "bad_recovery_url"),
    ],
)
async def test_a_record_that_cannot_be_read_is_set_aside_with_its_reason(
    store: Store, fields: dict[str, Any], reason: str
) -> None:
    store.simulator.add_cart("s0", "good", NOON - timedelta(hours=1))
    page = await store.page(**fields)
    assert ([record.reason for record in page.unreadable], [cart.source_cart_id for cart in page.carts]) == (
        [reason],
        ["good"],
    )


@pytest.mark.parametrize("record", ["mug", 7, None, []])
def test_a_record_that_is_no_object_is_set_aside(record: Any) -> None:
    page = RecordReader("shop", {}).page([record], NOON)
    assert [(bad.source_cart_id, bad.reason) for bad in page.unreadable] == [(None, "not_an_object")]


async def test_a_record_set_aside_keeps_its_id_and_its_text(store: Store) -> None:
    (record,) = (await store.page(total="a lot")).unreadable
    assert (record.source_cart_id, b'"a lot"' in record.raw) == ("c1", True)


async def test_fields_are_found_where_the_company_says(store: Store) -> None:
    odd = {
        "ref": {"no": "A-1"},
        "contact": {"mails": ["Ada@example.com"], "tel": "+13125550142"},
        "sum": {"gross": "19.90", "cur": "EUR"},
        "lines": [{"title": "Mug", "qty": 1, "unit_price": "19.90"}],
        "stamps": {"changed": "2026-11-20T11:00:00Z", "bought": "2026-11-20T11:00:00Z"},
        "link": "https://shop.example.com/r/A-1",
    }
    blank = dict.fromkeys(["id", "currency", "total", "items", "updated_at", "customer", "recovery_url"])
    store.simulator.add_cart("s0", "c1", NOON, **{**blank, "total": 0, **odd})
    paths = {
        "id": "ref.no",
        "email": "contact.mails.0",
        "phone": "contact.tel",
        "total": "sum.gross",
        "currency": "sum.cur",
        "items": "lines",
        "updated_at": "stamps.changed",
        "completed_at": "stamps.bought",
        "recovery_url": "link",
    }
    (cart,) = (await store.adapter(fields=paths).fetch_page(SINCE, None)).carts
    assert (cart.source_cart_id, cart.shopper.email, cart.shopper.phone, cart.total, cart.currency) == (
        "A-1",
        "ada@example.com",
        "+13125550142",
        Decimal("19.90"),
        "EUR",
    )
    assert (len(cart.lines), cart.status, cart.recovery_url) == (1, SourceStatus.COMPLETED, odd["link"])


async def test_a_path_that_leads_nowhere_is_a_missing_field(store: Store) -> None:
    store.fill(1)
    page = await store.adapter(fields={"total": "sum.9.gross"}).fetch_page(SINCE, None)
    assert [record.reason for record in page.unreadable] == ["bad_amount"]
