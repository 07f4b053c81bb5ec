"""The table of `make chaos`, and the raw runs beside it."""

from __future__ import annotations

import os
import platform
import sqlite3
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import orjson

from tests.e2e.killing import MOMENTS
from tests.e2e.scene import LEASE, STORES, Account

TWO_WORKERS = "one of two, any time"
PACKAGES = ("sqlalchemy", "asyncpg", "aiosqlite", "aiohttp", "httpx", "apscheduler")


@dataclass(frozen=True, slots=True)
class Run:
    """One run and what it came to. `nth`: at which coming of the moment the worker was killed."""

    database: str
    moment: str
    number: int
    nth: int
    account: Account

    @property
    def is_bad(self) -> bool:
        """Whether something came out that must not."""
        return bool(self.account.lost or self.account.doubled or self.account.faults)

    def told(self) -> str:
        """Return the run in one line."""
        account = self.account
        trouble = f"lost {account.lost}, doubled {account.doubled}, {account.faults}" if self.is_bad else "well"
        return f"{self.database}, {self.moment} ({self.nth}), run {self.number}: {trouble}"


@dataclass(frozen=True, slots=True)
class Series:
    """What all runs have in common."""

    seed: int
    runs: int
    side_by_side: int
    postgresql: str
    load: float = field(default_factory=lambda: os.getloadavg()[1])
    date: str = field(default_factory=lambda: f"{datetime.now(UTC):%Y-%m-%d}")


LEGEND = f"""Lost: carts that never took effect at the partner. Doubled: carts that took effect twice. In flight:
messages that had arrived at the partner and were not yet recorded as delivered at the kill; only those may come again
(repeated), under the same id, which the partner dedupes. Other faults: a bad signature, a cursor ahead of the data, an
abandonment logged twice or not at all, a delivery left over, a run that did not finish. Seconds: from the kill until
everything was delivered, median and longest, the lease of {LEASE:g} s included."""
HEADINGS = (
    "moment of the kill",
    "database",
    "runs",
    "lost",
    "doubled",
    "in flight",
    "repeated",
    "other faults",
    "seconds",
)


def page(runs: Sequence[Run], series: Series) -> str:
    """Return the page that is kept."""
    bad = [f"- {run.told()}" for run in runs if run.is_bad]
    command = f"`python -m benchmarks.chaos --runs {series.runs} --seed {series.seed}`"
    setting = f"{series.side_by_side} side by side; lease {LEASE:g} s; {len(STORES)} stores a run."
    parts = [
        "# kill -9 at every moment of the work",
        f"{series.date}; {command}; {len(runs)} runs, {setting}",
        _machine(series),
        "\n".join(_table(runs)),
        LEGEND,
    ]
    return "\n\n".join(parts + (["Bad runs:", "\n".join(bad)] if bad else [])) + "\n"


def raw(runs: Iterable[Run]) -> str:
    """Return one line of JSON per run."""
    rows = sorted(runs, key=lambda run: (run.database, run.moment, run.number))
    return "".join(orjson.dumps(asdict(run), option=orjson.OPT_APPEND_NEWLINE).decode() for run in rows)


def _table(runs: Sequence[Run]) -> list[str]:
    """Return one row per moment and database, the median and the longest time last."""
    lines = [_line(HEADINGS), _line(["---"] * len(HEADINGS))]
    for moment in sorted({run.moment for run in runs}, key=[*MOMENTS, TWO_WORKERS].index):
        for database in sorted({run.database for run in runs}):
            accounts = [run.account for run in runs if (run.moment, run.database) == (moment, database)]
            if accounts:
                lines.append(_line([moment, database, *_figures(accounts)]))
    return [*lines, _line(["all", "both", *_figures([run.account for run in runs])])]


def _figures(accounts: Sequence[Account]) -> list[str]:
    lists = [sum(len(getattr(each, name)) for each in accounts) for name in ("lost", "doubled", "faults")]
    flying, repeated = sum(each.in_flight for each in accounts), sum(each.repeated for each in accounts)
    times = [each.seconds for each in accounts]
    counts = [len(accounts), lists[0], lists[1], flying, repeated, lists[2]]
    return [*map(str, counts), f"{statistics.median(times):.1f} ({max(times):.1f})"]


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _machine(series: Series) -> str:
    """Return what it ran on; `load` tells whether the machine had anything else to do."""
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    kernel = ".".join(platform.release().split(".")[:2])
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return (
        f"{_processor()}, {os.cpu_count()} cores, {memory:.0f} GB, {platform.system()} {kernel}, load "
        f"{series.load:.1f}; Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, PostgreSQL "
        f"{series.postgresql} (fsync off: processes are killed, not the machine); {packages}."
    )


def _processor() -> str:
    names = Path("/proc/cpuinfo")
    if names.exists():
        for line in names.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()
