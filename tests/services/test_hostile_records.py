"""Records that no table could hold stop neither their page nor their store."""

from __future__ import annotations

from typing import Any

import pytest

from backend.domain.cards import NOTICE
from backend.models import carts, integrations, metadata, quarantine
from tests.services.line import Line

LONG = "x" * 3000
ITEM = {"id": "1", "title": "Mug", "qty": 1, "unit_price": "10.00", "line_total": "10.00"}


@pytest.mark.parametrize(
    "fields",
    [
        {"customer": {"id": LONG, "email": f"{LONG}@example.com", "phone": LONG, "first": LONG, "country": "Germany"}},
        {"customer": {"email": "a@example.com", "first": "A\x00da", "last": "\x01\x7f"}},
        {"items": [{**ITEM, "title": LONG, "sku": LONG, "variant": LONG, "product_id": LONG, "id": LONG}]},
        {"items": [{**ITEM, "title": "nul\x00l"}]},
        {"items": [{**ITEM, "qty": "1." + "0" * 80}]},
        {"items": [ITEM] * 300},
        {"coupons": ["\x00" + LONG] * 300},
        {"order_ref": LONG, "consent": {"email": "yes", "source": LONG}},
        {"total": "90000000000000", "items": [{**ITEM, "unit_price": "90000000000000"}]},
    ],
    ids=["person", "NUL in a name", "line", "NUL in a title", "quantity", "lines", "coupons", "texts", "amount"],
)
async def test_an_odd_cart_is_stored_and_handed_off(line: Line, fields: dict[str, Any]) -> None:
    line.add("odd", 45, **{"customer": {"email": "a@example.com"}, **fields})
    line.add("plain", 46)
    report = await line.run()
    assert (report["ok"], report["carts_new"]) == (True, 2)
    assert line.effects()[-1] == "plain"


@pytest.mark.parametrize("fields", [{"id": "y" * 230}, {"total": "90000000000001"}, {"currency": "U\x00D"}])
async def test_a_cart_that_fits_no_table_is_set_aside(line: Line, fields: dict[str, Any]) -> None:
    line.add("odd", 45, **fields)
    line.add("plain", 46)
    report = await line.run()
    assert (report["ok"], report["records_quarantined"], line.effects()) == (True, 1, ["plain"])
    assert [len(rows) for rows in (await line.rows(carts), await line.rows(quarantine))] == [1, 1]


async def test_no_card_number_is_stored_or_handed_on(line: Line) -> None:
    card = "4111 1111 1111 1111"
    customer = {"email": "a@example.com", "first": "Ada", "last": card}
    line.add("typed", 45, customer=customer, items=[{**ITEM, "title": f"Gift card {card}"}], coupons=[card])
    line.add("odd", 46, currency=card)
    report = await line.run()
    stored = [repr(tuple(row)) for table in metadata.tables.values() for row in await line.rows(table)]
    (store,) = await line.rows(integrations)
    handed_on = list(line.partner.hook("p").bodies)
    assert (report["carts_new"], report["records_quarantined"], store.notices) == (1, 1, [NOTICE])
    assert [card in row for row in stored if card in row] == []
    assert (len(handed_on), any(card.encode() in body for body in handed_on)) == (1, False)
