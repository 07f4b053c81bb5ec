"""A shop day: 10,000 cart sessions a day, held for an hour's share of them, and how far more would go.

Sessions begin one after another in a few custom stores: a cart appears, is changed once, and is either bought or left.
One worker on PostgreSQL polls, notices what was left for a minute, and hands it off; what was bought must not arrive.
Delay: from the moment a cart counts as abandoned to its arrival at the partner. Afterwards many carts that were left
before appear at once, and the rate at which the worker hands them off, kept up for a day, is the headroom.
"""

from __future__ import annotations

import argparse
import asyncio
import heapq
import random
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from benchmarks.grounds import Company, Ground, Store, Worker, ground, populate, workers
from benchmarks.pages import Check, Page, add_options, percentile, read_options, spread, told
from benchmarks.servers import call, server

A_DAY, DAY = 10_000, 86_400.0  # sessions; seconds
STORES, THRESHOLD = 8, 60.0  # stores; seconds until a cart is abandoned
BOUGHT, CHANGE_AFTER, BUY_AFTER = 0.3, 5.0, 20.0  # share of sessions; seconds
PATIENCE = 300.0
AT_ONCE = 250  # carts in one control request


@dataclass(frozen=True, slots=True)
class Bench:
    """What all runs share."""

    where: Ground
    store: str
    partner: str
    options: argparse.Namespace


@dataclass(order=True, slots=True)
class Act:
    """Something a shopper does: appear, change or buy."""

    at: float  # Unix time
    what: str = field(compare=False)
    store: str = field(compare=False)
    cart: str = field(compare=False)


@dataclass(slots=True)
class Sessions:
    """What the shoppers did. `abandoned`: when (Unix time) each cart that was left counts as abandoned."""

    abandoned: dict[str, float] = field(default_factory=dict)
    bought: set[str] = field(default_factory=set)


def acts(options: argparse.Namespace, names: Sequence[str], luck: random.Random) -> Iterator[Act]:
    """Yield what the shoppers do, evenly begun over the time."""
    count = max(round(options.sessions * options.seconds / DAY), options.least)
    began = time.time()
    for number in range(count):
        at, store = began + number * options.seconds / count, names[number % len(names)]
        cart = f"{store}-session-{number}"
        yield Act(at, "appear", store, cart)
        yield Act(at + CHANGE_AFTER, "change", store, cart)
        if luck.random() < BOUGHT:
            yield Act(at + min(BUY_AFTER, CHANGE_AFTER + (THRESHOLD - options.age) / 2), "buy", store, cart)


def shop(bench: Bench, names: Sequence[str], luck: random.Random) -> Sessions:
    """Let shoppers do what they do; a cart is `age` seconds old when it appears, so that short runs wait less."""
    plan, done, age = list(acts(bench.options, names, luck)), Sessions(), bench.options.age
    heapq.heapify(plan)
    while plan:
        act = heapq.heappop(plan)
        time.sleep(max(act.at - time.time(), 0))
        touched = time.time() - age
        stamp = {"updated_at": datetime.fromtimestamp(touched, UTC).isoformat()}
        if act.what == "buy":
            call(f"{bench.store}/_control/complete", {"tenant": act.store, "id": act.cart})
            done.bought.add(act.cart)
            continue
        fields = stamp if act.what == "appear" else {**stamp, "total": "25.00"}
        call(f"{bench.store}/_control/carts", {"tenant": act.store, "carts": [{"id": act.cart, **fields}]})
        done.abandoned[act.cart] = touched + THRESHOLD
    for cart in done.bought:
        del done.abandoned[cart]
    return done


def burst(bench: Bench, names: Sequence[str]) -> dict[str, Any]:
    """Let many carts that were left before appear at once; return how fast they arrived."""
    each = bench.options.burst // len(names)
    stamp = datetime.fromtimestamp(time.time() - 2 * THRESHOLD, UTC).isoformat()
    began, expected = time.time(), set[str]()
    for name in names:
        carts = [{"id": f"{name}-burst-{number}", "updated_at": stamp} for number in range(each)]
        for start in range(0, each, AT_ONCE):
            call(f"{bench.store}/_control/carts", {"tenant": name, "carts": carts[start : start + AT_ONCE]})
        expected |= {cart["id"] for cart in carts}
    arrivals = wait_for(bench, expected)
    took = max((arrivals[cart] for cart in expected & arrivals.keys()), default=began) - began
    return {"burst_missing": len(expected - arrivals.keys()), "rate": len(expected) / max(took, 0.001)}


def wait_for(bench: Bench, expected: set[str]) -> dict[str, float]:
    """Wait until all these carts have arrived, or patience ends; return when each cart did."""
    deadline = time.monotonic() + PATIENCE
    while True:
        arrivals: dict[str, float] = call(f"{bench.partner}/_control/times")["arrivals"]
        if expected <= arrivals.keys() or time.monotonic() > deadline:
            return arrivals
        time.sleep(1)


def run_once(bench: Bench, number: int) -> dict[str, Any]:
    """Make one run on a fresh database; return its figures."""
    options, where = bench.options, bench.where
    names = [f"day{number}-{at}" for at in range(STORES)]
    for name in names:
        call(f"{bench.store}/_control/tenants", {"name": name, "token": "token"})
    made = [
        Company(name, f"{bench.partner}/hook/{name}", [Store(name, f"{bench.store}/{name}", "token")], 1)
        for name in names
    ]
    with where.database() as database:
        asyncio.run(fill(where, where.server.url(database), made))
        with workers(where, database, 1, options.interval) as started:
            figures = held(bench, names, started[0], random.Random(f"{options.seed} {number}"))
            started[0].start_meter()
            figures |= burst(bench, names)
            return {**figures, "burst_cpu": started[0].cpu(), "peak_mb": started[0].peak_mb()}


def held(bench: Bench, names: Sequence[str], worker: Worker, luck: random.Random) -> dict[str, Any]:
    """Hold the day's rate; return delays, what went wrong, and the share of a core it took."""
    began = time.monotonic()
    worker.start_meter()
    done = shop(bench, names, luck)
    arrivals = wait_for(bench, set(done.abandoned))
    delays = [arrivals.get(cart, float("inf")) - at for cart, at in done.abandoned.items()]
    return {
        "sessions": len(done.abandoned) + len(done.bought),
        "handed_off": len(done.abandoned.keys() & arrivals.keys()),
        "missing": len(done.abandoned.keys() - arrivals.keys()),
        "bought_and_handed_off": len(done.bought & arrivals.keys()),
        "p50": percentile(delays, 0.5),
        "p99": percentile(delays, 0.99),
        "core": worker.cpu() / (time.monotonic() - began),
    }


async def fill(where: Ground, url: str, made: Sequence[Company]) -> None:
    """Put the companies into a database."""
    async with where.world(url) as world:
        await populate(world, where.secret, made)


def page(runs: Sequence[dict[str, Any]], options: argparse.Namespace) -> Page:
    """Return the page."""
    headroom = [run["rate"] * DAY / options.sessions for run in runs]
    made = Page(
        "day",
        f"{options.sessions:,} cart sessions a day",
        f"the rate of a day held {options.seconds:g} s in {STORES} custom stores, {options.least} sessions or more; "
        f"a beat each {options.interval} s; one worker on PostgreSQL; then {options.burst:,} carts at once",
        ("figure", "median (least to greatest)"),
        raw=list(runs),
    )
    names = {
        "sessions": "sessions",
        "handed_off": "handed off",
        "p50": "delay p50, s",
        "p99": "delay p99, s",
        "core": "cores used",
        "rate": "carts per s when all come at once",
        "peak_mb": "worker peak MB",
    }
    made.rows = [[words, spread([run[name] for run in runs])] for name, words in names.items()]
    made.rows.append(["headroom: that rate for a day, in times of the day's sessions", spread(headroom, 0)])
    lost = sum(run["missing"] + run["burst_missing"] for run in runs)
    wrong = sum(run["bought_and_handed_off"] for run in runs)
    made.checks = [
        Check("every abandoned cart is handed off", f"{lost} missing", lost == 0),
        Check("no cart that was bought in time is handed off", f"{wrong} were", wrong == 0),
        Check("the rate of a day can be held with room to spare", f"{min(headroom):,.0f} times", min(headroom) > 1),
    ]
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return 1 when something was not reached."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.day", description=__doc__)
    parser.add_argument("--sessions", type=int, default=A_DAY, help="cart sessions a day")
    parser.add_argument("--seconds", type=float, default=3600, help="for how long the rate is held")
    parser.add_argument("--least", type=int, default=1, help="sessions at least, however short the time")
    parser.add_argument(
        "--age", type=float, default=0, help="how many seconds old a cart is when it appears, 50 at most"
    )
    parser.add_argument("--burst", type=int, default=8_000, help="carts that appear at once in the end")
    parser.add_argument("--interval", type=int, default=30, help="seconds between beats")
    add_options(parser, repeats=1)
    short = {"seconds": 20, "least": 40, "age": 30, "burst": 400, "interval": 5}
    options = read_options(parser, short, arguments)
    with ExitStack() as stack:
        where = stack.enter_context(ground())
        store = stack.enter_context(server("custom", "--shops", "0"))
        partner = server("partner", "--secret", where.secret, module="benchmarks.isolation_servers")
        bench = Bench(where, store, stack.enter_context(partner), options)
        runs = []
        for number in range(options.repeats):
            runs.append(run_once(bench, number))
            told(f"run {number + 1}: p99 {runs[-1]['p99']:.2f} s, {runs[-1]['rate']:.0f} carts/s")
        return page(runs, options).keep(options)


if __name__ == "__main__":
    sys.exit(main())
