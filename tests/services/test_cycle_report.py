"""What every cycle is measured by: in its report, in the log, and in the counts that are kept."""

from __future__ import annotations

import pytest
from sqlalchemy import event
from structlog.testing import capture_logs

from backend.models import poll_cycle_counts
from backend.store.work import Lease, PollQueue, Room, Scope
from tests.factories import make_agent, make_destination, make_integration
from tests.services.line import Line


@pytest.fixture
async def busy(line: Line) -> Line:
    """Return a line with a second agent and a second store on another platform, and three abandoned carts."""
    second = await make_agent(line.world, line.company, name="second")
    settings = {"options": {"flavour": "woocommerce", "seed": "sample"}}
    await make_integration(line.world, line.company, second, platform="mock", settings=settings, credentials={})
    await make_destination(
        line.world, line.company, second, f"{line.partner.base_url}/hook/p", line.secret, name="other"
    )
    line.add("c1", minutes_ago=45, total="159.99")
    line.add("c2", minutes_ago=50, total="100.01", currency="EUR")
    line.add("c3", minutes_ago=5)
    return line


async def test_agents_found_are_counted(busy: Line) -> None:
    assert (await busy.run())["agents_found"] == 2


async def test_platforms_processed_are_named(busy: Line) -> None:
    assert (await busy.run())["platforms_processed"] == ["custom", "woocommerce"]


async def test_carts_pulled_are_counted_per_store(busy: Line) -> None:
    report = await busy.run()
    assert {each["platform"]: each["carts_seen"] for each in report["integrations"]} == {"custom": 3, "woocommerce": 3}
    assert report["carts_seen"] == 6


async def test_recovery_value_is_told_per_currency(line: Line) -> None:
    line.add("c1", minutes_ago=45, total="159.99")
    line.add("c2", minutes_ago=50, total="100.01", currency="EUR")
    line.add("c3", minutes_ago=55, total="0.02")
    assert (await line.run())["total_recovery_value"] == {"EUR": 100.01, "USD": 160.01}


async def test_the_share_of_calls_that_succeeded_is_told(line: Line) -> None:
    line.add("c1", minutes_ago=45)
    line.add("c2", minutes_ago=45, currency="EUR")
    line.partner.inject("status", status=500)
    report = await line.run()
    assert (report["deliveries_succeeded"], report["deliveries_failed"]) == (1, 1)
    assert (report["delivery_success_rate"], report["ok"]) == (0.5, False)


async def test_each_stage_is_timed(busy: Line) -> None:
    timings = (await busy.run())["timings_ms"]
    assert set(timings) == {"total", "poll", "fetch", "save", "deliver"}
    assert timings["fetch"] > 0
    assert timings["save"] > 0


async def test_the_counts_of_a_cycle_are_kept(busy: Line) -> None:
    report = await busy.run()
    kept = await busy.rows(poll_cycle_counts, poll_cycle_counts.c.cycle_id == report["cycle_id"])
    assert sum(row.carts_new for row in kept) == report["carts_new"] == 6


async def test_each_stage_writes_one_line_with_the_cycle_s_figures(line: Line) -> None:
    line.add("c1", minutes_ago=45)
    with capture_logs() as lines:
        report = await line.run()
    told = {each["event"]: each for each in lines}
    assert {"poll.finished", "delivery.attempted", "cycle.finished"} <= set(told)
    assert told["poll.finished"]["cycle_id"] == told["cycle.finished"]["cycle_id"] == report["cycle_id"]
    assert told["cycle.finished"]["agents_found"] == 1


async def test_agents_and_integrations_come_in_one_query(busy: Line) -> None:
    asked: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        asked.append(statement)

    engine = busy.base.database.engine.sync_engine
    event.listen(engine, "before_cursor_execute", note)
    scope = Scope("ecommerce-abandoned-cart", ("custom",))
    async with busy.base.database.work() as tx:
        asked.clear()
        claimed = await PollQueue(tx).claim_each(scope, Lease(busy.clock.now(), 10), Room(50, 50), after="")
    event.remove(engine, "before_cursor_execute", note)
    statements = [each for each in asked if each.lstrip().upper().startswith(("SELECT", "UPDATE", "WITH"))]
    assert (len(claimed), len(statements)) == (2, 2)  # the claim, and what it claimed with agent and company
