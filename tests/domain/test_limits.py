"""What storage holds of a cart: texts are cut, addresses dropped, and what cannot be cut is set aside."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from backend.domain.carts import CartPage, Consent, SeenCart, Shopper, UnreadableRecord
from backend.domain.limits import fitted
from backend.domain.money import LIMIT
from backend.models import cart_items, carts, customers, quarantine
from tests.domain.sights import ADA, line, seen

LONG = "x" * 5000


def somebody(**fields: Any) -> SeenCart:
    """Return a look at the cart of a person with other details."""
    return seen(shopper=replace(ADA, **fields))


WIDE = line(
    id=LONG, product_id=LONG, variant_id=LONG, sku=LONG, title=LONG, variant=LONG, quantity=Decimal("1." + "0" * 99)
)


def stored_form(look: SeenCart) -> SeenCart:
    (kept,) = fitted(CartPage(carts=(look,))).carts
    return kept


def room(table: Any, column: str) -> int:
    length: int = table.c[column].type.length
    return length


def test_a_cart_that_fits_is_left_alone() -> None:
    look = seen()
    assert stored_form(look) is look


@pytest.mark.parametrize(
    ("part", "column"),
    [("id", "line_id"), ("product_id",) * 2, ("variant_id",) * 2, ("sku",) * 2, ("title",) * 2, ("variant",) * 2],
)
def test_a_line_is_cut_to_its_columns(part: str, column: str) -> None:
    (cut,) = stored_form(seen(lines=(WIDE,))).lines
    assert getattr(cut, part) == LONG[: room(cart_items, column)]


def test_a_quantity_of_too_many_digits_is_rounded() -> None:
    (cut,) = stored_form(seen(lines=(WIDE,))).lines
    assert cut.quantity == 1
    assert len(str(cut.quantity)) <= room(cart_items, "quantity")


@pytest.mark.parametrize("part", ["first_name", "last_name", "locale"])
def test_a_name_is_cut(part: str) -> None:
    cut = stored_form(somebody(**{part: LONG})).shopper
    assert getattr(cut, part) == LONG[: room(customers, part)]


@pytest.mark.parametrize("part", ["id", "email", "phone", "country"])
def test_half_an_address_is_none(part: str) -> None:
    assert getattr(stored_form(somebody(**{part: LONG})).shopper, part) is None


def test_the_person_of_a_cart_keeps_what_fits() -> None:
    kept = stored_form(seen(shopper=Shopper(id="7", email="a@example.com", country="Germany"))).shopper
    assert kept == Shopper(id="7", email="a@example.com")


def test_other_texts_are_cut() -> None:
    cut = stored_form(seen(order_ref=LONG, coupons=("a\x00b", LONG) * 50, consent=Consent(source=LONG)))
    assert len(cut.order_ref or "") == room(carts, "order_ref")
    assert len(cut.consent.source or "") == room(customers, "consent_source")
    assert (len(cut.coupons), cut.coupons[0], len(cut.coupons[1])) == (20, "ab", 100)


@pytest.mark.parametrize(
    ("look", "reason"),
    [
        (seen(source_cart_id="x" * 201), "id_too_long"),
        (seen(lines=(line(unit_price=LIMIT + 1),)), "bad_amount"),
        (seen(subtotal=-LIMIT - 1), "bad_amount"),
    ],
)
def test_what_cannot_be_cut_is_set_aside_and_its_neighbours_stay(look: SeenCart, reason: str) -> None:
    page = fitted(CartPage(carts=(seen(), look)))
    (record,) = page.unreadable
    assert (page.carts, record.reason) == ((seen(),), reason)
    assert len(record.source_cart_id or "") <= room(quarantine, "source_cart_id")


def test_a_record_set_aside_fits_too() -> None:
    page = fitted(CartPage(unreadable=(UnreadableRecord(LONG, LONG, b"{}"),)))
    (record,) = page.unreadable
    assert (len(record.source_cart_id or ""), len(record.reason)) == (
        room(quarantine, "source_cart_id"),
        room(quarantine, "reason"),
    )
