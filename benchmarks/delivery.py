"""CPU, wall time and memory from prerendered Shopify pages to delivered carts, beside a bare aiohttp loop.

Run with `make bench`. Each repeat runs the contenders in turn, each in a process of its own with a fresh database; a
repeat counts only if every cart arrived, none twice in effect, and every signature verified. The yardstick posts
one cart a message and keeps nothing; the aims are ratios to its CPU time.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import sys
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from backend.domain.signing import make_secret
from backend.platforms.shopify.queries import page_query
from benchmarks.servers import ROOT, call, contender, server

VERSION = "2026-10"
MEMORY_AIM_MB = 60.0


@dataclass(frozen=True, slots=True)
class Contender:
    """One column of the race. `aim` is the most its CPU may be, in times of the yardstick's."""

    name: str
    module: str
    carts_per_payload: int
    aim: float | None = None
    in_flight: int = 4


YARDSTICK = Contender("bare aiohttp, 1 a payload", "benchmarks.bare_loop", 1)
CONTENDERS = (
    YARDSTICK,
    Contender("this product, 1 a payload", "benchmarks.product_run", 1, aim=2.5),
    Contender("bare aiohttp, 100 a payload", "benchmarks.bare_loop", 100),
    Contender("this product, 100 a payload", "benchmarks.product_run", 100, aim=1.0),
)


@dataclass(frozen=True, slots=True)
class Course:
    """Where the race is run."""

    store: str
    partner: str
    token: str
    secret: str
    carts: int


def run_one(who: Contender, course: Course, hook: str) -> dict[str, Any]:
    """Run one contender once; raise if a cart is missing, doubled, or badly signed."""
    with tempfile.TemporaryDirectory() as folder:
        ask = {
            "token": course.token,
            "secret": course.secret,
            "hook": f"{course.partner}/hook/{hook}",
            "carts_per_payload": who.carts_per_payload,
            "in_flight": who.in_flight,
            "query": page_query(VERSION),
            "graphql": f"{course.store}/s0/admin/api/{VERSION}/graphql.json",
            "store": f"{course.store}/s0",
            "database": str(Path(folder) / "bench.db"),
        }
        figures = contender(who.module, ask)
    arrived = call(f"{course.partner}/_control/report")[hook]
    seen = (arrived["carts"]["unique"], arrived["doubled_effects"], arrived["bad_signatures"])
    if seen != (course.carts, 0, 0):
        raise RuntimeError(f"{who.name}: {seen} carts, doubled, badly signed; expected {course.carts}, 0, 0")
    return figures


def race(course: Course, repeats: int, console: Console) -> dict[str, list[dict[str, Any]]]:
    """Run all contenders in turn, `repeats` times."""
    found: dict[str, list[dict[str, Any]]] = {who.name: [] for who in CONTENDERS}
    with Progress(console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("runs", total=repeats * len(CONTENDERS))
        for repeat in range(repeats):
            for position, who in enumerate(CONTENDERS):
                figures = run_one(who, course, f"r{repeat}-{position}")
                found[who.name].append(figures)
                progress.advance(task)
                line = f"repeat {repeat + 1}: {who.name}: {figures['cpu']:.2f} CPU s, {figures['wall']:.2f} s"
                console.print(line, highlight=False)
    return found


def table(found: dict[str, list[dict[str, Any]]], carts: int) -> list[str]:
    """Return the result as a Markdown table: medians, and the ratio to the yardstick (median and worst repeat)."""
    yardstick = [run["cpu"] for run in found[YARDSTICK.name]]
    lines = [
        "| contender | CPU s per 1,000 carts | wall s | peak MB above start | times bare CPU (worst) | aim |",
        "|---|---|---|---|---|---|",
    ]
    for who in CONTENDERS:
        runs = found[who.name]
        ratios = [run["cpu"] / bare for run, bare in zip(runs, yardstick, strict=True)]
        lines.append(
            f"| {who.name} "
            f"| {statistics.median(run['cpu'] for run in runs) / carts * 1000:.3f} "
            f"| {statistics.median(run['wall'] for run in runs):.2f} "
            f"| {max(run['above_base_mb'] for run in runs):.0f} "
            f"| {statistics.median(ratios):.2f} ({max(ratios):.2f}) "
            f"| {who.aim or '-'} |"
        )
    return lines


def report(found: dict[str, list[dict[str, Any]]], carts: int, repeats: int) -> str:
    """Return the page that is kept."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("aiohttp", "httpx", "sqlalchemy", "uvloop", "orjson"))
    course = f"{carts:,} Shopify carts from prerendered pages of 250, {repeats} repeats in turn"
    machine = f"Python {platform.python_version()}, {packages}; {platform.machine()}, {_cores()} cores; SQLite"
    return "\n".join(
        [
            "# Store to partner, beside a bare loop",
            "",
            f"{datetime.now(UTC):%Y-%m-%d}; {course}; {machine}.",
            "",
            *table(found, carts),
            "",
            f"Memory aim: at most {MEMORY_AIM_MB:.0f} MB above the start.",
            "Every repeat delivered every cart once in effect, with a signature that verified.",
            "",
        ]
    )


def _cores() -> int:
    return len([line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("processor")])


def main() -> int:
    """Run the benchmark, print and keep its table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--carts", type=int, default=20_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results")
    options = parser.parse_args()
    console, secret = Console(), make_secret()
    with server("shopify") as store, server("partner", "--secret", secret, "--keep-bodies", "0") as partner:
        order = {"query": page_query(VERSION), "carts": options.carts, "page_size": 250}
        call(f"{store}/_control/shops/s0/prerender", order)
        token = call(f"{store}/_control/shops")[0]["token"]
        found = race(Course(store, partner, token, secret, options.carts), options.repeats, console)
    page = report(found, options.carts, options.repeats)
    kept = options.results / f"delivery-{datetime.now(UTC):%Y-%m-%d}.md"
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(page)
    console.print(page, highlight=False)
    console.print(f"kept in {kept}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
