"""One of two workers is killed, again and again: how long until its work is picked up by the other one."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.chaos_course import Course, Outcome
from benchmarks.chaos_recovery import Recoveries, fed, spread
from benchmarks.storm import Progress
from benchmarks.storm_account import Hands, take_account
from benchmarks.storm_crew import TickWorkers, tick_workers
from benchmarks.storm_world import Size, StormWorld, storm_world

LEASE = 10.0  # seconds, the default of the product
SIZE = Size(stores=12, companies=12, platforms=("custom",), interval=2, lease=LEASE, per_payload=1)
RATE = 5.0  # new carts a second
SLOW_STORE = SLOW_PARTNER = 1.5  # seconds an answer takes, so that both lanes always have something in hand
BUSY = (1.0, 3.0)  # seconds of work before each kill, by chance
LOOK_EVERY = 0.05  # seconds
LIMIT = 120.0  # seconds after the last kill
MOST_TRIES = 3  # times as many kills as wanted, until one met each lane with work in hand
KILLED = "one of two workers killed"
# What is leased, by lane. `done`: how often it was claimed or ended, so that a claim that is over already shows, too.
LEASED = """
SELECT 'poll' AS lane, id, lease_token AS token, lease_expires_at AS until, polls AS done
FROM integrations WHERE lease_token IS NOT NULL OR id = ANY($1)
UNION ALL
SELECT 'destination', id, lease_token, lease_expires_at, 0
FROM destinations WHERE lease_token IS NOT NULL OR id = ANY($1)
UNION ALL
SELECT 'delivery', id, lease_token, lease_expires_at, attempts
FROM deliveries WHERE lease_token IS NOT NULL OR id = ANY($1)
"""
JUDGED = ("poll", "destination")
HEADINGS = ("what", "kills", "pieces of work", "picked up after, s (median, longest)", "aim", "later than that")
LEGEND = f"""From the kill until another worker held the work, by the database, looked at every {LOOK_EVERY:g} s. A
worker's lease had been renewed up to 0.3 of its time before the kill. The aim is the lease. A worker takes polls, and
destinations with what they are owed. A delivery that was in the dead worker's hands then waits in its destination's
line for its turn, behind a partner that takes {SLOW_PARTNER:g} s an answer: its time is shown and has no aim. Stores
and partner answer slowly, so that there is work in hand; where the killed worker had none of a kind, more are killed.
Two workers, each killed one replaced once its work was picked up."""


@dataclass(slots=True)
class Piece:
    """Something that was leased at the kill. `taken`: seconds until another held it; None as long as nobody does."""

    lane: str
    id: str
    token: str
    until: Any
    done: int
    taken: float | None = None
    is_alive: bool = False  # its worker has renewed or settled it since

    def look(self, row: Mapping[str, Any] | None, seconds: float) -> None:
        """Learn from a later look at its row."""
        if self.is_alive or self.taken is not None or row is None:
            return
        if row["token"] == self.token:
            self.is_alive = row["until"] != self.until
        elif row["token"] is not None or (self.lane == "delivery" and row["done"] > self.done):
            self.taken = seconds
        else:
            self.is_alive = True


@dataclass(slots=True)
class Takeovers:
    """The pieces of all kills."""

    pieces: list[Piece] = field(default_factory=list)

    def of(self, lane: str) -> list[float]:
        """Return the times of one lane."""
        return [each.taken for each in self.pieces if each.lane == lane and each.taken is not None]

    def has_all_lanes(self) -> bool:
        """Whether something was measured of each lane."""
        return all(self.of(lane) for lane in JUDGED)

    def left(self) -> list[Piece]:
        """Return what nobody had picked up after twice the lease."""
        return [each for each in self.pieces if each.lane in JUDGED and each.taken is None and not each.is_alive]


async def run(course: Course) -> Outcome:
    """Kill and watch; take account at the end."""
    kills, luck = course.pick(3, 20), course.luck("takeover")
    setting = f"2 workers on PostgreSQL, lease {LEASE:g} s, {SIZE.stores} stores, {RATE:g} new carts a second"
    outcome = Outcome("Takeover after a kill", setting, HEADINGS, LEGEND)
    takeovers = Takeovers()
    async with storm_world(course, SIZE) as world:
        await world.slow_down(stores=SLOW_STORE, partner=SLOW_PARTNER)
        recoveries, hands = Recoveries(world), Hands(world.eye, LEASE)
        async with tick_workers(world, 2, luck) as crew:
            with course.bar("takeover", kills) as bar:
                async with fed(world, RATE, luck):
                    while len(recoveries.made) < kills or not takeovers.has_all_lanes():
                        if len(recoveries.made) == MOST_TRIES * kills:
                            break
                        await _kill(crew, Watch(world, hands, recoveries, takeovers), luck)
                        bar.step()
            with course.bar("takeover, the rest", len(world.expected)) as bar:
                await Progress(world, time.perf_counter() + LIMIT, bar).finishes()
            outcome.violations += await crew.end()
            account = await take_account(world, hands)
            account.warnings = crew.warnings() if account.violations else []
    outcome.violations += account.violations
    outcome.rows = [_row(lane, len(recoveries.made), takeovers.of(lane)) for lane in (*JUDGED, "delivery")]
    if left := takeovers.left():
        outcome.violations.append(f"{len(left)} pieces were not picked up within {2 * LEASE:g} s")
    if course.is_long:  # a few kills beside whatever else a machine does say little of time
        outcome.violations += [fault for lane in JUDGED for fault in _too_late(lane, takeovers.of(lane))]
    outcome.raw = [{"lane": each.lane, "seconds": each.taken} for each in takeovers.pieces if each.taken is not None]
    outcome.raw.append(asdict(account))
    outcome.recoveries = recoveries.by_fault()
    return outcome


@dataclass(frozen=True, slots=True)
class Watch:
    """What is noted of a kill."""

    world: StormWorld
    hands: Hands
    recoveries: Recoveries
    takeovers: Takeovers


async def _kill(crew: TickWorkers, watch: Watch, luck: random.Random) -> None:
    await asyncio.sleep(luck.uniform(*BUSY))

    async def strike() -> None:
        await crew.kill_one()
        began = time.perf_counter()
        await watch.hands.note()
        rows = await watch.world.eye.rows(LEASED, [])
        pieces = [Piece(row["lane"], row["id"], row["token"], row["until"], row["done"]) for row in rows]
        await follow(watch.world, pieces, began)
        watch.takeovers.pieces += pieces

    await watch.recoveries.after(KILLED, strike)
    await crew.replace_one()


async def follow(world: StormWorld, pieces: Sequence[Piece], began: float) -> None:
    """Look at the pieces until each was renewed, settled or taken over; at most twice the lease."""
    while time.perf_counter() - began < 2 * LEASE:
        open_ones = [each for each in pieces if each.taken is None and not each.is_alive]
        if not open_ones:
            return
        rows = {row["id"]: row for row in await world.eye.rows(LEASED, [each.id for each in open_ones])}
        for each in open_ones:
            each.look(rows.get(each.id), time.perf_counter() - began)
        await asyncio.sleep(LOOK_EVERY)


def _row(lane: str, kills: int, times: Sequence[float]) -> list[str]:
    aim, late = (f"{LEASE:g}", str(_late(times))) if lane in JUDGED else ("", "")
    return [lane, str(kills), str(len(times)), spread(times), aim, late]


def _late(times: Sequence[float]) -> int:
    return sum(seconds > LEASE for seconds in times)


def _too_late(lane: str, times: Sequence[float]) -> list[str]:
    if not times:
        return [f"no kill met a {lane} in hand: nothing was measured"]
    late = _late(times)
    return [f"{late} of {len(times)} ({lane}) were picked up later than {LEASE:g} s after the kill"] if late else []
