"""A partner some of whose attempts fail by chance, and one that is down for hours; hours pass in moments."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import func, select, update

from backend.models import deliveries, delivery_attempts, destinations
from simulator.faults import Fault
from tests.services.line import Line
from tests.worlds import World

SHARE = 0.13  # of the attempts
KINDS = ("status", "reset", "hang")  # 500, a closed connection, no answer before the deadline
DEADLINE = 1.0  # seconds, the shortest there is: the one thing here that takes real time
STEP = timedelta(minutes=1)  # what becomes due within it is tried together
LONGEST = timedelta(days=8)  # of the moved clock; ten attempts span less than four days, held times included


@dataclass(slots=True)
class Chance(Fault):
    """A fault that takes `share` of the requests, by `luck`."""

    share: float = 0.0
    luck: random.Random = field(default_factory=random.Random)

    def takes(self, path: str) -> bool:
        """Draw."""
        return self.match in path and self.luck.random() < self.share


def faults(share: float, luck: random.Random) -> list[Fault]:
    """Return faults that take `share` of the requests together, each kind as often as the others."""
    rest, made = 1.0, list[Fault]()
    for kind in KINDS:
        part = share / len(KINDS)
        made.append(Chance(kind, match="/hook/", seconds=2 * DEADLINE, share=part / rest, luck=luck))
        rest -= part
    return made


@dataclass(frozen=True, slots=True)
class Tally:
    """What became of the carts. `by_attempt`: how many deliveries succeeded at which attempt."""

    carts: int
    arrived: int
    doubled: int
    dead: int
    failed_attempts: int
    attempts: int
    by_attempt: dict[int, int]
    took: timedelta  # by the moved clock

    @property
    def share_arrived(self) -> float:
        """Which share of the carts took effect."""
        return self.arrived / self.carts


def impatient(world: World) -> None:
    """Let a world's deliveries time out as soon as may be, and many be in the air."""
    world.settings = world.settings.model_copy(
        update={"delivery_deadline_seconds": DEADLINE, "destination_in_flight": 64}
    )


async def owe(line: Line, count: int, first: int = 0) -> None:
    """Let carts be left in the store and become abandoned, so that the partner is owed one message for each."""
    async with line.world.database.work() as tx:
        await tx.execute(update(destinations).values(max_carts_per_payload=1))
    for number in range(first, first + count):
        line.add(f"c{number:06}", number % 60 / 60)
    await line.engine.poller.start(30)
    while await line.engine.poller.ring("polls"):
        pass
    line.clock.move(minutes=45)
    while await line.engine.poller.ring("sweep"):
        pass


async def let_time_pass(line: Line, longest: timedelta = LONGEST) -> timedelta:
    """Deliver what is due and move the clock to what is due next, until nothing is owed or `longest` has passed.

    Returns how far the clock was moved.
    """
    began = line.clock.now()
    while True:
        while await line.engine.poller.ring("deliveries"):
            pass
        due = await _next_due(line)
        if due is None or line.clock.now() - began >= longest:
            return line.clock.now() - began
        line.clock.at = max(due, line.clock.now() + STEP)


async def _next_due(line: Line) -> datetime | None:
    """Return when a delivery may be tried again; None when none is owed."""
    owed = select(func.min(deliveries.c.next_attempt_at)).where(deliveries.c.state == "pending")
    async with line.world.database.overview() as tx:
        due: datetime | None = (await tx.execute(owed)).scalar_one()
        until: datetime | None = (await tx.execute(select(func.max(destinations.c.held_until)))).scalar_one()
    return due if due is None or until is None else max(due, until)


async def taken(line: Line, carts: int, took: timedelta) -> Tally:
    """Count what became of the carts."""
    rows = await line.rows(deliveries)
    made = await line.rows(delivery_attempts)
    report = line.partner.hook("p").report()
    return Tally(
        carts=carts,
        arrived=len(set(line.effects())),
        doubled=report["doubled_effects"] + len(line.effects()) - len(set(line.effects())),
        dead=sum(row.state == "dead" for row in rows),
        failed_attempts=sum(row.outcome != "delivered" for row in made),
        attempts=len(made),
        by_attempt=dict(sorted(Counter(row.attempts for row in rows if row.state == "delivered").items())),
        took=took,
    )
