"""A partner that fails now and then, or for a day, gets every cart in the end."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta

import pytest
import structlog

from simulator.faults import Fault
from tests.e2e.flaky import SHARE, faults, impatient, let_time_pass, owe, taken
from tests.services.line import Line, running_line
from tests.worlds import World

CARTS = 60
OUTAGE = timedelta(hours=24)


@pytest.fixture(autouse=True)
def quiet_log() -> Iterator[None]:
    with structlog.testing.capture_logs():
        yield


@pytest.fixture
async def line(world: World) -> AsyncIterator[Line]:
    """Return a line whose partner is owed one message for each of some carts."""
    impatient(world)
    async with running_line(world) as started:
        await owe(started, CARTS)
        yield started


async def test_carts_arrive_though_an_eighth_of_the_attempts_fails(line: Line) -> None:
    line.partner.faults = faults(SHARE, random.Random(1))
    tally = await taken(line, CARTS, await let_time_pass(line))
    assert tally.failed_attempts > 0
    assert (tally.arrived, tally.doubled, tally.dead) == (CARTS, 0, 0)


async def test_every_cart_arrives_once_a_partner_is_back_after_a_day(line: Line) -> None:
    outage: Fault = line.partner.inject("status", times=1_000_000, status=500, match="/hook/")
    took = await let_time_pass(line, OUTAGE)
    assert line.effects() == []
    outage.times = 0
    tally = await taken(line, CARTS, took + await let_time_pass(line))
    assert (tally.arrived, tally.doubled, tally.dead) == (CARTS, 0, 0)
