"""CPU, wall time and memory from prerendered Shopify pages to delivered carts, beside a bare aiohttp loop.

Each repeat runs the contenders in turn, each with a fresh database; a repeat counts only if every cart arrived, none
twice in effect, and every signature verified. The yardstick posts one cart a message and keeps nothing; the aims are
ratios to its CPU time. On SQLite one process runs one cycle over one store. On PostgreSQL real workers run their loops
over several stores; their CPU time is the sum of all, their wall time is from the first poll's beginning to the last
delivery's end.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from backend.platforms.shopify.queries import page_query
from benchmarks.grounds import NEVER, Company, Ground, Store, ground, populate, workers
from benchmarks.pages import Check, Page, add_options, read_options, spread, told
from benchmarks.servers import call, contender, server

VERSION, PAGE = "2026-10", 250
MEMORY_AIM_MB = 60.0
STORES = 8  # of several workers; each belongs to a company of its own
INTERVAL = 5  # seconds between beats of workers
PATIENCE = 600.0
BARE, PRODUCT, WORKERS = "bare aiohttp", "this product, SQLite", "workers on PostgreSQL"


@dataclass(frozen=True, slots=True)
class Contender:
    """One line of the race. `aim` is the most its CPU may be, in times of the yardstick's."""

    kind: str
    carts_per_payload: int
    workers: int = 0
    aim: float | None = None

    @property
    def name(self) -> str:
        """What the table calls it."""
        who = f"this product, {self.workers} {self.kind}" if self.workers else self.kind
        return f"{who}, {self.carts_per_payload} a payload"


YARDSTICK = Contender(BARE, 1)
CONTENDERS = (
    YARDSTICK,
    Contender(PRODUCT, 1, aim=2.5),
    Contender(BARE, 100),
    Contender(PRODUCT, 100, aim=1.0),
    Contender(WORKERS, 1, workers=1),
    Contender(WORKERS, 1, workers=2),
    Contender(WORKERS, 1, workers=4),
)


@dataclass(frozen=True, slots=True)
class Course:
    """Where the race is run. `tokens` are those of the shops s0 (with all carts) and s1 to s8 (with a share each)."""

    where: Ground
    store: str
    partner: str
    tokens: Sequence[str]
    carts: int

    def shop(self, number: int, **fields: Any) -> Store:
        """Return a shop as an integration that is polled once in a run: a prerendered one shows every page anew."""
        name = f"s{number}"
        settings = {"shop": f"{name}.myshopify.com", "options": {"page_size": PAGE}}
        token = self.tokens[number]
        return Store(name, f"{self.store}/{name}", token, "shopify", settings=settings, every=86_400, **fields)


def run_one(who: Contender, course: Course, hook: str) -> dict[str, Any]:
    """Run one contender once; raise `RuntimeError` if a cart is missing, doubled, or badly signed."""
    run = {BARE: run_bare, PRODUCT: run_product, WORKERS: run_workers}[who.kind]
    figures = run(who, course, hook)
    report = call(f"{course.partner}/_control/report")
    hooks = [found for name, found in report.items() if name.startswith(hook)]
    seen = tuple(
        sum(counts)
        for counts in zip(
            *((each["carts"]["unique"], each["doubled_effects"], each["bad_signatures"]) for each in hooks), strict=True
        )
    )
    if seen != (course.carts, 0, 0):
        raise RuntimeError(f"{who.name}: {seen} carts, doubled, badly signed; expected {course.carts}, 0, 0")
    return figures


def run_bare(who: Contender, course: Course, hook: str) -> dict[str, Any]:
    """Run the bare loop over the one big shop."""
    ask = {
        "job": "carts",
        "token": course.tokens[0],
        "secret": course.where.secret,
        "hook": f"{course.partner}/hook/{hook}",
        "carts_per_payload": who.carts_per_payload,
        "query": page_query(VERSION),
        "graphql": f"{course.store}/s0/admin/api/{VERSION}/graphql.json",
    }
    return contender("benchmarks.bare_loop", ask)


def run_product(who: Contender, course: Course, hook: str) -> dict[str, Any]:
    """Run one cycle over the one big shop, on a fresh SQLite file."""
    made = Company("bench", f"{course.partner}/hook/{hook}", [course.shop(0)], 30, who.carts_per_payload)
    with course.where.url("sqlite") as url:
        asyncio.run(fill(course.where, url, [made]))
        return contender("benchmarks.product_run", {"job": "once", "settings": course.where.settings(url)})


def run_workers(who: Contender, course: Course, hook: str) -> dict[str, Any]:
    """Let workers loose on the smaller shops, on a fresh PostgreSQL database, until every cart is delivered."""
    where, later = course.where, datetime.now(UTC) + NEVER
    made = [
        Company(f"company-{at}", f"{course.partner}/hook/{hook}-{at}", [course.shop(at, due_at=later)], 30)
        for at in range(1, STORES + 1)
    ]
    made = [Company(each.id, each.hook, each.stores, 30, who.carts_per_payload) for each in made]
    with where.database() as database:
        asyncio.run(fill(where, where.server.url(database), made))
        with workers(where, database, who.workers, INTERVAL, log_level="info") as started:
            bases = [worker.peak_mb() for worker in started]
            for worker in started:
                worker.start_meter()
            where.server.execute("UPDATE integrations SET next_poll_at = now()", database)
            wait_until_delivered(where, database, course.carts)
            cpu = sum(worker.cpu() for worker in started)
            above = max(worker.peak_mb() - base for worker, base in zip(started, bases, strict=True))
            query = "SELECT extract(epoch FROM max(d.at) - min(p.started_at)) FROM poll_runs p, "
            ended = "(SELECT max(finished_at) AS at FROM deliveries) d"
            return {"cpu": cpu, "wall": float(where.server.execute(query + ended, database)), "above_base_mb": above}


def wait_until_delivered(where: Ground, database: str, carts: int) -> None:
    """Wait until so many carts are delivered. Raises `TimeoutError` when they are not."""
    deadline = time.monotonic() + PATIENCE
    delivered = "SELECT coalesce(sum(cart_count), 0) FROM deliveries WHERE state = 'delivered'"
    while int(where.server.execute(delivered, database)) < carts:
        if time.monotonic() > deadline:
            raise TimeoutError(f"not everything was delivered in {PATIENCE:.0f} s")
        time.sleep(0.5)


async def fill(where: Ground, url: str, made: Sequence[Company]) -> None:
    """Put companies into a database."""
    async with where.world(url) as world:
        await populate(world, where.secret, made)


def race(course: Course, repeats: int) -> dict[str, list[dict[str, Any]]]:
    """Run all contenders in turn, `repeats` times."""
    found: dict[str, list[dict[str, Any]]] = {who.name: [] for who in CONTENDERS}
    for repeat in range(repeats):
        for position, who in enumerate(CONTENDERS):
            figures = run_one(who, course, f"r{repeat}-{position}")
            found[who.name].append({"repeat": repeat, "contender": who.name, **figures})
            told(f"repeat {repeat + 1}: {who.name}: {figures['cpu']:.2f} CPU s, {figures['wall']:.2f} s")
    return found


def page(found: dict[str, list[dict[str, Any]]], carts: int, repeats: int) -> Page:
    """Return the page: medians, and the ratio to the yardstick of the same repeat."""
    made = Page(
        "delivery",
        "Store to partner, beside a bare loop",
        f"{carts:,} Shopify carts from prerendered pages of {PAGE}, {repeats} repeats in turn",
        ("contender", "CPU s per 1,000 carts", "wall s", "carts per s", "peak MB above start", "times bare CPU", "aim"),
    )
    yardstick = [run["cpu"] for run in found[YARDSTICK.name]]
    for who in CONTENDERS:
        runs = found[who.name]
        made.raw += runs
        ratios = [run["cpu"] / bare for run, bare in zip(runs, yardstick, strict=True)]
        per_thousand = spread([run["cpu"] / carts * 1000 for run in runs], 3)
        rate = statistics.median(carts / run["wall"] for run in runs)
        above, wall = max(run["above_base_mb"] for run in runs), spread([run["wall"] for run in runs])
        made.rows.append([who.name, per_thousand, wall, f"{rate:,.0f}", f"{above:.0f}", spread(ratios), who.aim or "-"])
        if who.aim is not None:
            words = f"{who.name}: at most {who.aim} times bare CPU, the worst repeat too"
            made.checks.append(Check(words, f"{max(ratios):.2f} at worst", max(ratios) <= who.aim, is_figure=True))
            words = f"{who.name}: at most {MEMORY_AIM_MB:.0f} MB above the start"
            made.checks.append(Check(words, f"{above:.0f} MB", above <= MEMORY_AIM_MB, is_figure=True))
    made.notes = "Every repeat delivered every cart once in effect, with a signature that verified."
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return 1 when an aim was missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.delivery", description=__doc__)
    parser.add_argument("--carts", type=int, default=20_000, help=f"a multiple of {STORES}")
    add_options(parser, repeats=5)
    options = read_options(parser, {"carts": 400}, arguments)
    with ExitStack() as stack:
        where = stack.enter_context(ground())
        store = stack.enter_context(server("shopify", "--shops", str(STORES + 1)))
        partner = stack.enter_context(server("partner", "--secret", where.secret, "--keep-bodies", "0"))
        query = page_query(VERSION)
        for at in range(STORES + 1):
            order = {"query": query, "carts": options.carts // (STORES if at else 1), "page_size": PAGE}
            call(f"{store}/_control/shops/s{at}/prerender", order)
        tokens = [shop["token"] for shop in call(f"{store}/_control/shops")]
        found = race(Course(where, store, partner, tokens, options.carts), options.repeats)
        return page(found, options.carts, options.repeats).keep(options)


if __name__ == "__main__":
    sys.exit(main())
