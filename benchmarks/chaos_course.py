"""What every experiment is given, and what it hands back."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.chaos_postgres import Databases

EVERY = 10  # steps between two lines where there is no terminal


@dataclass(slots=True)
class Outcome:
    """What an experiment came to: a table, what is raw, and what must not be.

    `recoveries`: by kind of fault, seconds until all work that had been due was done.
    """

    title: str
    setting: str
    headings: tuple[str, ...]
    legend: str
    rows: list[list[str]] = field(default_factory=list)
    raw: list[dict[str, Any]] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    recoveries: dict[str, list[float]] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Course:
    """One run of the command: where it takes place, how long it is, and what chance it follows."""

    databases: Databases
    console: Console
    seed: int
    is_long: bool

    def luck(self, name: str) -> random.Random:
        """Return the chance of one part of the run: the same for the same seed."""
        return random.Random(f"{self.seed} {name}")

    def pick(self, short: int, long: int) -> int:
        """Return the count of this form of the run."""
        return long if self.is_long else short

    def tell(self, line: str) -> None:
        """Print one line."""
        self.console.print(line, highlight=False, markup=False)

    @contextmanager
    def bar(self, name: str, total: int) -> Iterator[Bar]:
        """Show how far an experiment is: a bar on a terminal, else a line now and then."""
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self.console, disable=not self.console.is_terminal) as progress:
            progress.add_task(name, total=total)
            yield Bar(self, progress, name, total)


@dataclass(slots=True)
class Bar:
    """How far an experiment is."""

    course: Course
    progress: Progress
    name: str
    total: int
    _done: int = 0

    def to(self, done: int) -> None:
        """Say how much is done."""
        before, self._done = self._done, done
        self.progress.update(self.progress.task_ids[0], completed=done)
        tenth = max(self.total // EVERY, 1)
        if not self.course.console.is_terminal and done // tenth > before // tenth:
            self.course.tell(f"{self.name}: {done:,} of {self.total:,}")

    def step(self) -> None:
        """One more is done."""
        self.to(self._done + 1)
