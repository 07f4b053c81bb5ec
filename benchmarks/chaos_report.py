"""The tables of `make chaos`, and the raw figures beside them."""

from __future__ import annotations

import os
import platform
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import orjson

from benchmarks.chaos_course import Outcome
from benchmarks.pages import processor

PACKAGES = ("sqlalchemy", "asyncpg", "aiosqlite", "aiohttp", "httpx", "apscheduler", "celery", "redis")


@dataclass(frozen=True, slots=True)
class Series:
    """What all experiments of one run of the command have in common."""

    form: str  # short | long
    seed: int
    postgresql: str
    load: float = field(default_factory=lambda: os.getloadavg()[1])
    date: str = field(default_factory=lambda: f"{datetime.now(UTC):%Y-%m-%d}")

    @property
    def command(self) -> str:
        """The command that makes the same run again, without what it was limited to."""
        return f"python -m benchmarks.chaos{' --long' if self.form == 'long' else ''} --seed {self.seed}"


def page(name: str, outcome: Outcome, series: Series) -> str:
    """Return the page that is kept of one experiment."""
    only = f" --only {name}" if name != "availability" else ""
    command = f"`{series.command}{only}`"
    took = f"{outcome.seconds:.0f} s. " if outcome.seconds else ""
    parts = [
        f"# {outcome.title}",
        f"{series.date}, {series.form} form; {command}; {took}{outcome.setting}.",
        machine(series),
        table(outcome.headings, outcome.rows),
        outcome.legend,
        *violations(outcome),
    ]
    return "\n\n".join(parts) + "\n"


def table(headings: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a Markdown table."""
    names = list(headings)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (names, ["---"] * len(names), *rows))


def violations(outcome: Outcome) -> list[str]:
    """Return what must not be, in words; nothing when all is well."""
    if not outcome.violations:
        return []
    return ["**Not passed:**", "\n".join(f"- {each}" for each in outcome.violations)]


def raw(name: str, outcome: Outcome, series: Series) -> str:
    """Return one line of JSON per run."""
    common = {"experiment": name, "form": series.form, "seed": series.seed, "date": series.date}
    lines = [orjson.dumps({**common, **each}, option=orjson.OPT_APPEND_NEWLINE) for each in outcome.raw]
    return b"".join(lines).decode()


def kept(name: str, series: Series, folder: Path) -> list[dict[str, Any]]:
    """Return what is raw of an earlier run in the same form; nothing where there was none."""
    file = folder / f"chaos-{series.form}-{name}.jsonl"
    return [orjson.loads(line) for line in file.read_bytes().splitlines()] if file.is_file() else []


def keep(name: str, outcome: Outcome, series: Series, folder: Path) -> str:
    """Write the page and what is raw; return the page."""
    folder.mkdir(parents=True, exist_ok=True)
    text, file = page(name, outcome, series), folder / f"chaos-{series.form}-{name}.md"
    file.write_text(text)
    file.with_suffix(".jsonl").write_text(raw(name, outcome, series))
    return text


def machine(series: Series) -> str:
    """Return what it ran on; `load` tells whether the machine had anything else to do."""
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    kernel = ".".join(platform.release().split(".")[:2])
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return (
        f"{processor()}, {os.cpu_count()} cores, {memory:.0f} GB, {platform.system()} {kernel}, load at the start "
        f"{series.load:.1f}; Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, PostgreSQL "
        f"{series.postgresql} (fsync on); {packages}."
    )
