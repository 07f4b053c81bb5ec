"""Records that no table could hold stop neither their page nor their store."""

from __future__ import annotations

from typing import Any

import pytest

from backend.models import carts, quarantine
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
