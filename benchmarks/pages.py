"""The page that a measurement leaves behind: its table, what was to be reached, what it ran on, and the raw figures."""

from __future__ import annotations

import argparse
import math
import os
import platform
import sqlite3
import statistics
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import orjson

from benchmarks.servers import ROOT

RESULTS = ROOT / "benchmarks" / "results"
PACKAGES = ("sqlalchemy", "asyncpg", "aiosqlite", "aiohttp", "httpx", "apscheduler", "uvloop", "orjson")


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was to be reached, with what was found, in words. A figure is not judged in the short form."""

    words: str
    found: str
    is_met: bool
    is_figure: bool = False


@dataclass(slots=True)
class Page:
    """One measurement. `name` is the file's, `raw` one dictionary per run, `notes` what a reader must know."""

    name: str
    title: str
    setting: str
    headings: Sequence[str]
    rows: list[Sequence[object]] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    notes: str = ""
    raw: list[dict[str, Any]] = field(default_factory=list)
    load: float = field(default_factory=lambda: os.getloadavg()[1])

    def text(self) -> str:
        """Return the page as Markdown."""
        began = f"{datetime.now(UTC):%Y-%m-%d}; `{_command()}`; {self.setting}."
        parts = [f"# {self.title}", began, machine(self.load), "\n".join(self._table())]
        if self.checks:
            parts.append("\n".join(f"- {_word(check)}: {check.words}; {check.found}" for check in self.checks))
        return "\n\n".join([*parts, self.notes] if self.notes else parts) + "\n"

    def keep(self, options: argparse.Namespace) -> int:
        """Write the page and the raw figures, print it, and return the exit code: 1 if something was not reached.

        The short form is too short for figures to decide: there only the rest does.

        `options` has `results`, the folder, and `short`.
        """
        folder: Path = options.results
        folder.mkdir(parents=True, exist_ok=True)
        kind = "-short" if options.short else ""
        kept = folder / f"{self.name}{kind}-{datetime.now(UTC):%Y-%m-%d}.md"
        text = self.text()
        kept.write_text(text)
        kept.with_suffix(".jsonl").write_bytes(b"".join(map(_raw_line, self.raw)))
        sys.stdout.write(f"{text}\nkept in {kept.relative_to(ROOT) if kept.is_relative_to(ROOT) else kept}\n")
        return int(not all(check.is_met for check in self.checks if not (check.is_figure and options.short)))

    def _table(self) -> list[str]:
        return [_line(self.headings), _line(["---"] * len(self.headings)), *(_line(row) for row in self.rows)]


def add_options(parser: argparse.ArgumentParser, *, repeats: int) -> None:
    """Add the options that every measurement has."""
    parser.add_argument("--short", action="store_true", help="a small form, to see that all works: figures mean little")
    parser.add_argument("--repeats", type=int, help=f"runs of each side, in turn; {repeats}, or 1 with --short")
    parser.add_argument("--seed", type=int, default=1, help="what chance is drawn from")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder that keeps the page")
    parser.set_defaults(usual_repeats=repeats)


def read_options(parser: argparse.ArgumentParser, short: dict[str, Any], arguments: Sequence[str] | None = None) -> Any:
    """Read the command line; with --short, `short` replaces the defaults of what was not given."""
    first = parser.parse_args(arguments)
    if first.short:
        parser.set_defaults(**short)
    options = parser.parse_args(arguments)
    if options.repeats is None:
        options.repeats = 1 if options.short else options.usual_repeats
    return options


def told(words: str) -> None:
    """Say how far it is, at once."""
    print(f"{datetime.now(UTC):%H:%M:%S} {words}", file=sys.stderr, flush=True)


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Return the median and, in brackets, the least and the greatest where there are several."""
    middle = f"{statistics.median(values):,.{digits}f}"
    return f"{middle} ({min(values):,.{digits}f} to {max(values):,.{digits}f})" if len(values) > 1 else middle


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least `share` of all are not above; infinity when there are none."""
    ordered = sorted(values)
    return ordered[max(math.ceil(len(ordered) * share) - 1, 0)] if ordered else math.inf


def machine(load: float) -> str:
    """Return what it ran on; `load` tells whether the machine had anything else to do at the start."""
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    kernel = ".".join(platform.release().split(".")[:2])
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return (
        f"{processor()}, {os.cpu_count()} cores, {memory:.0f} GB, {platform.system()} {kernel}, load at the start "
        f"{load:.1f}; Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}; {packages}."
    )


def processor() -> str:
    """Return the processor's name."""
    names = Path("/proc/cpuinfo")
    if names.exists():
        for line in names.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()


def _command() -> str:
    """Return the command line as a reader would repeat it."""
    module = Path(sys.argv[0]).stem
    return " ".join(["python -m", f"benchmarks.{module}", *sys.argv[1:]])


def _word(check: Check) -> str:
    return "met" if check.is_met else "**not met**"


def _line(cells: Iterable[object]) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def _raw_line(row: dict[str, Any]) -> bytes:
    return orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS)
