"""The web app stays answerable while the work goes on behind it."""

from __future__ import annotations

import asyncio

from tests.routers.conftest import Web
from tests.services.line import Line


async def test_status_answers_while_a_cycle_waits_for_a_slow_store(line: Line, web: Web) -> None:
    line.store.gate.clear()
    cycle = asyncio.create_task(web.client.post("/polling/abandoned-cart/test-once"))
    await line.store.asked.wait()
    status = await web.client.get("/polling/status")
    assert (status.status_code, cycle.done()) == (200, False)
    line.store.gate.set()
    assert (await cycle).json()["polls_succeeded"] == 1


async def test_a_cycle_in_flight_is_not_begun_again_by_another(line: Line, web: Web) -> None:
    line.store.gate.clear()
    first = asyncio.create_task(web.client.post("/polling/abandoned-cart/test-once"))
    await line.store.asked.wait()
    second = (await web.client.post("/polling/abandoned-cart/test-once")).json()
    assert [store["integration_id"] for store in second["held_elsewhere"]] == [line.integration]
    assert (second["integrations_polled"], len(line.store.requests)) == (0, 1)
    line.store.gate.set()
    assert (await first).json()["polls_succeeded"] == 1
