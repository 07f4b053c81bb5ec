"""The command behind `make chaos`: which experiments there are, in which order, and what is kept of them."""

from __future__ import annotations

import argparse
import asyncio
import secrets
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from rich.console import Console

from backend.config import Settings
from backend.logs import set_up_logs
from benchmarks import chaos_database, chaos_pairs, chaos_points, chaos_redis, chaos_takeover, storm
from benchmarks.chaos_course import Course, Outcome
from benchmarks.chaos_postgres import databases
from benchmarks.chaos_recovery import availability
from benchmarks.chaos_report import Series, keep, kept
from benchmarks.servers import ROOT

Experiment = Callable[[Course], Awaitable[Outcome]]
EXPERIMENTS: dict[str, Experiment] = {
    "points": chaos_points.run,
    "storm": storm.run,
    "storm-celery": storm.run_celery,
    "database": chaos_database.run,
    "redis": chaos_redis.run,
    "takeover": chaos_takeover.run,
    "pairs": chaos_pairs.run,
}


def read_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chaos", description="Break things and take account.")
    parser.add_argument("--long", action="store_true", help="the counts of the long form: some hours")
    parser.add_argument("--only", choices=EXPERIMENTS, action="append", help="only this experiment")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000), help="repeats what chance chose")
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results")
    return parser.parse_args(arguments)


async def carry_out(name: str, course: Course) -> Outcome:
    """Carry out one experiment; whatever goes wrong is a violation of it, and the others still run."""
    began = time.perf_counter()
    try:
        outcome = await EXPERIMENTS[name](course)
    except Exception as error:  # noqa: BLE001  told in the table, and by the exit code
        outcome = Outcome(name, "It did not come to its end", ("fault",), "")
        outcome.rows.append([type(error).__name__])
        outcome.violations.append(f"{type(error).__name__}: {error}")
    outcome.seconds = time.perf_counter() - began
    return outcome


def main() -> int:
    """Carry out the experiments, print and keep their tables; 0 when all of them passed."""
    options, console = read_options(), Console()
    outcomes: dict[str, Outcome] = {}
    set_up_logs(Settings(_env_file=None, log_level="error"))  # of what this process does of the product's work itself
    with databases() as found:
        course = Course(found, console, options.seed, is_long=options.long)
        series = Series("long" if options.long else "short", options.seed, found.postgres.version)
        course.tell(f"seed {options.seed}, {series.form} form")
        for name in options.only or EXPERIMENTS:
            course.tell(f"-- {name}")
            outcomes[name] = asyncio.run(carry_out(name, course))
            sys.stdout.write(keep(name, outcomes[name], series, options.results) + "\n")
            sys.stdout.flush()
    if recoveries := {kind: times for outcome in outcomes.values() for kind, times in outcome.recoveries.items()}:
        earlier = kept("availability", series, options.results)
        outcomes["availability"] = availability(recoveries, series.seed, earlier)
        sys.stdout.write(keep("availability", outcomes["availability"], series, options.results) + "\n")
    bad = [f"not passed: {name}: {fault}" for name, outcome in outcomes.items() for fault in outcome.violations]
    course.tell("\n".join(bad) or "all passed")  # once more at the end, where a log is read first
    return int(bool(bad))
