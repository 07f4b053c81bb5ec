"""Every named crash point, again and again, on both databases; and workers that stand still past their lease.

Each run is a scene of its own: two simulated stores, a partner that verifies and dedupes, a fresh database, a worker
process that is killed by SIGKILL from outside, and another one that finishes. The nth coming of the moment is drawn
anew for each run.
"""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from benchmarks.chaos_course import Course, Outcome
from tests.e2e.killing import MOMENTS, kill_at, kill_one_of_two
from tests.e2e.processes import Victims, victims
from tests.e2e.scene import LEASE, STORES, Account, Scene, set_up
from tests.e2e.stalling import MOMENTS as STALLED
from tests.e2e.stalling import stall_at
from tests.worlds import opened_world

CARTS, MORE_CARTS = 10, 60  # in each of the two stores; the second for the runs with two workers
SIDE_BY_SIDE = 3  # runs, as each mostly waits for a lease to run out
DATABASES = ("sqlite", "postgresql")
POINTS = {
    "page_fetched": "C1 page fetched, nothing written",
    "before_commit": "C2 rows written, before the commit",
    "after_commit": "C3, C7 committed, before the next step",
    "delivery_claimed": "C4 delivery claimed, before it is sent",
    "bytes_sent": "C5 bytes sent, before the answer",
    "answer_read": "C6 answer read, before its commit",
}
TWO_WORKERS = "one of two workers, any time"
STALL = "SIGSTOP past the lease at "
LEGEND = f"""Lost: carts that never took effect at the partner. Doubled: carts that took effect twice. In hand:
messages that were claimed, or had arrived at the partner, and were not recorded as delivered at the kill; only those
may come again, under the same id, which the partner dedupes. Other faults: a bad signature, a cursor ahead of the data,
an abandonment logged twice or not at all, a delivery left over, a run that did not finish; after SIGSTOP also a row
that the late worker changed once it went on. Seconds: from the kill until everything was delivered, median and longest,
the lease of {LEASE:g} s included. On SQLite the second of two workers stands by."""
HEADINGS = (
    "killed at",
    "database",
    "runs",
    "lost",
    "doubled",
    "in hand",
    "came again",
    "other faults",
    "seconds",
)


@dataclass(frozen=True, slots=True)
class Task:
    """One run to be made."""

    what: str
    database: str
    number: int


@dataclass(frozen=True, slots=True)
class Run:
    """One run and what it came to. `nth`: at which coming of the moment the worker was stopped."""

    task: Task
    nth: int
    account: Account

    @property
    def troubles(self) -> list[str]:
        """What came out that must not, in words."""
        account, task = self.account, self.task
        found = [*account.faults]
        found += [f"lost {account.lost}"] if account.lost else []
        found += [f"doubled {account.doubled}"] if account.doubled else []
        return [f"{task.what} ({self.nth}), {task.database}, run {task.number}: {each}" for each in found]


async def run(course: Course) -> Outcome:
    """Make all runs, a few side by side."""
    whats = [*POINTS, *(f"{STALL}{moment}" for moment in STALLED), TWO_WORKERS]
    tasks = [
        Task(what, database, number)
        for what in whats
        for database in DATABASES
        for number in range(course.pick(1 if what.startswith(STALL) else 2, 20))
    ]
    runs: list[Run] = []
    slots = asyncio.Semaphore(SIDE_BY_SIDE)
    with course.bar("crash points", len(tasks)) as bar:

        async def one(task: Task) -> None:
            async with slots:
                runs.append(await make_run(task, course))
            bar.step()

        await asyncio.gather(*(one(task) for task in tasks))
    setting = f"{len(tasks)} runs, {SIDE_BY_SIDE} side by side; lease {LEASE:g} s; {len(STORES)} stores a run"
    outcome = Outcome("kill -9 at every named moment of the work", setting, HEADINGS, LEGEND)
    outcome.rows = _table(runs, whats)
    outcome.raw = [asdict(each) for each in sorted(runs, key=lambda made: str(made.task))]
    outcome.violations = [trouble for each in runs for trouble in each.troubles]
    return outcome


async def make_run(task: Task, course: Course) -> Run:
    """Make one run; whatever goes wrong is a fault of it."""
    luck = course.luck(f"{task.database} {task.what} {task.number}")
    moment = task.what.removeprefix(STALL)
    nth = luck.randint(1, MOMENTS[moment]) if moment in MOMENTS else 0

    async def carry_out(scene: Scene, started: Victims) -> Account:
        if task.what.startswith(STALL):
            return await stall_at(scene, started, moment, nth)
        return await (kill_at(scene, started, moment, nth) if nth else kill_one_of_two(scene, started, luck))

    try:
        async with (
            course.databases.fresh(task.database) as url,
            opened_world(url) as world,
            set_up(world, CARTS if nth else MORE_CARTS) as scene,
            victims() as started,
        ):
            account = await carry_out(scene, started)
    except Exception as error:  # noqa: BLE001  one failed run must not end the series; it is told in the table
        account = Account(faults=[f"{type(error).__name__}: {error}"])
    return Run(task, nth, account)


def _table(runs: Sequence[Run], whats: Sequence[str]) -> list[list[str]]:
    """Return one row per moment and database, and one of all."""
    rows = []
    for what in whats:
        for database in DATABASES:
            accounts = [each.account for each in runs if (each.task.what, each.task.database) == (what, database)]
            rows.append([_name(what), database, *_figures(accounts)])
    return [*rows, ["all", "both", *_figures([each.account for each in runs])]]


def _name(what: str) -> str:
    moment = what.removeprefix(STALL)
    label = POINTS.get(moment, moment)
    return f"{STALL}{label.partition(' ')[0].rstrip(',')}" if what.startswith(STALL) else label


def _figures(accounts: Sequence[Account]) -> list[str]:
    lost, doubled, faults = (
        sum(len(getattr(each, name)) for each in accounts) for name in ("lost", "doubled", "faults")
    )
    flying, repeated = sum(each.in_flight for each in accounts), sum(each.repeated for each in accounts)
    times = [each.seconds for each in accounts]
    counts = map(str, (len(accounts), lost, doubled, flying, repeated, faults))
    return [*counts, f"{statistics.median(times):.1f} ({max(times):.1f})"]
