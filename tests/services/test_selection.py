"""Which agents' stores a cycle touches."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import update

from backend.models import companies, integrations
from tests.factories import make_agent, make_company
from tests.services.acts import add_store
from tests.services.line import Line


def touched(line: Line) -> set[str]:
    return {seen.path.split("/")[1] for seen in line.store.requests}


async def test_a_cycle_touches_the_active_agents_of_the_template_and_nobody_else(line: Line) -> None:
    agents: dict[str, dict[str, Any]] = {
        "active2": {},
        "active3": {},
        "inactive": {"status": "inactive"},
        "other1": {"template_slug": "lead-qualification"},
        "other2": {"template_slug": "ecommerce-support"},
    }
    for name, fields in agents.items():
        await add_store(line, name, agent=await make_agent(line.world, line.company, name=name, **fields))
    report = await line.run()
    assert touched(line) == {"s0", "active2", "active3"}
    assert (report["agents_found"], report["integrations_polled"]) == (3, 3)


async def test_an_inactive_company_is_left_alone(line: Line) -> None:
    async with line.world.database.work() as tx:
        await tx.execute(update(companies).values(status="inactive"))
    report = await line.run()
    assert (touched(line), report["agents_found"]) == (set(), 0)


@pytest.mark.parametrize("values", [{"status": "inactive"}, {"status": "paused", "pause_reason": "paused by operator"}])
async def test_a_store_that_was_paused_or_removed_is_left_alone(line: Line, values: dict[str, str]) -> None:
    async with line.world.database.work() as tx:
        await tx.execute(update(integrations).values(**values))
    await line.run()
    assert touched(line) == set()


async def test_an_agent_s_every_store_is_polled(line: Line) -> None:
    await add_store(line, "s1")
    await add_store(line, "s2")
    report = await line.run()
    assert (touched(line), report["agents_found"]) == ({"s0", "s1", "s2"}, 1)


async def test_counts_are_told_per_store(line: Line) -> None:
    other = await add_store(line, "s1")
    for number in range(3):
        line.add(f"c{number}", 45)
    line.store.add_cart("s1", "x", line.clock.now())
    report = await line.run()
    counts = {part["integration_id"]: (part["carts_seen"], part["carts_new"]) for part in report["integrations"]}
    assert counts == {line.integration: (3, 3), other: (1, 1)}


async def test_counts_are_kept_per_company(line: Line) -> None:
    company = await make_company(line.world, "Other")
    await add_store(line, "s1", company, await make_agent(line.world, company))
    line.add("c1", 45)
    await line.run()
    shown = [
        {part["carts_new"] for part in [(await line.engine.poller.status(frozenset({each})))["totals"]]}
        for each in (line.company, company)
    ]
    assert shown == [{1}, {0}]
