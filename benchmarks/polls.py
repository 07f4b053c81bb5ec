"""How many polls that find nothing does a second of CPU buy, beside a bare aiohttp loop over the same stores?

Both sides ask the same servers for the same prerendered empty pages, 16 at a time. The product's side claims each
store, reads its cursor, moves it, counts and settles, on SQLite and on PostgreSQL. CPU time is that of the polling
process alone. Beats are rung one after another on a clock that is moved ahead.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from backend.platforms.shopify.queries import page_query
from benchmarks.grounds import Company, Ground, Store, ground, populate
from benchmarks.pages import Check, Page, add_options, read_options, spread, told
from benchmarks.servers import call, contender, server

PER_CPU_SECOND, SHARE = 3_000, 0.33  # the aims, of the leanest platform
LEANEST = "custom"
VERSION = "2026-10"
COMPANIES = 20
BARE = "bare aiohttp"


@dataclass(frozen=True, slots=True)
class Course:
    """The stores of one platform, and the requests with which a bare loop polls them."""

    platform: str
    stores: list[Store]
    requests: list[tuple[str, str, dict[str, str], str]]


def custom(url: str, count: int) -> Course:
    """Return stores that speak the custom contract; the bare loop asks as the product does."""
    stores = [Store(f"store-{at}", f"{url}/store-{at}", "token") for at in range(count)]
    headers = {"Authorization": "Bearer token", "Accept": "application/json"}
    asked = "abandoned-carts?updated_since=2026-11-20T12%3A00%3A00Z&limit=100"
    return Course("custom", stores, [("GET", f"{store.base_url}/{asked}", headers, "") for store in stores])


def shopify(url: str, count: int) -> Course:
    """Return Shopify stores with prerendered pages that are empty."""
    query, tokens = page_query(VERSION), [shop["token"] for shop in call(f"{url}/_control/shops")]
    body = json.dumps({"query": query, "variables": {"after": None}})
    stores, requests = [], []
    for at, token in enumerate(tokens[:count]):
        call(f"{url}/_control/shops/s{at}/prerender", {"query": query, "carts": 0})
        settings = {"shop": f"s{at}.myshopify.com"}
        stores.append(Store(f"store-{at}", f"{url}/s{at}", token, platform="shopify", settings=settings))
        headers = {"X-Shopify-Access-Token": token, "Content-Type": "application/json"}
        requests.append(("POST", f"{url}/s{at}/admin/api/{VERSION}/graphql.json", headers, body))
    return Course("shopify", stores, requests)


def run_bare(course: Course, beats: int) -> dict[str, Any]:
    """Run the yardstick once."""
    return contender("benchmarks.bare_loop", {"job": "polls", "stores": course.requests, "beats": beats})


def run_product(where: Ground, course: Course, database: str, beats: int) -> dict[str, Any]:
    """Run the product once on a fresh database. Raises `RuntimeError` unless every store was polled in every beat."""
    with where.url(database) as url:
        asyncio.run(fill(where, url, course))
        figures = contender("benchmarks.product_run", {"job": "beats", "settings": where.settings(url), "beats": beats})
    if figures["polls"] != beats * len(course.stores):
        raise RuntimeError(f"{figures['polls']} polls, not {beats} of each of {len(course.stores)} stores")
    return figures


async def fill(where: Ground, url: str, course: Course) -> None:
    """Connect the stores, shared out among companies."""
    made = [
        Company(f"company-{at}", "http://127.0.0.1:9", course.stores[at::COMPANIES])
        for at in range(min(COMPANIES, len(course.stores)))
    ]
    async with where.world(url) as world:
        await populate(world, where.secret, made)


def sides(options: argparse.Namespace) -> Iterator[str]:
    """Yield what races on each course, the yardstick first."""
    yield BARE
    yield from options.databases


def race(where: Ground, courses: Sequence[Course], options: argparse.Namespace) -> list[dict[str, Any]]:
    """Run everything in turn, so many times; return one row per run."""
    rows = []
    for repeat in range(options.repeats):
        for course in courses:
            for side in sides(options):
                made = (
                    run_bare(course, options.beats) if side == BARE else run_product(where, course, side, options.beats)
                )
                row = {"repeat": repeat, "platform": course.platform, "side": side, **made}
                row["per_cpu_second"] = made["polls"] / made["cpu"]
                rows.append(row)
                told(f"run {repeat + 1} {course.platform}, {side}: {row['per_cpu_second']:,.0f} polls per CPU s")
    return rows


def page(rows: list[dict[str, Any]], options: argparse.Namespace) -> Page:
    """Return the page."""
    made = Page(
        "polls",
        "Polls that find nothing, beside a bare loop",
        f"{options.stores} stores, {options.beats} beats, {options.repeats} runs of each in turn",
        ("platform", "side", "polls per CPU s", "share of bare", "polls per s of wall time", "peak MB above start"),
        raw=rows,
    )
    for platform in options.platforms:
        bare = [row["per_cpu_second"] for row in rows if (row["platform"], row["side"]) == (platform, BARE)]
        for side in sides(options):
            runs = [row for row in rows if (row["platform"], row["side"]) == (platform, side)]
            rates = [run["per_cpu_second"] for run in runs]
            shares = [rate / yardstick for rate, yardstick in zip(rates, bare, strict=True)]
            walls = [run["polls"] / run["wall"] for run in runs]
            above = f"{max(run['above_base_mb'] for run in runs):.0f}"
            name = side if side == BARE else f"this product, {side}"
            made.rows.append([platform, name, spread(rates, 0), spread(shares), spread(walls, 0), above])
            if side != BARE and platform == LEANEST:
                rate, share = statistics.median(rates), statistics.median(shares)
                words = f"{name}: at least {PER_CPU_SECOND:,} polls per CPU s and {SHARE:.0%} of bare"
                found = f"{rate:,.0f} and {share:.0%}"
                made.checks.append(Check(words, found, rate >= PER_CPU_SECOND and share >= SHARE, is_figure=True))
    made.notes = "Medians over the runs (least to greatest); a share is taken within one repeat."
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return 1 when an aim was missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.polls", description=__doc__)
    parser.add_argument("--stores", type=int, default=200)
    parser.add_argument("--beats", type=int, default=25, help="how often each store is polled in a run")
    parser.add_argument("--platforms", nargs="+", choices=["custom", "shopify"], default=["custom", "shopify"])
    parser.add_argument("--databases", nargs="+", choices=["sqlite", "postgresql"], default=["sqlite", "postgresql"])
    add_options(parser, repeats=5)
    options = read_options(parser, {"beats": 3, "stores": 100}, arguments)
    with ExitStack() as stack:
        where, courses = stack.enter_context(ground()), list[Course]()
        if "custom" in options.platforms:
            url = stack.enter_context(server("stores", module="benchmarks.isolation_servers"))
            courses.append(custom(url, options.stores))
        if "shopify" in options.platforms:
            url = stack.enter_context(server("shopify", "--shops", str(options.stores)))
            courses.append(shopify(url, options.stores))
        return page(race(where, courses, options), options).keep(options)


if __name__ == "__main__":
    sys.exit(main())
