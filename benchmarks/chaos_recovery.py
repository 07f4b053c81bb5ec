"""Load that goes on while things break, and how long any due row waits after each break."""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from benchmarks.chaos_course import Outcome
from benchmarks.storm_world import StormWorld

LOOK_EVERY = 0.1  # seconds
FEED_EVERY = 0.25  # seconds
STUCK = 120.0  # seconds that nothing may wait
DAY = 86_400.0
WANTED = 0.997  # availability
HEADINGS = ("fault", "times", "recovered after, s, median", "longest", "availability at one a day", "seed")
LEGEND = f"""Recovered: nothing was left that had been due when the fault struck, while new work came.
One fault of each kind a day, each taking its longest time and counted as an outage of everything; wanted are
{WANTED:.1%}, which is {DAY * (1 - WANTED):.0f} s a day."""


@dataclass(slots=True)
class Recovery:
    """One fault, and how long it took until nothing was left that had been due when it struck."""

    fault: str
    at: float  # seconds since the beginning
    seconds: float = 0.0


@dataclass(slots=True)
class Recoveries:
    """Watches the due rows after each fault. Nothing may wait for over two minutes."""

    world: StormWorld
    began: float = field(default_factory=time.perf_counter)
    made: list[Recovery] = field(default_factory=list)

    async def after(self, fault: str, strike: Callable[[], Awaitable[None]]) -> Recovery:
        """Let a fault strike and wait until all that had been due is done; raises `TimeoutError` when that is stuck.

        The time counts from the strike and so holds the time that, for example, the server was away.
        """
        struck_at, began = datetime.now(UTC), time.perf_counter()
        found = Recovery(fault, began - self.began)
        self.made.append(found)
        await strike()
        while time.perf_counter() - began < STUCK:
            oldest = await self.world.eye.oldest_due()
            if oldest is None or oldest > struck_at:
                break
            await asyncio.sleep(LOOK_EVERY)
        found.seconds = time.perf_counter() - began
        if found.seconds >= STUCK:
            raise TimeoutError(f"{fault}: work was stuck for over {STUCK:.0f} s")
        return found

    def by_fault(self) -> dict[str, list[float]]:
        """Return the times by kind of fault."""
        kinds = dict.fromkeys(each.fault for each in self.made)
        return {kind: [each.seconds for each in self.made if each.fault == kind] for kind in kinds}


@asynccontextmanager
async def fed(world: StormWorld, per_second: float, luck: random.Random) -> AsyncIterator[None]:
    """Put new carts into the custom stores at a steady rate while the block lasts."""
    stores = len(range(world.size.platforms.index("custom"), world.size.stores, len(world.size.platforms)))

    async def go_on() -> None:
        began, given = time.perf_counter(), 0
        while True:
            owed = int((time.perf_counter() - began) * per_second) - given
            if owed > 0:
                await world.feed(luck.randrange(stores), owed)
                given += owed
            await asyncio.sleep(FEED_EVERY)

    feeding = asyncio.create_task(go_on())
    try:
        yield
    finally:
        feeding.cancel()
        await asyncio.gather(feeding, return_exceptions=True)
    if not feeding.cancelled() and (error := feeding.exception()) is not None:
        raise error


def availability(recoveries: dict[str, list[float]], seed: int, earlier: Sequence[Mapping[str, Any]]) -> Outcome:
    """Return the table of an installation that each kind of fault strikes once a day, by its longest recovery.

    `earlier` is what is kept of runs before this one; it stands for the kinds of fault that were left out this time.
    """
    outcome = Outcome("Availability", "From the recoveries of each experiment's latest run", HEADINGS, LEGEND)
    fresh = [{"fault": kind, "seconds": times, "seed": seed} for kind, times in recoveries.items()]
    outcome.raw = [*fresh, *(dict(row) for row in earlier if row["fault"] not in recoveries)]
    down = 0.0
    for row in outcome.raw:
        times: list[float] = row["seconds"]
        cells = (str(len(times)), f"{statistics.median(times):.1f}", f"{max(times):.1f}", _percent(max(times)))
        outcome.rows.append([row["fault"], *cells, str(row["seed"])])
        down += max(times)
    outcome.rows.append(["all of them", "", "", f"{down:.1f}", _percent(down), ""])
    if down > DAY * (1 - WANTED):
        outcome.violations.append(f"{_percent(down)} is less than {WANTED:.1%}")
    return outcome


def spread(times: Sequence[float]) -> str:
    """Return median and longest."""
    return f"{statistics.median(times):.1f} ({max(times):.1f})" if times else "-"


def _percent(down: float) -> str:
    return f"{1 - down / DAY:.3%}"
