"""What grows with the number of carts: memory with the carts of one cycle, cost with the carts that are stored already.

Memory: one cycle over one prerendered Shopify store, in a process of its own, small and large in turn. Cost: databases
are filled with carts of an earlier life (customer, lines, events, abandonment, delivery and all) by the database
itself; then the same new carts are handed off beside them, from the smallest database to the largest, in turn.
"""

from __future__ import annotations

import argparse
import asyncio
import sqlite3
import statistics
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Any

from backend.platforms.shopify.queries import page_query
from benchmarks.grounds import Company, Ground, Store, add_stores, ground, populate
from benchmarks.growth_rows import filling
from benchmarks.pages import Check, Page, add_options, read_options, spread, told
from benchmarks.servers import call, contender, server

VERSION, PAGE = "2026-10", 250
COMPANY, CARTS_PER_PAYLOAD = "bench", 100
MOST_MEMORY, MOST_COST, MEMORY_AIM_MB = 1.2, 1.5, 60.0


@dataclass(frozen=True, slots=True)
class Course:
    """The servers. `shops` are the names of shops by how many carts their prerendered pages hold."""

    where: Ground
    store: str
    partner: str
    tokens: dict[str, str]
    shops: dict[int, str]

    def shop(self, carts: int, store_id: str) -> Store:
        """Return the shop with so many carts as a new integration."""
        name = self.shops[carts]
        settings = {"shop": f"{name}.myshopify.com", "options": {"page_size": PAGE}}
        return Store(store_id, f"{self.store}/{name}", self.tokens[name], "shopify", settings=settings)

    def company(self, hook: str, stores: Sequence[Store]) -> Company:
        """Return the one company."""
        return Company(COMPANY, f"{self.partner}/hook/{hook}", stores, 30, CARTS_PER_PAYLOAD)


@dataclass(frozen=True, slots=True)
class Filled:
    """A database that holds so many carts already."""

    kind: str
    url: str
    stored: int

    def execute(self, where: Ground, *statements: str) -> None:
        """Run SQL of our own, past every check that the product's connections make."""
        if self.kind == "postgresql":
            name = self.url.partition("?")[0].rpartition("/")[2]
            where.server.execute("; ".join(("SET session_replication_role = replica", *statements)), name)
            return
        with closing(sqlite3.connect(self.url.partition(":///")[2])) as connection:
            for statement in statements:
                connection.execute(statement)
            connection.commit()


def run_cycle(course: Course, url: str, carts: int) -> dict[str, Any]:
    """Run one cycle in a process of its own. Raises `RuntimeError` unless it found just these carts."""
    ask = {"job": "once", "settings": course.where.settings(url)}
    figures = contender("benchmarks.product_run", ask)
    if (figures["report"]["carts_new"], figures["report"]["ok"]) != (carts, True):
        raise RuntimeError(f"the cycle over {carts} carts came to {figures['report']}")
    return figures


def measure_memory(course: Course, carts: int) -> dict[str, Any]:
    """Hand a store's carts off on a fresh SQLite file."""
    with course.where.url("sqlite") as url:
        asyncio.run(fill(course, url, f"memory-{carts}", [course.shop(carts, "store")]))
        return {"what": "memory", "carts": carts, **run_cycle(course, url, carts)}


def measure_cost(course: Course, filled: Filled, carts: int, repeat: int) -> dict[str, Any]:
    """Hand new carts off beside those that are stored; the store they come from is disconnected afterwards."""
    store = course.shop(carts, f"new-{repeat}")
    asyncio.run(connect(course, filled.url, store))
    made = run_cycle(course, filled.url, carts)
    filled.execute(course.where, f"UPDATE integrations SET status = 'inactive' WHERE id = '{store.id}'")  # noqa: S608
    return {"what": "cost", "database": filled.kind, "stored": filled.stored, "repeat": repeat, **made}


async def fill(course: Course, url: str, hook: str, stores: Sequence[Store]) -> None:
    """Put the company and its stores into a database."""
    async with course.where.world(url) as world:
        await populate(world, course.where.secret, [course.company(hook, stores)])


async def connect(course: Course, url: str, store: Store) -> None:
    """Connect one more store."""
    async with course.where.world(url) as world:
        await add_stores(world, COMPANY, [store])


def filled_database(course: Course, stack: ExitStack, kind: str, stored: int) -> Filled:
    """Return a database with so many carts of an old store, which is not polled."""
    began = time.monotonic()
    made = Filled(kind, stack.enter_context(course.where.url(kind)), stored)
    old = Store("old", "http://127.0.0.1:9", "none", status="inactive")
    asyncio.run(fill(course, made.url, f"cost-{kind}-{stored}", [old]))
    made.execute(course.where, *filling(COMPANY, old.id, stored))
    made.execute(course.where, "ANALYZE")
    told(f"{stored:,} carts stored in {kind} in {time.monotonic() - began:.0f} s")
    return made


def measure(course: Course, stack: ExitStack, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Make every run, in turn; return one row each."""
    rows: list[dict[str, Any]] = []
    databases = [filled_database(course, stack, kind, size) for kind in options.databases for size in options.stored]
    for repeat in range(options.repeats):
        for carts in options.memory:
            rows.append({"repeat": repeat, **measure_memory(course, carts)})
            told(f"run {repeat + 1}: {carts:,} carts, {rows[-1]['above_base_mb']:.0f} MB above the start")
        for filled in databases:
            rows.append(measure_cost(course, filled, options.carts, repeat))
            words = f"run {repeat + 1}: beside {filled.stored:,} in {filled.kind}"
            told(f"{words}: {rows[-1]['cpu']:.2f} CPU s, {rows[-1]['wall']:.2f} s")
    return rows


def page(rows: list[dict[str, Any]], options: argparse.Namespace) -> Page:
    """Return the page."""
    made = Page(
        "growth",
        "What grows with the number of carts",
        f"memory over {', '.join(f'{carts:,}' for carts in options.memory)} carts on SQLite; cost of {options.carts:,} "
        f"new carts, {CARTS_PER_PAYLOAD} a payload; {options.repeats} runs of each in turn",
        ("what", "carts stored", "carts handed off", "CPU s per 1,000", "wall s per 1,000", "peak MB above start"),
        raw=rows,
    )
    for carts in options.memory:
        runs = [row for row in rows if row["what"] == "memory" and row["carts"] == carts]
        made.rows.append(["memory, sqlite", 0, f"{carts:,}", *figures(runs, carts)])
    for kind in options.databases:
        for stored in options.stored:
            runs = [row for row in rows if row.get("database") == kind and row.get("stored") == stored]
            made.rows.append([f"cost, {kind}", f"{stored:,}", f"{options.carts:,}", *figures(runs, options.carts)])
    made.checks = memory_checks(rows, options.memory)
    for kind in options.databases:
        made.checks += cost_checks([row for row in rows if row.get("database") == kind], kind, options.stored)
    made.notes = "Medians over the runs (least to greatest). The start is the process after all imports."
    return made


def figures(runs: Sequence[dict[str, Any]], carts: int) -> list[str]:
    """Return the three figures of a line."""
    each = [spread([run[name] / carts * 1000 for run in runs], 3) for name in ("cpu", "wall")]
    return [*each, spread([run["above_base_mb"] for run in runs], 0)]


def memory_checks(rows: Sequence[dict[str, Any]], sizes: Sequence[int]) -> list[Check]:
    """Return what was to be reached by memory: little above the start, and hardly more with many more carts."""
    above = {
        size: max(row["above_base_mb"] for row in rows if row["what"] == "memory" and row["carts"] == size)
        for size in sizes
    }
    least, most = min(sizes), max(sizes)
    ratio = above[most] / above[least]
    words = f"memory above the start with {most:,} carts at most {MOST_MEMORY} times that with {least:,}"
    return [
        Check(
            f"at most {MEMORY_AIM_MB:.0f} MB above the start with {least:,} carts",
            f"{above[least]:.0f} MB",
            above[least] <= MEMORY_AIM_MB,
            is_figure=True,
        ),
        Check(words, f"{ratio:.2f} times", ratio <= MOST_MEMORY, is_figure=True),
    ]


def cost_checks(rows: Sequence[dict[str, Any]], kind: str, sizes: Sequence[int]) -> list[Check]:
    """Return what was to be reached by cost per cart: about the same however many carts are stored."""
    checks = []
    for name, words in (("cpu", "CPU"), ("wall", "wall time")):
        cost = {size: statistics.median(row[name] for row in rows if row["stored"] == size) for size in sizes}
        ratio = cost[max(sizes)] / cost[min(sizes)]
        asked = (
            f"{kind}: {words} per cart beside {max(sizes):,} carts within {MOST_COST} times that beside {min(sizes):,}"
        )
        checks.append(Check(asked, f"{ratio:.2f} times", ratio <= MOST_COST, is_figure=True))
    return checks


def prerender(store: str, sizes: Sequence[int]) -> dict[int, str]:
    """Prerender a shop for each size; return their names."""
    shops = {size: f"s{at}" for at, size in enumerate(sorted(set(sizes)))}
    for size, name in shops.items():
        order = {"query": page_query(VERSION), "carts": size, "page_size": PAGE}
        call(f"{store}/_control/shops/{name}/prerender", order)
    return shops


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return 1 when an aim was missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    parser.add_argument("--memory", type=int, nargs="+", default=[20_000, 200_000], help="carts of one cycle")
    parser.add_argument("--stored", type=int, nargs="+", default=[10_000, 100_000, 1_000_000], help="carts stored")
    parser.add_argument("--carts", type=int, default=5_000, help="new carts beside those stored")
    parser.add_argument("--databases", nargs="+", choices=["sqlite", "postgresql"], default=["sqlite", "postgresql"])
    add_options(parser, repeats=5)
    short = {"memory": [500, 2_000], "stored": [1_000, 20_000], "carts": 500}
    options = read_options(parser, short, arguments)
    sizes = [*options.memory, options.carts]
    with ExitStack() as stack:
        where = stack.enter_context(ground())
        store = stack.enter_context(server("shopify", "--shops", str(len(sizes))))
        partner = stack.enter_context(server("partner", "--secret", where.secret, "--keep-bodies", "0"))
        tokens = {shop["prefix"]: shop["token"] for shop in call(f"{store}/_control/shops")}
        course = Course(where, store, partner, tokens, prerender(store, sizes))
        return page(measure(course, stack, options), options).keep(options)


if __name__ == "__main__":
    sys.exit(main())
