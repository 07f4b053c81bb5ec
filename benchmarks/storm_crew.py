"""The worker processes of a storm: killed at random and replaced. Rung by their own ticks, or by Celery."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Protocol

from benchmarks.storm_world import StormWorld
from tests.e2e.processes import Victim, Victims, json_lines, victims
from tests.e2e.victim import Orders

REPLACED_AFTER = (0.2, 1.0)  # seconds, at random
SHOWN = 20  # log lines of one event


class Crew(Protocol):
    """Some worker processes."""

    async def kill_one(self) -> None:
        """Kill one of those that are there, with no chance to do anything more."""
        ...

    async def replace_one(self) -> None:
        """Start another one in the place of a killed one."""
        ...

    async def end(self) -> list[str]:
        """Ask all to end in order; return what was wrong with that."""
        ...

    def warnings(self) -> list[dict[str, Any]]:
        """Return what they warned of in their logs, the earliest first."""
        ...


def in_order(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the first of these log lines, by their time; of each event only so many."""
    seen: Counter[str] = Counter()
    kept: list[dict[str, Any]] = []
    for line in sorted(lines, key=lambda line: str(line.get("timestamp", ""))):
        seen[str(line.get("event"))] += 1
        if seen[str(line.get("event"))] <= SHOWN:
            kept.append(line)
    return kept


class TickWorkers:
    """Processes of `backend.worker`, each rung by its own ticks."""

    def __init__(self, world: StormWorld, started: Victims, luck: random.Random) -> None:
        self._orders = Orders(world.settings)
        self._started = started
        self._luck = luck
        self.alive: list[Victim] = []

    async def kill_one(self) -> None:
        """Kill one; waits for one if all are dead."""
        while not self.alive:  # noqa: ASYNC110  another process sets no event of ours
            await asyncio.sleep(0.05)
        await self.alive.pop(self._luck.randrange(len(self.alive))).kill()

    async def replace_one(self) -> None:
        """Start another one."""
        self.alive.append(await self._started.start(self._orders))

    async def add_web(self) -> str:
        """Start one web app with the loops in it; return its address."""
        web = await self._started.start(replace(self._orders, is_web=True))
        self.alive.append(web)
        address: str = await asyncio.to_thread(web.voice.recv)
        return address

    async def end(self) -> list[str]:
        """End all; a worker that does not end in order is a fault."""
        codes = await asyncio.gather(*(worker.end() for worker in self.alive))
        return [f"a worker ended with {code}" for code in codes if code != 0]

    def warnings(self) -> list[dict[str, Any]]:
        """Return what they warned of."""
        return in_order([line for victim in self._started.started for line in json_lines(victim.log)])


@asynccontextmanager
async def tick_workers(world: StormWorld, count: int, luck: random.Random) -> AsyncIterator[TickWorkers]:
    """Start so many workers; kill what is left at the end."""
    async with victims() as started:
        crew = TickWorkers(world, started, luck)
        for _ in range(count):
            await crew.replace_one()
        yield crew


class Replacements:
    """Puts another worker in the place of each killed one, a moment later."""

    def __init__(self, crew: Crew, luck: random.Random) -> None:
        self._crew = crew
        self._luck = luck
        self._coming: set[asyncio.Task[None]] = set()

    def one(self) -> None:
        """Let one come."""
        self._coming.add(asyncio.create_task(self._come()))

    async def _come(self) -> None:
        await asyncio.sleep(self._luck.uniform(*REPLACED_AFTER))
        await self._crew.replace_one()

    async def all_there(self) -> None:
        """Wait until every one has come. Raises what went wrong with one."""
        await asyncio.gather(*self._coming)
