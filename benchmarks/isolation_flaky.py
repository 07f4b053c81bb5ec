"""How much arrives when 13 % of a partner's attempts fail at random, and all of it once the partner is back?

The whole line in one process, on a clock that is moved, so that retries over hours take moments: half of the carts are
delivered while attempts fail by chance (500, a closed connection, no answer in time), the other half after a partner
was down for a day. What counts is what took effect within the ten attempts a delivery has.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import Any

import structlog

from benchmarks.grounds import Ground, ground
from benchmarks.pages import Check, Page, add_options, read_options, told
from tests.e2e.flaky import Tally, faults, impatient, let_time_pass, owe, taken
from tests.services.line import running_line

LEAST = 0.992
OUTAGE = timedelta(hours=24)


async def run_once(where: Ground, database: str, options: argparse.Namespace, number: int) -> tuple[Tally, Tally]:
    """Make one run on a fresh database; return what arrived while attempts failed, and what in the end."""
    with where.url(database) as url, structlog.testing.capture_logs():
        async with where.world(url) as world:
            impatient(world)
            async with running_line(world) as line:
                await owe(line, options.carts)
                line.partner.faults = faults(options.share, random.Random(f"{options.seed} {database} {number}"))
                flaky = await taken(line, options.carts, await let_time_pass(line))
                await owe(line, options.carts, first=options.carts)
                line.partner.faults.clear()
                outage = line.partner.inject("status", times=1_000_000_000, status=500, match="/hook/")
                took = await let_time_pass(line, OUTAGE)
                outage.times = 0
                return flaky, await taken(line, 2 * options.carts, took + await let_time_pass(line))


def page(rows: Sequence[dict[str, Any]], options: argparse.Namespace) -> Page:
    """Return the page."""
    made = Page(
        "isolation-flaky",
        "A partner that fails by chance, and is down for a day",
        f"{options.carts:,} carts, one a message, while {options.share:.0%} of the attempts fail; as many again during "
        f"an outage of {OUTAGE}; {options.repeats} runs on each database",
        (
            "database",
            "run",
            "arrived",
            "doubled",
            "dead letters",
            "failed attempts",
            "arrived at which attempt",
            "took",
        ),
        raw=[{**row, "took": str(row["took"])} for row in rows],
    )
    for row in rows:
        by_attempt = ", ".join(f"{attempt}: {count:,}" for attempt, count in row["by_attempt"].items())
        failed = f"{row['failed_attempts'] / row['attempts']:.1%} of {row['attempts']:,}"
        arrived = f"{row['arrived']:,} of {row['carts']:,}"
        name = f"{row['number'] + 1}, {row['phase']}"
        counts = [row["doubled"], row["dead"], failed, by_attempt, str(row["took"]).partition(".")[0]]
        made.rows.append([row["database"], name, arrived, *counts])
    least = {phase: min(share(row) for row in rows if row["phase"] == phase) for phase in ("flaky", "in the end")}
    doubled = sum(row["doubled"] for row in rows)
    made.checks = [
        Check(f"at least {LEAST:.1%} arrive in spite of it", f"{least['flaky']:.2%}", least["flaky"] >= LEAST),
        Check("all have arrived once the partner is back", f"{least['in the end']:.2%}", least["in the end"] == 1),
        Check("none took effect twice", f"{doubled}", doubled == 0),
    ]
    return made


def share(row: dict[str, Any]) -> float:
    """Return which share of a run's carts arrived."""
    return float(row["arrived"] / row["carts"])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the experiment; return 1 when something was not reached."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.isolation_flaky", description=__doc__)
    parser.add_argument("--carts", type=int, default=2_000, help="carts of each half")
    parser.add_argument("--share", type=float, default=0.13, help="the share of attempts that fail")
    parser.add_argument("--databases", nargs="+", choices=["sqlite", "postgresql"], default=["sqlite", "postgresql"])
    add_options(parser, repeats=1)
    options = read_options(parser, {"carts": 100}, arguments)
    rows = []
    with ground() as where:
        for number in range(options.repeats):
            for database in options.databases:
                tallies = asyncio.run(run_once(where, database, options, number))
                for phase, tally in zip(("flaky", "in the end"), tallies, strict=True):
                    rows.append({"database": database, "number": number, "phase": phase, **asdict(tally)})
                    told(f"{database}, run {number + 1}, {phase}: {tally.arrived} of {tally.carts}")
    return page(rows, options).keep(options)


if __name__ == "__main__":
    sys.exit(main())
