"""Does one company's backlog delay the others? A million due rows of one company beside 999 companies with ten each.

The big backlog is due and being worked on when, at one moment, everything the small companies have becomes due. Start
delay: from that moment until the partner (deliveries) or the store (polls) first hears of it. Idle is the same without
the big company. Real worker processes on PostgreSQL.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from benchmarks.grounds import Company, Ground, Store, Worker, ground, populate, workers
from benchmarks.isolation_rows import Flow, add_flow
from benchmarks.pages import Check, Page, add_options, percentile, read_options, spread, told
from benchmarks.servers import call, server

SLOWER = 2.0  # the pass: small companies' p99 beside the big one, in times of idle
BIG, SMALL = "big", "small"
LEAD = 4.0  # seconds from the small companies' insert until they are due; the big backlog is worked on meanwhile
PATIENCE = 900.0  # seconds for the small companies' work
INTERVAL = 5  # seconds between beats
RARELY = 86_400  # a small store's own period: it is due once in a run


@dataclass(frozen=True, slots=True)
class Bench:
    """What all runs share. `templates` are databases: with every small company, and with the big one beside them."""

    where: Ground
    templates: dict[bool, str]
    servers: dict[str, str]
    options: argparse.Namespace


def companies(options: argparse.Namespace, servers: dict[str, str], *, big: bool) -> Iterator[Company]:
    """Yield the small companies, or the big one with its stores, which are due all the time."""
    for number in range(1 if big else options.small):
        name = f"{BIG}-{number}" if big else f"{SMALL}-{number}"
        count, every = (options.big_stores, None) if big else (options.each, RARELY)
        status = "active" if options.lane == "polls" else "inactive"
        stores = [
            Store(f"{name}-{at}", f"{servers['stores']}/{name}-{at}", "token", status=status, every=every)
            for at in range(count)
        ]
        # Deliveries belong to a store by a key: the one that has the company's own name, which is never polled.
        stores.append(Store(name, "http://127.0.0.1:9", "none", status="inactive"))
        yield Company(name, f"{servers['partner']}/hook/{name}", stores)


def run_deliveries(bench: Bench, database: str) -> tuple[float, int, Callable[[], dict[str, float]]]:
    """Let deliveries of the small companies become due; return when, how many, and how to ask what arrived."""
    due = time.time() + LEAD
    add_flow(bench.where.server, database, Flow("now", f"{SMALL}-%", bench.options.each, due))
    return due, bench.options.small * bench.options.each, lambda: arrived(bench.servers["partner"], "arrivals", "now-")


def run_polls(bench: Bench, database: str) -> tuple[float, int, Callable[[], dict[str, float]]]:
    """Let the small companies' stores become due; return when, how many, and how to ask which were polled."""
    due = time.time() + LEAD
    bench.where.server.execute(
        f"UPDATE integrations SET next_poll_at = to_timestamp({due}) WHERE id LIKE '{SMALL}-%'",  # noqa: S608  ours
        database,
    )
    return due, bench.options.small * bench.options.each, lambda: arrived(bench.servers["stores"], "first", SMALL)


def arrived(url: str, what: str, prefix: str) -> dict[str, float]:
    """Return when each of the small companies' pieces of work was first heard of."""
    return {name: at for name, at in call(f"{url}/_control/times")[what].items() if name.startswith(prefix)}


def run_once(bench: Bench, *, with_big: bool) -> dict[str, Any]:
    """Make one run on a copy of a template; return its figures."""
    options, where = bench.options, bench.where
    for url in bench.servers.values():
        call(f"{url}/_control/reset", {})
    begin = run_deliveries if options.lane == "deliveries" else run_polls
    with where.database(bench.templates[with_big]) as database:
        # A small store that was due before the run's moment would be polled at once.
        later = f"UPDATE integrations SET next_poll_at = now() + interval '1 day' WHERE id LIKE '{SMALL}-%'"  # noqa: S608
        where.server.execute(later, database)
        with workers(where, database, options.workers, INTERVAL) as started:
            for worker in started:
                worker.start_meter()
            due, count, ask = begin(bench, database)
            found = wait_for(count, ask)
            return measured([found.get(name, float("inf")) - due for name in found], count, started)


def wait_for(count: int, ask: Callable[[], dict[str, float]]) -> dict[str, float]:
    """Wait until all was heard of, or patience ends."""
    deadline, found = time.monotonic() + PATIENCE, ask()
    while len(found) < count and time.monotonic() < deadline:
        time.sleep(1)
        found = ask()
    return found


def measured(delays: list[float], count: int, started: Sequence[Worker]) -> dict[str, Any]:
    """Return a run's figures; what was not heard of counts as infinitely late."""
    missing = count - len(delays)
    delays += [float("inf")] * missing
    return {
        "started": count - missing,
        "missing": missing,
        "p50": percentile(delays, 0.5),
        "p99": percentile(delays, 0.99),
        "longest": max(delays),
        "earliest": min(delays),
        "cpu": sum(worker.cpu() for worker in started),
        "peak_mb": max(worker.peak_mb() for worker in started),
    }


def page(idle: Sequence[dict[str, Any]], busy: Sequence[dict[str, Any]], options: argparse.Namespace) -> Page:
    """Return the page."""
    what = f"{options.big:,} due deliveries" if options.lane == "deliveries" else f"{options.big_stores:,} due stores"
    made = Page(
        f"fairness-{options.lane}",
        f"One company's backlog beside {options.small} small companies: {options.lane}",
        f"one company with {what}, {options.small} companies with {options.each} each; {options.workers} workers, "
        f"{options.repeats} runs of each side in turn",
        ("small companies", "p50 s", "p99 s", "longest s", "missing", "worker CPU s", "worker peak MB"),
    )
    for side, runs in (("alone (idle)", idle), ("beside the big one", busy)):
        names = ("p50", "p99", "longest", "missing", "cpu", "peak_mb")
        made.rows.append([side, *(spread([run[name] for run in runs]) for name in names)])
        made.raw += [{"side": side, "lane": options.lane, **run} for run in runs]
    ratio = statistics.median(run["p99"] for run in busy) / statistics.median(run["p99"] for run in idle)
    missing = sum(run["missing"] for run in [*idle, *busy])
    made.checks = [
        Check(
            f"small companies' p99 start delay at most {SLOWER:g} times idle",
            f"{ratio:.2f} times",
            ratio <= SLOWER,
            is_figure=True,
        ),
        Check("all of the small companies' work was done", f"{missing} missing", missing == 0),
    ]
    made.notes = "Medians over the runs (least to greatest)."
    return made


async def fill(where: Ground, database: str, made: Sequence[Company]) -> None:
    """Put companies into a template."""
    async with where.world(where.server.url(database)) as world:
        await populate(world, where.secret, made)


def make_templates(where: Ground, servers: dict[str, str], options: argparse.Namespace) -> dict[bool, str]:
    """Return a database without the big company and one with it."""
    idle = where.server.create(where.postgresql)
    asyncio.run(fill(where, idle, list(companies(options, servers, big=False))))
    busy = where.server.create(idle)
    asyncio.run(fill(where, busy, list(companies(options, servers, big=True))))
    if options.lane == "deliveries":
        began = time.monotonic()
        add_flow(where.server, busy, Flow("old", f"{BIG}-%", options.big, time.time() - 60))
        told(f"{options.big:,} deliveries inserted in {time.monotonic() - began:.0f} s")
    for database in (idle, busy):
        where.server.execute("ANALYZE", database)
    return {False: idle, True: busy}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the experiment; return 1 when something was not reached."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fairness", description=__doc__)
    parser.add_argument("--lane", choices=["deliveries", "polls"], default="deliveries")
    parser.add_argument("--big", type=int, default=1_000_000, help="the big company's due deliveries")
    parser.add_argument("--big-stores", type=int, default=20_000, help="the big company's stores, with --lane polls")
    parser.add_argument("--small", type=int, default=999, help="small companies")
    parser.add_argument("--each", type=int, default=10, help="deliveries or stores of each small company")
    parser.add_argument("--workers", type=int, default=2)
    add_options(parser, repeats=3)
    short = {"big": 50_000, "big_stores": 1_000, "small": 99}
    options = read_options(parser, short, arguments)
    with ExitStack() as stack:
        where = stack.enter_context(ground())
        module = "benchmarks.isolation_servers"
        servers = {
            "partner": stack.enter_context(server("partner", "--secret", where.secret, module=module)),
            "stores": stack.enter_context(server("stores", module=module)),
        }
        if options.lane == "deliveries":
            options.big_stores = 0
        bench = Bench(where, make_templates(where, servers, options), servers, options)
        sides: dict[bool, list[dict[str, Any]]] = {False: [], True: []}
        for number in range(options.repeats):
            for with_big, runs in sides.items():
                runs.append(run_once(bench, with_big=with_big))
                words = "beside the big one" if with_big else "alone"
                told(f"run {number + 1} {words}: p50 {runs[-1]['p50']:.2f} s, p99 {runs[-1]['p99']:.2f} s")
        return page(sides[False], sides[True], options).keep(options)


if __name__ == "__main__":
    sys.exit(main())
