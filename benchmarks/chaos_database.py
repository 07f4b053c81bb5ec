"""The database goes away under load: the server is stopped at once and started again, connections are cut off."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import asdict
from functools import partial

from benchmarks.chaos_course import Course, Outcome
from benchmarks.chaos_recovery import Recoveries, fed, spread
from benchmarks.storm import Progress
from benchmarks.storm_account import take_account
from benchmarks.storm_crew import tick_workers
from benchmarks.storm_world import Size, StormWorld, storm_world

WORKERS = 4
SIZE = Size(stores=6, companies=6, platforms=("custom",), interval=2, lease=3.0)
RATE = 6.0  # new carts a second
AWAY = (0.2, 2.0)  # seconds that the server is away, by chance
PAUSE = (0.2, 1.0)  # seconds between a recovery and the next fault, by chance
LIMIT = 120.0  # seconds after the last fault
STOP, CUT = "database stopped at once", "connection cut in mid-transaction"
HEADINGS = (
    "fault",
    "times",
    "carts meanwhile",
    "lost",
    "doubled in effect",
    "messages",
    "came again",
    "longest wait of a due row, s (median, longest)",
    "other faults",
)
LEGEND = """The stop is that of `pg_ctl -m immediate`: nothing is finished or written down, the next start recovers
from the log. A connection is cut by the server in the middle of a transaction of a worker. New carts keep coming
meanwhile. Longest wait: from the fault, the time included in which the server was away, until no row was left that had
been due when it struck: deliveries, carts to be looked at, stores to be polled. Messages may come again when the server
went away between the answer and its commit; the partner dedupes them by id."""


async def run(course: Course) -> Outcome:
    """Let both faults strike in turns and take account."""
    plan = [STOP] * course.pick(3, 20) + [CUT] * course.pick(6, 50)
    luck = course.luck("database")
    luck.shuffle(plan)
    setting = f"{WORKERS} workers, lease {SIZE.lease:g} s, {SIZE.stores} stores, {RATE:g} new carts a second"
    outcome = Outcome("The database goes away", setting, HEADINGS, LEGEND)
    async with storm_world(course, SIZE) as world:
        recoveries = Recoveries(world)
        strikes = {STOP: partial(_stop, course, luck), CUT: partial(_cut, course, world)}
        async with tick_workers(world, WORKERS, luck) as crew:
            with course.bar("database", len(plan)) as bar:
                async with fed(world, RATE, luck):
                    for fault in plan:
                        await asyncio.sleep(luck.uniform(*PAUSE))
                        await recoveries.after(fault, strikes[fault])
                        bar.step()
            with course.bar("database, the rest", len(world.expected)) as bar:
                await Progress(world, time.perf_counter() + LIMIT, bar).finishes()
            faults = await crew.end()
        account = await take_account(world)
    times = recoveries.by_fault()
    common = (account.carts, account.lost, account.doubled, account.messages, account.repeated)
    outcome.violations = account.violations + faults
    for fault, taken in times.items():
        row = [fault, len(taken), *common, spread(taken), len(account.violations + faults)]
        outcome.rows.append([str(cell) for cell in row])
    outcome.raw = [*(asdict(each) for each in recoveries.made), asdict(account)]
    outcome.recoveries = times
    return outcome


async def _stop(course: Course, luck: random.Random) -> None:
    """Stop the server at once, and start it again a moment later."""
    postgres = course.databases.postgres
    await asyncio.to_thread(postgres.stop_at_once)
    await asyncio.sleep(luck.uniform(*AWAY))
    postgres.start()
    await asyncio.to_thread(postgres.wait)


async def _cut(course: Course, world: StormWorld) -> None:
    """Cut a connection off, as soon as one is in a transaction. Raises `TimeoutError` when none ever is."""
    deadline = time.monotonic() + LIMIT
    while not await asyncio.to_thread(course.databases.postgres.terminate_one, world.database):
        if time.monotonic() > deadline:
            raise TimeoutError("no connection was in a transaction")
        await asyncio.sleep(0.02)
