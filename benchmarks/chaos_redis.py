"""Redis is emptied and killed under a Celery fleet, again and again: nothing is lost, no store is asked too often."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import asdict

from benchmarks.chaos_course import Course, Outcome
from benchmarks.chaos_recovery import Recoveries, fed, spread
from benchmarks.storm import Progress
from benchmarks.storm_account import take_account
from benchmarks.storm_fleet import RedisServer, fleet, redis_server
from benchmarks.storm_world import Size, storm_world

WORKERS = 3
ALLOWED = 2  # requests a second, and as many at once
SIZE = Size(stores=6, companies=6, platforms=("custom",), interval=2, lease=3.0, sharers=2, per_second=ALLOWED, page=10)
RATE = 3.0  # new carts a second, each for two companies
AWAY = (0.2, 2.0)  # seconds that Redis is away, by chance
PAUSE = (0.5, 2.0)  # seconds between a recovery and the next kill, by chance
LIMIT = 150.0  # seconds after the last kill
KILLED = "Redis emptied and killed"
HEADINGS = (
    "kills",
    "carts meanwhile",
    "lost",
    "doubled in effect",
    "messages",
    "came again",
    "most requests a store got in a second",
    "its limit",
    "longest wait of a due row, s (median, longest)",
    "other faults",
)
LEGEND = f"""Redis holds Celery's messages and the stores' rate budgets, and keeps nothing on disk: FLUSHALL, SIGKILL,
and an empty one on the same port after {AWAY[0]:g} to {AWAY[1]:g} s. Each store is used by two companies, so its budget
is shared by the workers: {ALLOWED} requests a second, {ALLOWED} at once, so at most {2 * ALLOWED} within any one
second, counted by the store itself. Longest wait: from the kill until no row was left that had been due then."""


async def run(course: Course) -> Outcome:
    """Kill Redis and take account."""
    kills, luck = course.pick(4, 20), course.luck("redis")
    async with storm_world(course, SIZE) as world, redis_server(world.folder) as server:
        setting = (
            f"Redis {server.version}, {WORKERS} Celery workers and beat, {SIZE.stores} stores, {RATE:g} carts a second"
        )
        outcome = Outcome("Redis goes away", setting, HEADINGS, LEGEND)
        recoveries, killed_at = Recoveries(world), list[float]()
        async with fleet(world, server, WORKERS, luck) as crew:
            with course.bar("redis", kills) as bar:
                async with fed(world, RATE, luck):
                    for _ in range(kills):
                        await asyncio.sleep(luck.uniform(*PAUSE))
                        await recoveries.after(KILLED, lambda: _kill(server, luck, killed_at))
                        bar.step()
            with course.bar("redis, the rest", len(world.expected)) as bar:
                await Progress(world, time.perf_counter() + LIMIT, bar).finishes()
            faults = await crew.end()
        account = await take_account(world)
        rates = await world.ask(world.stores["custom"], "rates")
        highest = rates["highest"]
    times = recoveries.by_fault()
    if highest > 2 * ALLOWED:
        faults.append(f"a store got {highest} requests within a second, its limit is {2 * ALLOWED}")
    if account.repeated:
        faults.append(f"{account.repeated} messages came again though no worker was killed")
    outcome.violations = account.violations + faults
    figures = [kills, account.carts, account.lost, account.doubled, account.messages, account.repeated]
    more = [highest, 2 * ALLOWED, spread(times.get(KILLED, [])), len(account.violations + faults)]
    outcome.rows.append([str(each) for each in (*figures, *more)])
    outcome.raw = [*(asdict(each) for each in recoveries.made), {**asdict(account), "rates": rates, "kills": killed_at}]
    outcome.recoveries = times
    return outcome


async def _kill(server: RedisServer, luck: random.Random, killed_at: list[float]) -> None:
    killed_at.append(round(time.time(), 3))
    await asyncio.to_thread(server.flush_and_kill)
    await asyncio.sleep(luck.uniform(*AWAY))
    server.start()
    await asyncio.to_thread(server.wait)
