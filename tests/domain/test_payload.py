"""What partners receive: names, times, amounts, and how carts are put into messages."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.domain.carts import Answer, Consent, Shopper
from backend.domain.lifecycle import CartState
from backend.domain.money import LIMIT
from backend.domain.payload import (
    LIMIT_BYTES,
    LINES_KEPT,
    CartView,
    CompanyCard,
    Entry,
    Parcel,
    Sender,
    parcels,
    webhook_id,
)
from tests.domain.sights import ADA, NOON, line, stored

SENDER = Sender(
    CompanyCard("co-1", "Acme", "https://acme.example", "help@acme.example"), "agent-1", "Cart agent", "shopify"
)


def entry(number: int = 1, total: str = "10.00", currency: str = "USD", **fields: Any) -> Entry:
    """Return one cart of a payload; `fields` are those of its view."""
    row = stored(CartState.ABANDONED, id=f"cart-{number:06}", currency=currency, total=Decimal(total))
    view = CartView(row, (line(total),), ADA, Consent(email=Answer.YES, source="checkout", at=NOON))
    return Entry(replace(view, **fields), f"evt_{number:06}")


def made(entries: list[Entry], most: int = 100) -> list[Parcel]:
    return parcels("cart.abandoned", SENDER, entries, most)


def payload(*entries: Entry) -> dict[str, Any]:
    """Return the one payload that these carts make."""
    (parcel,) = made(list(entries) or [entry()])
    found: dict[str, Any] = orjson.loads(parcel.body)
    return found


def test_the_top_has_the_names_partners_know() -> None:
    names = "type schema_version company agent_info abandoned_carts recovery_analytics".split()
    assert list(payload()) == names


def test_the_agent_is_told_as_partners_know_it() -> None:
    assert payload()["agent_info"] == {"id": "agent-1", "name": "Cart agent", "company": "Acme"}


def test_the_company_is_told() -> None:
    company = payload()["company"]
    assert (company["id"], company["name"], company["website"]) == ("co-1", "Acme", "https://acme.example")


def test_the_cart_tells_what_the_design_lists() -> None:
    (cart,) = payload()["abandoned_carts"]
    promised = "event_id customer items currency consent recovery_url episode revision total_value abandoned_at".split()
    assert [name for name in promised if name not in cart] == []
    assert (cart["event_id"], cart["cart_id"], cart["source_cart_id"], cart["store_id"], cart["episode"]) == (
        "evt_000001",
        "cart-000001",
        "c1",
        "shop.example",
        1,
    )


def test_the_customer_is_told_with_a_whole_name() -> None:
    (cart,) = payload()["abandoned_carts"]
    person = cart["customer"]
    assert (person["email"], person["name"], person["phone"]) == ("ada@example.com", "Ada Moss", None)


def test_a_customer_nobody_knows_is_all_blank() -> None:
    (cart,) = payload(entry(shopper=Shopper()))["abandoned_carts"]
    assert [name for name, value in cart["customer"].items() if value] == ["is_guest"]


def test_times_are_utc_with_a_z() -> None:
    row = stored(CartState.ABANDONED, abandoned_at=NOON + timedelta(seconds=30, microseconds=999))
    (cart,) = payload(Entry(replace(entry().view, row=row), "evt_1"))["abandoned_carts"]
    assert cart["abandoned_at"] == "2026-11-20T12:00:30Z"


def test_every_time_ends_in_a_z() -> None:
    (cart,) = payload()["abandoned_carts"]
    times = [cart["abandoned_at"], cart["last_activity_at"], cart["created_at"], cart["consent"]["at"]]
    assert all(datetime.fromisoformat(moment).tzinfo == UTC and moment.endswith("Z") for moment in times)


def test_the_sums_are_those_of_the_carts() -> None:
    analytics = payload(entry(1, "159.98"), entry(2, "99.99"), entry(3, "200.00"))["recovery_analytics"]
    assert analytics == {
        "total_carts": 3,
        "total_value": 459.97,
        "total_value_minor": 45997,
        "currency": "USD",
        "platform": "shopify",
    }


@pytest.mark.parametrize(
    ("currency", "total", "number", "minor"),
    [("USD", "459.97", 459.97, 45997), ("JPY", "1500.00", 1500.0, 1500), ("KWD", "4.125", 4.125, 4125)],
)
def test_amounts_have_their_currency_s_minor_units(currency: str, total: str, number: float, minor: int) -> None:
    (cart,) = payload(entry(total=total, currency=currency))["abandoned_carts"]
    assert (cart["total_value"], cart["total_value_minor"]) == (number, minor)
    assert cart["items"][0]["line_total_minor"] == minor


def test_an_unknown_amount_is_null_twice() -> None:
    (cart,) = payload()["abandoned_carts"]
    assert (cart["tax"], cart["tax_minor"]) == (None, None)


@pytest.mark.parametrize(("quantity", "shown"), [("2", 2), ("2.000", 2), ("0.5", 0.5)])
def test_a_whole_quantity_is_a_whole_number(quantity: str, shown: float) -> None:
    (cart,) = payload(entry(lines=(line(quantity=Decimal(quantity)),)))["abandoned_carts"]
    assert repr(cart["items"][0]["quantity"]) == repr(shown)


@pytest.mark.parametrize("currency", ["USD", "JPY", "KWD"])
def test_a_hundred_of_the_largest_amounts_still_make_a_payload(currency: str) -> None:
    most = [entry(number, str(LIMIT), currency) for number in range(100)]
    assert payload(*most)["recovery_analytics"]["total_carts"] == 100


@pytest.mark.parametrize("mark", ["is_mock", "is_test"])
def test_a_mark_is_told_only_where_it_is(mark: str) -> None:
    row = entry().view.row
    setattr(row, mark, True)
    marked = Entry(replace(entry().view, row=row), "evt_1")
    assert payload(marked)["abandoned_carts"][0][mark] is True
    assert mark not in payload()["abandoned_carts"][0]


class TestSplitting:
    def test_currencies_never_share_a_message(self) -> None:
        found = made([entry(1), entry(2, currency="EUR"), entry(3)])
        assert [[each.event_id for each in parcel.entries] for parcel in found] == [
            ["evt_000001", "evt_000003"],
            ["evt_000002"],
        ]

    @pytest.mark.parametrize(("most", "sizes"), [(1, [1] * 5), (2, [2, 2, 1]), (5, [5]), (100, [5])])
    def test_a_message_has_no_more_carts_than_the_destination_takes(self, most: int, sizes: list[int]) -> None:
        assert [len(parcel.entries) for parcel in made([entry(n) for n in range(5)], most)] == sizes

    def test_large_carts_are_spread_until_each_message_fits(self) -> None:
        big = [entry(n, lines=tuple(line(title="x" * 900, id=str(i)) for i in range(50))) for n in range(20)]
        found = made(big)
        assert max(len(parcel.body) for parcel in found) <= LIMIT_BYTES
        assert [each for parcel in found for each in parcel.entries] == big

    def test_a_cart_too_large_for_a_message_goes_with_its_first_lines(self) -> None:
        (parcel,) = made([entry(lines=tuple(line(title="x" * 900, id=str(i)) for i in range(400)))])
        (cart,) = orjson.loads(parcel.body)["abandoned_carts"]
        assert (len(cart["items"]), cart["items_omitted"], cart["total_value"]) == (LINES_KEPT, 350, 10.0)

    @pytest.mark.parametrize("title", ["x" * 1000, "ü" * 1000, "\x01" * 1000], ids=["long", "wide", "escaped"])
    def test_no_message_is_over_the_limit_whatever_a_line_is_called(self, title: str) -> None:
        link = "https://shop.example/" + "y" * 2000
        lines = tuple(line(title=title, variant=title[:500], url=link, image_url=link) for _ in range(200))
        (parcel,) = made([entry(lines=lines)])
        assert LIMIT_BYTES // 3 < len(parcel.body) <= LIMIT_BYTES

    @given(sizes=st.lists(st.integers(0, 60), min_size=1, max_size=12), most=st.integers(1, 7))
    @settings(max_examples=30)
    def test_every_cart_goes_exactly_once(self, sizes: list[int], most: int) -> None:
        entries = [
            entry(n, currency="EUR" if n % 3 else "USD", lines=tuple(line(title="x" * 2000) for _ in range(size)))
            for n, size in enumerate(sizes)
        ]
        found = made(entries, most)
        assert sorted(each.event_id for parcel in found for each in parcel.entries) == [e.event_id for e in entries]
        assert all(len(parcel.entries) <= most and len(parcel.body) <= LIMIT_BYTES for parcel in found)


class TestSameness:
    def test_the_same_carts_make_the_same_bytes(self) -> None:
        assert made([entry(1), entry(2)])[0].body == made([entry(1), entry(2)])[0].body

    def test_a_message_is_named_by_what_is_in_it_in_any_order(self) -> None:
        assert webhook_id("d", ["b", "a"]) == webhook_id("d", ["a", "b"])

    @pytest.mark.parametrize(("destination", "events"), [("e", ["a", "b"]), ("d", ["a"]), ("d", ["a", "c"])])
    def test_another_destination_or_other_carts_have_another_name(self, destination: str, events: list[str]) -> None:
        assert webhook_id(destination, events) != webhook_id("d", ["a", "b"])
