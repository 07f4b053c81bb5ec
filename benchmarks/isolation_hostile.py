"""Do hostile stores hold up the others? One store of every hostile kind among a thousand, most of them healthy.

Every run has its own database and the same healthy custom stores, in which carts appear over time: with the hostile
stores, and without. Freshness is the time from a cart's appearing in its store to its arrival at the partner. The carts
are abandoned when they appear, so nothing but polling and delivering is measured. Real worker processes on PostgreSQL;
stores, hostile stores and partner are processes of their own.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from benchmarks.grounds import Company, Ground, Store, ground, populate, workers
from benchmarks.pages import Check, Page, add_options, percentile, read_options, spread, told
from benchmarks.servers import call, server
from simulator.hostile import KINDS

SLOWER, MOST_MB = 2.0, 512.0  # the passes: healthy p99 freshness in times of the baseline, a worker's peak memory
COMPANIES = 100
LEFT_BEFORE = timedelta(seconds=90)  # a cart was last touched so long before it appears; the threshold is a minute
PATIENCE = 180.0  # seconds for what is left at the end
MODULE = "benchmarks.isolation_servers"


@dataclass(frozen=True, slots=True)
class Bench:
    """What all runs share. `template` is a database with every store in it."""

    where: Ground
    template: str
    servers: dict[str, str]
    options: argparse.Namespace


def companies(options: argparse.Namespace, servers: dict[str, str]) -> Iterator[Company]:
    """Yield companies that share the stores out evenly, so that hostile ones have healthy neighbours."""
    kinds = list(KINDS)[: options.hostile]
    stores = [Store(f"hostile-{kind}", f"{servers['hostile']}/{kind}", "token") for kind in kinds]
    healthy = options.stores - len(kinds)
    stores += [Store(f"healthy-{at}", f"{servers['healthy']}/run-{at}", "token") for at in range(healthy)]
    for number in range(min(COMPANIES, len(stores))):
        name = f"company-{number}"
        yield Company(name, f"{servers['partner']}/hook/{name}", stores[number::COMPANIES])


def open_stores(bench: Bench, database: str, run: str) -> list[str]:
    """Open the healthy stores of a run, without any cart, and point the run's database to them; return their names."""
    healthy = bench.options.stores - min(bench.options.hostile, len(KINDS))
    names = [f"{run}-{at}" for at in range(healthy)]
    for name in names:
        call(f"{bench.servers['healthy']}/_control/tenants", {"name": name, "token": "token"})
    moved = f"to_jsonb(replace(settings ->> 'base_url', '/run-', '/{run}-'))"
    point = f"UPDATE integrations SET settings = jsonb_set(settings, '{{base_url}}', {moved})"  # noqa: S608  ours
    bench.where.server.execute(point, database)
    return names


def let_carts_appear(bench: Bench, names: Sequence[str], luck: random.Random) -> dict[str, float]:
    """Add carts to the stores one by one, evenly over time; return when (Unix time) each appeared."""
    options, appeared = bench.options, dict[str, float]()
    turns = [name for name in names for _ in range(options.carts)]
    luck.shuffle(turns)
    began = time.time()
    for number, name in enumerate(turns):
        time.sleep(max(began + number * options.seconds / len(turns) - time.time(), 0))
        cart, left = f"{name}-cart-{number}", datetime.now(UTC) - LEFT_BEFORE
        call(
            f"{bench.servers['healthy']}/_control/carts",
            {"tenant": name, "carts": [{"id": cart, "updated_at": left.isoformat()}]},
        )
        appeared[cart] = time.time()
    return appeared


def wait_for(bench: Bench, appeared: dict[str, float]) -> dict[str, float]:
    """Wait until all carts have arrived, or patience ends; return when each did."""
    deadline = time.monotonic() + PATIENCE
    while True:
        arrivals: dict[str, float] = call(f"{bench.servers['partner']}/_control/times")["arrivals"]
        if appeared.keys() <= arrivals.keys() or time.monotonic() > deadline:
            return arrivals
        time.sleep(1)


def run_once(bench: Bench, number: int, *, with_hostile: bool) -> dict[str, Any]:
    """Make one run on a copy of the template; return its figures."""
    options, where, run = bench.options, bench.where, f"r{number}{'h' if with_hostile else 'b'}"
    call(f"{bench.servers['partner']}/_control/reset", {})
    with where.database(bench.template) as database:
        names = open_stores(bench, database, run)
        if not with_hostile:
            where.server.execute("UPDATE integrations SET status = 'inactive' WHERE id LIKE 'hostile-%'", database)
        with workers(where, database, options.workers, options.interval) as started:
            time.sleep(options.interval)  # every store has had its first poll
            for worker in started:
                worker.start_meter()
            appeared = let_carts_appear(bench, names, random.Random(f"{options.seed} {number}"))
            arrivals = wait_for(bench, appeared)
            ages = [arrivals.get(cart, float("inf")) - at for cart, at in appeared.items()]
            return {
                "carts": len(ages),
                "missing": sum(cart not in arrivals for cart in appeared),
                "p50": percentile(ages, 0.5),
                "p99": percentile(ages, 0.99),
                "longest": max(ages),
                "cpu": sum(worker.cpu() for worker in started),
                "peak_mb": max(worker.peak_mb() for worker in started),
                "ended": end_states(where, database) if with_hostile else {},
            }


def end_states(where: Ground, database: str) -> dict[str, str]:
    """Return what each hostile store came to: its status, its error's code, and how many carts are stored."""
    query = """
        SELECT i.id, i.status, coalesce(i.last_error_code, ''), count(c.id), i.polls FROM integrations i
        LEFT JOIN carts c ON c.company_id = i.company_id AND c.integration_id = i.id
        WHERE i.id LIKE 'hostile-%' GROUP BY i.company_id, i.id"""
    rows = [line.split("|") for line in where.server.execute(query, database).splitlines()]
    return {name.removeprefix("hostile-"): told_state(rest) for name, *rest in rows}


def told_state(row: Sequence[str]) -> str:
    """Return an end state in words."""
    status, code, carts, polls = row
    return f"{code or 'well'}, {carts} carts" if int(polls) else f"still in its first poll, {status}, {carts} carts"


def unexpected(ended: dict[str, str]) -> list[str]:
    """Return the stores whose error is not the one that their kind leads to.

    That credentials count as rejected takes longer than a run, so the status itself is not asked.
    """
    expected = {kind: KINDS[kind].end.error_code or "well" for kind in ended}
    return sorted(f"{kind}: {state}" for kind, state in ended.items() if not state.startswith(expected[kind]))


def page(without: Sequence[dict[str, Any]], with_hostile: Sequence[dict[str, Any]], options: Any) -> Page:
    """Return the page."""
    hostile = len(with_hostile[0]["ended"])
    made = Page(
        "isolation-hostile",
        "Hostile stores beside healthy ones",
        f"{options.stores} stores, {hostile} of them hostile, each in its own way; {options.carts} carts appear in "
        f"every healthy store over {options.seconds:g} s; a beat each {options.interval} s, {options.workers} workers, "
        f"{options.repeats} runs of each side in turn",
        ("healthy stores", "p50 s", "p99 s", "longest s", "missing", "worker CPU s", "worker peak MB"),
    )
    for side, runs in (("alone", without), ("beside the hostile", with_hostile)):
        names = ("p50", "p99", "longest", "missing", "cpu", "peak_mb")
        made.rows.append([side, *(spread([run[name] for run in runs]) for name in names)])
        made.raw += [{"side": side, **run} for run in runs]
    ratio = statistics.median(run["p99"] for run in with_hostile) / statistics.median(run["p99"] for run in without)
    peak = max(run["peak_mb"] for run in with_hostile)
    missing = sum(run["missing"] for run in [*without, *with_hostile])
    made.checks = [
        Check(
            f"healthy p99 freshness less than {SLOWER:g} times that without",
            f"{ratio:.2f} times",
            ratio < SLOWER,
            is_figure=True,
        ),
        Check(f"a worker's peak memory below {MOST_MB:.0f} MB", f"{peak:.0f} MB", peak < MOST_MB),
        Check("every cart arrived", f"{missing} missing", missing == 0),
    ]
    odd = unexpected(with_hostile[-1]["ended"])
    made.notes = (
        f"Medians over the runs (least to greatest). At the end of the last run {hostile - len(odd)} of {hostile} "
        f"hostile stores had come to the error of their kind{'; not (yet): ' + '; '.join(odd) if odd else ''}."
    )
    return made


async def fill(bench: Bench) -> None:
    """Put the companies into the template."""
    async with bench.where.world(bench.where.server.url(bench.template)) as world:
        await populate(world, bench.where.secret, companies(bench.options, bench.servers))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the experiment; return 1 when something was not reached."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.isolation_hostile", description=__doc__)
    parser.add_argument("--stores", type=int, default=1000, help="healthy and hostile ones together")
    parser.add_argument("--hostile", type=int, default=len(KINDS), help="how many of them are hostile; a kind each")
    parser.add_argument("--carts", type=int, default=3, help="carts that appear in each healthy store")
    parser.add_argument("--seconds", type=float, default=90, help="over how long they appear")
    parser.add_argument("--interval", type=int, default=10, help="seconds between beats, 5 at least")
    parser.add_argument("--workers", type=int, default=2)
    add_options(parser, repeats=5)
    options = read_options(parser, {"stores": 90, "hostile": 30, "seconds": 15, "interval": 5}, arguments)
    with ExitStack() as stack:
        where = stack.enter_context(ground())
        servers = {
            "healthy": stack.enter_context(server("custom", "--shops", "0")),
            "hostile": stack.enter_context(server("hostile", module=MODULE)),
            "partner": stack.enter_context(server("partner", "--secret", where.secret, module=MODULE)),
        }
        bench = Bench(where, where.server.create(where.postgresql), servers, options)
        asyncio.run(fill(bench))
        sides: dict[bool, list[dict[str, Any]]] = {False: [], True: []}
        for number in range(options.repeats):
            for with_hostile, runs in sides.items():
                runs.append(run_once(bench, number, with_hostile=with_hostile))
                last, words = runs[-1], "beside the hostile" if with_hostile else "alone"
                told(f"run {number + 1} {words}: p99 {last['p99']:.2f} s, peak {last['peak_mb']:.0f} MB")
        return page(sides[False], sides[True], options).keep(options)


if __name__ == "__main__":
    sys.exit(main())
