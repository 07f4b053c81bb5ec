"""The kill storm: many stores, four workers, and kill -9 at random moments to any of them."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.chaos_course import Bar, Course, Outcome
from benchmarks.storm_account import Account, Hands, take_account
from benchmarks.storm_crew import Crew, Replacements, tick_workers
from benchmarks.storm_fleet import celery_workers
from benchmarks.storm_world import Size, StormWorld, storm_world

WORKERS = 4
LOOK_EVERY = 0.2  # seconds
FIRST, LAST = 0.02, 0.9  # of the whole work: between these the kills are spread by chance
AFTER = 0.3  # seconds at most from that point to the kill
SHORT = Size(carts=3_000, stores=60, companies=20)
LONG = Size(carts=100_000, stores=1_000, companies=125, interval=30, lease=10.0)
SHORT_LIMIT, LONG_LIMIT = 240.0, 3 * 3600.0  # seconds

HEADINGS = (
    "rung by",
    "carts",
    "stores",
    "companies",
    "kills",
    "lost",
    "doubled in effect",
    "messages",
    "came again",
    "in dead workers' hands",
    "in all hands",
    "unexplained",
    "other faults",
    "seconds",
)
LEGEND = """Lost: carts of the stores that never took effect at the partner. Doubled in effect: carts that took effect
twice, under whatever id. Came again: messages the partner got once more, under the same id. In dead workers' hands:
messages that the killed workers had claimed and not settled, from the database right after each kill; only those may
come again, each at most as often as it was in a dead worker's hand (more often: unexplained). In all hands: the same of
all workers at those moments. The stores are of all three platforms; they and the partner, which verifies each signature
and dedupes by a journal, are processes of their own."""

# Starts workers of a world; the random numbers choose whom to kill.
Crewed = Callable[[StormWorld, int, random.Random], AbstractAsyncContextManager[Crew]]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a world's work is: every cart is stored, and every cart has arrived."""

    world: StormWorld
    limit: float  # perf_counter
    bar: Bar

    async def reaches(self, share: float) -> None:
        """Wait until so much is done."""
        whole = len(self.world.expected)
        while True:
            stored = min(await self.world.eye.one("SELECT count(*) FROM carts"), whole)
            arrived = await self.world.arrived()
            self.bar.to(arrived)
            if stored + arrived >= share * 2 * whole:
                return
            await self._pause()

    async def finishes(self) -> None:
        """Wait until every cart has arrived and nothing is pending, and each store was polled once more."""
        await self.reaches(1.0)
        await self._until(self._nothing_is_pending)
        before = await self._polls()

        async def polled_again() -> bool:
            now = await self._polls()
            return all(now[store] > polls for store, polls in before.items())

        await self._until(polled_again)
        await self._until(self._nothing_is_pending)

    async def _until(self, holds: Callable[[], Awaitable[bool]]) -> None:
        while not await holds():
            await self._pause()

    async def _pause(self) -> None:
        if time.perf_counter() > self.limit:
            raise TimeoutError("the work did not end in time")
        await asyncio.sleep(LOOK_EVERY)

    async def _nothing_is_pending(self) -> bool:
        return not await self.world.eye.one("SELECT count(*) FROM deliveries WHERE state = 'pending'")

    async def _polls(self) -> dict[str, int]:
        return {row["id"]: row["polls"] for row in await self.world.eye.rows("SELECT id, polls FROM integrations")}


async def run(course: Course) -> Outcome:
    """Make the storm with workers that are rung by their own ticks."""
    return await storm(course, "ticks", tick_workers)


async def run_celery(course: Course) -> Outcome:
    """Make the storm with a fleet: Celery workers that beat rings through Redis."""
    return await storm(course, "Celery and Redis", celery_workers)


async def storm(course: Course, bell: str, crewed: Crewed) -> Outcome:
    """Make one storm and return its table of one row."""
    size, kills = (LONG, 50) if course.is_long else (SHORT, 8)
    setting = f"{WORKERS} workers on PostgreSQL, lease {size.lease:g} s, stores polled every {size.interval} s"
    outcome = Outcome(f"Kill storm, rung by {bell}", setting, HEADINGS, LEGEND)
    async with storm_world(course, size) as world:
        began = time.perf_counter()
        account = await survive(course, world, crewed, bell, kills)
        seconds = time.perf_counter() - began
    outcome.rows.append(row(bell, size, kills, account, seconds))
    facts: dict[str, Any] = {"bell": bell, **asdict(size), "kills": kills, **asdict(account), "seconds": seconds}
    outcome.raw.append(facts)
    outcome.violations += account.violations
    return outcome


async def survive(course: Course, world: StormWorld, crewed: Crewed, bell: str, kills: int) -> Account:
    """Let workers work while some of them are killed; take account."""
    luck = course.luck(f"storm {bell}")
    moments = sorted(luck.uniform(FIRST, LAST) for _ in range(kills))
    limit = time.perf_counter() + (LONG_LIMIT if course.is_long else SHORT_LIMIT)
    hands, faults = Hands(world.eye, world.size.lease), list[str]()
    with course.bar(f"storm, {bell}", len(world.expected)) as bar:
        progress = Progress(world, limit, bar)
        async with crewed(world, WORKERS, luck) as crew:
            coming = Replacements(crew, luck)
            try:
                for moment in moments:
                    await progress.reaches(moment)
                    await asyncio.sleep(luck.uniform(0, AFTER))
                    await crew.kill_one()
                    await hands.note()
                    coming.one()
                await coming.all_there()
                await progress.finishes()
            except TimeoutError as error:
                faults.append(str(error))
            faults += await crew.end()
            account = await take_account(world, hands)
            account.violations += faults
            account.warnings = crew.warnings() if account.violations else []
    return account


def row(bell: str, size: Size, kills: int, account: Account, seconds: float) -> list[str]:
    """Return the storm's row of the table."""
    figures = (len_of(size), size.stores, size.companies, kills, account.lost, account.doubled, account.messages)
    more = (account.repeated, account.in_hand, account.in_hand_of_all, account.unexplained, len(account.violations))
    return [bell, *(f"{figure:,}" for figure in (*figures, *more)), f"{seconds:.0f}"]


def len_of(size: Size) -> int:
    """Return how many carts the stores of a world hold."""
    return size.each * size.stores
