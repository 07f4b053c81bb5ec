"""Numbers that look like payment cards are taken out of what people typed; everything else stays as it is."""

from __future__ import annotations

import pytest

from backend.domain.cards import NOTICE, REMOVED, is_card, stripped, without_cards
from backend.domain.carts import CartPage, Consent, SeenCart, Shopper, UnreadableRecord
from tests.domain.sights import line, seen

# The networks' published test numbers.
CARDS = {
    "Visa": "4111111111111111",
    "Visa, 19 digits": "4000000000000000006",
    "Mastercard": "5555555555554444",
    "Mastercard, 2 series": "2223003122003222",
    "American Express": "378282246310005",
    "Discover": "6011111111111117",
    "Diners Club": "30569309025904",
    "JCB": "3530111333300000",
    "UnionPay": "6205500000000000004",
    "Maestro": "6759649826438453",
}
VISA = CARDS["Visa"]
OTHERS = {
    "a wrong check digit": "4111111111111112",
    "of no network": "9111111111111111",
    "too short": "411111111111",
    "a longer number": "41111111111111110000000",
    "a phone number": "+49 176 12345678",
    "letters between": "4111x1111x1111x1111",
    "two blanks between": "4111  1111  1111  1111",
    "other digits": "٤١١١١١١١١١١١١١١١",
}


@pytest.mark.parametrize("number", CARDS.values(), ids=CARDS)
@pytest.mark.parametrize("form", ["{}", "card {} thanks", "({})"])
def test_a_card_number_is_removed_from_a_text(number: str, form: str) -> None:
    assert without_cards(form.format(number)) == (form.format(REMOVED), 1)


@pytest.mark.parametrize("between", [" ", "-"])
def test_a_card_number_in_groups_is_removed(between: str) -> None:
    grouped = between.join(VISA[start : start + 4] for start in range(0, 16, 4))
    assert without_cards(f"use {grouped}!") == (f"use {REMOVED}!", 1)


@pytest.mark.parametrize("text", OTHERS.values(), ids=OTHERS)
def test_what_is_no_card_stays(text: str) -> None:
    assert without_cards(text) == (text, 0)


def test_a_number_is_judged_by_its_last_digit() -> None:
    assert [is_card(f"411111111111111{digit}") for digit in range(10)] == [digit == 1 for digit in range(10)]


PLACES: dict[str, SeenCart] = {
    "first name": seen(shopper=Shopper(first_name=VISA)),
    "last name": seen(shopper=Shopper(last_name=f"Card {VISA}")),
    "title": seen(lines=(line(title=f"Gift {VISA}"),)),
    "variant": seen(lines=(line(variant=VISA),)),
    "coupon": seen(coupons=(VISA,)),
    "source of a consent": seen(consent=Consent(source=VISA)),
}


@pytest.mark.parametrize("typed", PLACES.values(), ids=PLACES)
def test_no_field_that_people_type_into_keeps_a_card_number(typed: SeenCart) -> None:
    page, found = stripped(CartPage(carts=(typed, seen(source_cart_id="d"))))
    assert (found, VISA in repr(page.carts), page.notices, page.carts[1]) == (
        1,
        False,
        (NOTICE,),
        seen(source_cart_id="d"),
    )


def test_ids_and_addresses_stay_as_they_are() -> None:
    page = CartPage(carts=(seen(source_cart_id=VISA, order_ref=VISA, recovery_url=f"https://shop.example/{VISA}"),))
    assert stripped(page) == (page, 0)


def test_a_record_in_quarantine_keeps_none_either() -> None:
    raw = f'{{"id": {VISA}, "note": "4111 1111 1111 1111", "total": "1234567890123456"}}'.encode()
    page, found = stripped(CartPage(unreadable=(UnreadableRecord("c", "bad", raw),)))
    assert (found, page.unreadable[0].raw) == (
        2, b'{"id": ****************, "note": "*******************", "total": "1234567890123456"}',
    )  # fmt: skip


def test_a_page_without_any_is_handed_on_as_it_is() -> None:
    page = CartPage(carts=(seen(),), unreadable=(UnreadableRecord(None, "bad", b"\xff{}"),))
    assert stripped(page)[0] is page
