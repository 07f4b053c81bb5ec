"""The page of an attack: its counts under a name without a date, so that the next run takes its place."""

from __future__ import annotations

import sys

from benchmarks.pages import RESULTS, Page


def keep(made: Page, *, is_long: bool) -> int:
    """Write the page, print it, and return the exit code: 1 when something was not reached."""
    text = made.text()
    (RESULTS / f"{made.name}{'-long' if is_long else ''}.md").write_text(text)
    sys.stdout.write(text)
    return int(not all(check.is_met for check in made.checks))
