"""Work that is cut off: by a lease that was lost, or by a process that died of it again and again."""

from __future__ import annotations

import asyncio
from typing import Any

from sqlalchemy import update

from backend.domain.backoff import MOST_ATTEMPTS
from backend.models import deliveries, integrations
from tests.factories import make_integration
from tests.services.line import Line

SHORT = 0.5  # seconds


async def test_a_store_whose_lease_is_lost_stops_no_other(line: Line) -> None:
    report = await _run_while_the_lease_is_taken(line)
    assert (report["polls_succeeded"], line.effects()) == (1, ["other"])


async def test_a_store_whose_lease_is_lost_is_told_as_such(line: Line) -> None:
    report = await _run_while_the_lease_is_taken(line)
    outcomes = {poll["integration_id"]: poll["outcome"] for poll in report["integrations"]}
    assert outcomes.pop(line.integration) == "lease_lost"
    assert list(outcomes.values()) == ["ok"]


async def test_a_delivery_that_killed_its_process_ten_times_is_given_up_unsent(line: Line) -> None:
    line.add("c1", minutes_ago=45)
    line.partner.inject("status", status=500)
    await line.run()
    async with line.world.database.transaction(line.company) as tx:
        await tx.execute(update(deliveries).values(attempts=MOST_ATTEMPTS))
    line.clock.move(hours=1)
    await line.run()
    [row] = await line.rows(deliveries)
    assert (row.state, row.attempts, row.last_outcome) == ("dead", MOST_ATTEMPTS, "outcome_unknown")
    assert line.effects() == []


async def _run_while_the_lease_is_taken(line: Line) -> dict[str, Any]:
    """Run a cycle over two stores; while the first one dawdles, somebody else gets hold of it."""
    await _add_other_store(line)
    line.add("c1", minutes_ago=45)
    line.store.inject("slow", match="/s0/", seconds=60)
    line.world.settings = line.world.settings.model_copy(update={"lease_seconds": SHORT})
    line.restart()
    running = asyncio.create_task(line.run())
    async with asyncio.timeout(30):
        while not (await _taken_over(line) and await _other_is_done(line)):  # noqa: ASYNC110  rows
            await asyncio.sleep(0.05)
        line.clock.move(seconds=SHORT)  # sooner nobody else can have it
        return await running


async def _add_other_store(line: Line) -> None:
    tenant = line.store.add_tenant("s1")
    where = {"base_url": f"{line.store.base_url}/s1", "allow_http": True}
    await make_integration(line.world, line.company, line.agent, settings=where, credentials={"token": tenant.token})
    line.store.add_cart("s1", "other", line.clock.now())
    line.store.touch("s1", "other", line.clock.now().replace(hour=11))


async def _other_is_done(line: Line) -> bool:
    return bool(await line.rows(integrations, integrations.c.id != line.integration, integrations.c.polls > 0))


async def _taken_over(line: Line) -> bool:
    """Put another's token on the first store once it is leased."""
    c = integrations.c
    async with line.world.database.transaction(line.company) as tx:
        taken = await tx.execute(
            update(integrations)
            .where(c.id == line.integration, c.lease_token.is_not(None))
            .values(lease_token="another")
        )
    return bool(taken.rowcount)
