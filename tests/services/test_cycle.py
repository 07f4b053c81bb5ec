"""One cycle, store to partner."""

from __future__ import annotations

from backend.models import carts
from tests.services.line import Line


async def test_an_abandoned_cart_arrives_at_the_partner_once(line: Line) -> None:
    line.add("c1", minutes_ago=45)
    first = await line.run()
    second = await line.run()
    assert (first["deliveries_succeeded"], second["deliveries_succeeded"]) == (1, 0)
    assert line.effects() == ["c1"]


async def test_a_cart_that_is_not_idle_long_enough_is_kept_and_not_sent(line: Line) -> None:
    line.add("c1", minutes_ago=10)
    await line.run()
    assert [row.state for row in await line.rows(carts)] == ["active"]
    assert line.effects() == []
