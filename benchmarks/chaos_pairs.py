"""Two web apps and two workers on one database, all of them with the loops: nothing is done twice."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import asdict

from benchmarks.chaos_course import Course, Outcome
from benchmarks.servers import call
from benchmarks.storm import Progress
from benchmarks.storm_account import Hands, take_account
from benchmarks.storm_crew import tick_workers
from benchmarks.storm_world import Size, storm_world

LEASE = 10.0  # seconds, the default of the product
SHORT = Size(carts=600, stores=24, companies=12, lease=LEASE)
LONG = Size(carts=20_000, stores=240, companies=60, lease=LEASE)
LIMIT = 1_200.0  # seconds
ASK_EVERY = 1.0  # seconds
TEST_ONCE = "abandoned-cart/test-once"
HEADINGS = (
    "processes",
    "carts",
    "lost",
    "doubled in effect",
    "messages",
    "came again",
    "one-off runs meanwhile",
    "other faults",
    "seconds",
)
LEGEND = """Two web apps, which also run the loops, and two workers share one PostgreSQL. Meanwhile both web apps are
told to start polling again, and asked for one-off runs of the whole cycle, again and again and at the same moments.
Nobody is killed, so no message may come again."""


async def run(course: Course) -> Outcome:
    """Let all four work at once and take account."""
    size, luck = LONG if course.is_long else SHORT, course.luck("pairs")
    setting = f"PostgreSQL, lease {size.lease:g} s, {size.stores} stores of all platforms, {size.companies} companies"
    outcome = Outcome("Two web apps and two workers on one database", setting, HEADINGS, LEGEND)
    async with storm_world(course, size) as world, tick_workers(world, 2, luck) as crew:
        began = time.perf_counter()
        webs = [await crew.add_web() for _ in range(2)]
        asking = asyncio.create_task(_ask(webs, size.interval))
        with course.bar("pairs", len(world.expected)) as bar:
            progress = Progress(world, began + LIMIT, bar)
            await progress.reaches(1.0)
            told_off = [f"a web app refused: {asking.exception()}"] if asking.done() else []
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            await progress.finishes()
        seconds = time.perf_counter() - began
        runs = await world.eye.one("SELECT count(*) FROM poll_cycles WHERE kind = 'test_once'")
        faults = told_off + await crew.end()
        account = await take_account(world, Hands(world.eye, size.lease))
        account.warnings = crew.warnings() if account.violations else []
    outcome.violations = account.violations + faults
    figures = (account.carts, account.lost, account.doubled, account.messages, account.repeated, runs)
    cells = (*figures, len(outcome.violations), round(seconds))
    outcome.rows.append(["2 web apps, 2 workers", *(f"{each:,}" for each in cells)])
    outcome.raw.append({**asdict(account), "runs": runs, "seconds": seconds})
    return outcome


async def _ask(webs: Sequence[str], interval: int) -> None:
    """Start polling and run a cycle at both web apps, again and again."""
    while True:
        paths = [f"{web}/polling/{what}" for web in webs for what in (f"start?interval={interval}", TEST_ONCE)]
        await asyncio.gather(*(asyncio.to_thread(call, path, {}) for path in paths))
        await asyncio.sleep(ASK_EVERY)
