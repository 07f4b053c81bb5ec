"""What tests of budgets stand on: time that passes at once, a claim, and a store that counts what it should not get."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from backend.clock import Clock
from backend.domain.buckets import Rate
from backend.outbound import HttpRequest, HttpResponse
from backend.services.budgets import Spender, Times

START = datetime(2026, 11, 20, 12, tzinfo=UTC)
REQUEST = HttpRequest("GET", "https://shop.example.com/abandoned-carts")
TURNS = 4  # of the event loop, before time moves on


class SetTime(Clock):
    """A clock that stands still until everybody sleeps, and then goes to the first one's waking."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds = 0.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._serial = itertools.count()

    def now(self) -> datetime:
        return START + timedelta(seconds=self.seconds)

    def ticks(self) -> float:
        """Return the seconds since the start."""
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        """Sleep in this clock's time."""
        waking: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.seconds + seconds, next(self._serial), waking))
        await waking

    async def run(self, *work: Coroutine[Any, Any, Any]) -> None:
        """Let all the work come to its end."""
        tasks = [asyncio.ensure_future(one) for one in work]
        while not all(task.done() for task in tasks):
            for _ in range(TURNS):
                await asyncio.sleep(0)
            if self._sleepers:
                self.seconds, _, waking = heapq.heappop(self._sleepers)
                waking.set_result(None)
        for task in tasks:
            task.result()

    @property
    def times(self) -> Times:
        """This clock as budgets take it."""
        return Times(self, self.ticks, self.sleep)


@dataclass
class Claim:
    """A claimed integration, as far as budgets go."""

    company_id: str = "c1"
    platform: str = "custom"
    store_id: str = "shop.example.com"
    settings: dict[str, Any] = field(default_factory=dict)
    claims: int = 1
    budget: dict[str, Any] | None = None


def limited(rate: Rate, **more: Any) -> Claim:
    """Return a claim whose options set this rate."""
    options = {"requests_per_second": rate.per_second, "requests_at_once": int(rate.capacity)}
    return Claim(settings={"options": options}, **more)


async def alone(_work: Spender) -> int:
    """Count one integration of the store."""
    return 1


async def among_eight(_work: Spender) -> int:
    """Count eight integrations of the store."""
    return 8


class CountingStore:
    """A store behind the door: notes when each request came, and answers what it was told to."""

    def __init__(self, clock: SetTime) -> None:
        self._clock = clock
        self.came_at: list[float] = []
        self.answers: list[HttpResponse] = []

    async def send(self, request: HttpRequest) -> HttpResponse:
        self.came_at.append(self._clock.seconds)
        return self.answers.pop(0) if self.answers else answer()


def answer(status: int = 200, body: bytes = b"{}", **headers: str) -> HttpResponse:
    """Return an answer; underscores in names of headers are hyphens."""
    told = {name.replace("_", "-"): value for name, value in headers.items()}
    return HttpResponse(status, told, body, timedelta(0))


def over_limit(came_at: list[float], rate: Rate) -> int:
    """Return how many requests a store with this limit would have refused, by a bucket that is full at the start."""
    level, before, refused = rate.capacity, came_at[0] if came_at else 0.0, 0
    for at in sorted(came_at):
        level = min(level + (at - before) * rate.per_second, rate.capacity)
        before = at
        if level >= 1 - 1e-9:
            level -= 1
        else:
            refused += 1
    return refused
