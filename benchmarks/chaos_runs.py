"""The runs of `make chaos`: what is killed when, and what came of it."""

from __future__ import annotations

import argparse
import asyncio
import itertools
import random
import secrets
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from backend.db import upgrade_database
from benchmarks.chaos_report import TWO_WORKERS, Run, Series, page, raw
from benchmarks.servers import ROOT
from tests.databases import PostgresServer, copy_sqlite, running_postgres
from tests.e2e.killing import MOMENTS, kill_at, kill_one_of_two
from tests.e2e.processes import victims
from tests.e2e.scene import Account, set_up
from tests.worlds import opened_world

CARTS, MORE_CARTS = 10, 60  # in each of the two stores; the second for the runs with two workers


@dataclass(frozen=True, slots=True)
class Task:
    """One run to be made."""

    database: str
    moment: str
    number: int


class Databases:
    """Fresh migrated databases of both kinds."""

    def __init__(self, server: PostgresServer, folder: Path) -> None:
        self._server = server
        self._folder = folder
        self._numbers = itertools.count()
        self._postgresql = server.create()
        self._sqlite = folder / "template.db"
        upgrade_database(server.url(self._postgresql))
        upgrade_database(f"sqlite+aiosqlite:///{self._sqlite}")

    @asynccontextmanager
    async def fresh(self, kind: str) -> AsyncIterator[str]:
        """Give the URL of a new database while the block lasts."""
        if kind == "sqlite":
            folder = self._folder / str(next(self._numbers))
            folder.mkdir()
            yield await asyncio.to_thread(copy_sqlite, self._sqlite, folder / "carts.db")
            return
        name = await asyncio.to_thread(self._server.create, self._postgresql)
        try:
            yield self._server.url(name)
        finally:
            await asyncio.to_thread(self._server.drop, name)

    @property
    def postgresql_version(self) -> str:
        """The server's version."""
        return self._server.execute("SHOW server_version").split()[0]


@contextmanager
def databases() -> Iterator[Databases]:
    """Start the server and migrate the templates."""
    with running_postgres() as server, tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        yield Databases(server, Path(folder))


async def make_run(task: Task, found: Databases, seed: int) -> Run:
    """Make one run; whatever goes wrong is a fault of it."""
    luck = random.Random(f"{seed} {task.database} {task.moment} {task.number}")
    nth = luck.randint(1, MOMENTS[task.moment]) if task.moment in MOMENTS else 0
    try:
        async with found.fresh(task.database) as url, opened_world(url) as world:
            count = CARTS if nth else MORE_CARTS
            async with set_up(world, count) as scene, victims() as started:
                made = kill_at(scene, started, task.moment, nth) if nth else kill_one_of_two(scene, started, luck)
                account = await made
    except Exception as error:  # noqa: BLE001  one failed run must not end the series; it is told in the table
        account = Account(faults=[f"{type(error).__name__}: {error}"])
    return Run(task.database, task.moment, task.number, nth, account)


async def make_runs(
    tasks: Sequence[Task], found: Databases, options: argparse.Namespace, console: Console
) -> list[Run]:
    """Make all runs, a few side by side, as each mostly waits for a lease to run out."""
    runs: list[Run] = []
    slots = asyncio.Semaphore(options.side_by_side)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task("runs", total=len(tasks))

        async def one(task: Task) -> None:
            async with slots:
                run = await make_run(task, found, options.seed)
            runs.append(run)
            progress.update(bar, advance=1, description=f"{task.database}, {task.moment}")
            if run.is_bad or (not console.is_terminal and len(runs) % 10 == 0):
                console.print(f"{len(runs)} of {len(tasks)} runs; last: {run.told()}", highlight=False)

        await asyncio.gather(*(one(task) for task in tasks))
    return runs


def read_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chaos", description="Kill workers and take account.")
    parser.add_argument("--runs", type=int, default=20, help="of each moment on each database")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000), help="repeats a series")
    parser.add_argument("--database", choices=["sqlite", "postgresql"], action="append", help="only this one")
    parser.add_argument("--moment", choices=[*MOMENTS, TWO_WORKERS], action="append", help="only this one")
    parser.add_argument("--side-by-side", type=int, default=3, help="runs at the same time")
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results")
    return parser.parse_args(arguments)


def main() -> int:
    """Make the runs, print and keep their table; 0 when nothing was lost, doubled or otherwise wrong."""
    options, console = read_options(), Console()
    console.print(f"seed {options.seed}", highlight=False)
    tasks = [
        Task(database, moment, number)
        for number in range(options.runs)
        for database in options.database or ["sqlite", "postgresql"]
        for moment in options.moment or [*MOMENTS, TWO_WORKERS]
    ]
    with databases() as found:
        runs = asyncio.run(make_runs(tasks, found, options, console))
        series = Series(options.seed, options.runs, options.side_by_side, found.postgresql_version)
    text = page(runs, series)
    options.results.mkdir(parents=True, exist_ok=True)
    kept: Path = options.results / f"chaos-{series.date}.md"
    kept.write_text(text)
    kept.with_suffix(".jsonl").write_text(raw(runs))
    sys.stdout.write(f"{text}\nkept in {kept.relative_to(ROOT) if kept.is_relative_to(ROOT) else kept}\n")
    return int(any(run.is_bad for run in runs))
