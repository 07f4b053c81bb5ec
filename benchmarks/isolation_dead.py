"""Do dead receivers hold up the others? 30 % of the destinations are dead in seven ways beside healthy ones.

Every run has its own database and the same flow to the healthy destinations: with the dead ones, and without. All were
well until then. The dead ones are found out one after another while the flow begins: each is owed a backlog at once,
gets the same flow, and refuses, hangs, drips, or answers 500, 429, 410 or an endless body. Real worker processes on
PostgreSQL; the partner, a process of its own, counts how many requests each hook has in the air at once and notes when
each delivery arrives.
"""

from __future__ import annotations

import argparse
import asyncio
import socket
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from backend.domain.backoff import BREAKER_OPENS_AT
from benchmarks.grounds import Company, Ground, Store, ground, populate, workers
from benchmarks.isolation_rows import Flow, add_flow, due_times
from benchmarks.isolation_servers import REFUSE, WAYS
from benchmarks.pages import Check, Page, add_options, percentile, read_options, spread, told
from benchmarks.servers import call, server

SLOTS, SLOWER, FEWER = 4, 1.5, 0.95  # the passes: slots a dead one holds, p99 ratio, ratio of starts a second
LEAD = 3.0  # seconds between the insert and the first due time
PATIENCE = 120.0  # seconds that the healthy ones get for what is left at the end
HEALTHY = "healthy"
RIGHT = """
Right end states: `gone` (410) is disabled; `giant` is delivered, as its 2xx stands once 16 KiB are read and the rest is
left unread; all others are held, by the breaker or until the time they named, and nothing counts as delivered."""


@dataclass(frozen=True, slots=True)
class Bench:
    """What all runs share. `template` is a database with every company in it."""

    where: Ground
    template: str
    partner: str
    options: argparse.Namespace


@contextmanager
def unused_port() -> Iterator[int]:
    """Give a port that is taken and on which nobody listens: a connection to it is refused."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


def companies(options: argparse.Namespace, partner: str, port: int) -> Iterator[Company]:
    """Yield one company per destination; the dead ones share the ways of being dead evenly."""
    for number in range(options.destinations):
        way = WAYS[number % len(WAYS)] if number < options.dead else HEALTHY
        name = f"{way}-{number}"
        hook = f"http://127.0.0.1:{port}/hook/{name}" if way == REFUSE else f"{partner}/hook/{name}"
        # Deliveries belong to a store by a key; this one is never polled.
        yield Company(name, hook, [Store(name, "http://127.0.0.1:9", "none", status="inactive")])


def run_once(bench: Bench, *, with_dead: bool) -> dict[str, Any]:
    """Make one run on a copy of the template; return its figures."""
    options, where = bench.options, bench.where
    call(f"{bench.partner}/_control/reset", {})
    with where.database(bench.template) as database:
        settings = {"delivery_deadline_seconds": options.deadline}
        with workers(where, database, options.workers, 60, **settings) as started:
            start = time.time() + LEAD
            rounds = round(options.seconds / options.every)
            add_flow(where.server, database, Flow("flow", f"{HEALTHY}-%", rounds, start, options.every))
            if with_dead:
                for way in WAYS:
                    add_flow(where.server, database, Flow("dead", f"{way}-%", rounds, start, options.every))
                    backlog = Flow("backlog", f"{way}-%", options.backlog, start, spread=options.every)
                    add_flow(where.server, database, backlog)
            due = due_times(where.server, database, "flow-%")
            for worker in started:
                worker.start_meter()
            time.sleep(max(start + options.seconds - time.time(), 0))
            wait_for_healthy(where, database)
            times = call(f"{bench.partner}/_control/times")
            figures = measured(times, due, start, options.seconds)
            figures["cpu"] = sum(worker.cpu() for worker in started)
            figures["peak_mb"] = max(worker.peak_mb() for worker in started)
            if with_dead:
                figures["dead"] = dead_ones(where, database, times["peaks"])
    return figures


def wait_for_healthy(where: Ground, database: str) -> None:
    """Wait until nothing is owed to the healthy destinations; what takes too long counts as never arrived."""
    deadline = time.monotonic() + PATIENCE
    owed = f"SELECT count(*) FROM deliveries WHERE state = 'pending' AND destination_id LIKE '{HEALTHY}-%'"  # noqa: S608  ours
    while int(where.server.execute(owed, database)) and time.monotonic() < deadline:
        time.sleep(0.5)


def measured(times: dict[str, Any], due: dict[str, float], start: float, seconds: float) -> dict[str, Any]:
    """Return what the healthy destinations saw: delays from the due time to the first arrival, starts a second."""
    arrivals = {name: at for name, at in times["arrivals"].items() if name in due}
    delays = [arrivals.get(name, float("inf")) - at for name, at in due.items()]
    begun = [at for at in arrivals.values() if start <= at < start + seconds]
    return {
        "deliveries": len(due),
        "missing": len(due) - len(arrivals),
        "p50": percentile(delays, 0.5),
        "p99": percentile(delays, 0.99),
        "longest": max(delays),
        "starts_a_second": len(begun) / seconds,
    }


def dead_ones(where: Ground, database: str, peaks: dict[str, int]) -> dict[str, dict[str, Any]]:
    """Return, for each way of being dead, the most slots one held and how many are in the right end state."""
    found: dict[str, dict[str, Any]] = {}
    query = f"""
        SELECT split_part(t.id, '-', 1), count(*),
            count(*) FILTER (WHERE t.status = 'disabled'),
            count(*) FILTER (WHERE t.status = 'active' AND (t.held_until IS NOT NULL OR t.failures >=
                {BREAKER_OPENS_AT})),
            count(*) FILTER (WHERE t.status = 'active' AND t.held_until IS NULL AND t.failures = 0),
            coalesce(sum(d.delivered), 0), coalesce(sum(d.attempts), 0)
        FROM destinations t
        LEFT JOIN (SELECT destination_id, sum(attempts) AS attempts, count(*) FILTER (WHERE state = 'delivered')
            AS delivered FROM deliveries GROUP BY destination_id) d ON d.destination_id = t.id
        WHERE t.id NOT LIKE '{HEALTHY}-%' GROUP BY 1"""  # noqa: S608  ours
    for line in where.server.execute(query, database).splitlines():
        way, *counts = line.split("|")
        total, disabled, held, well, delivered, attempts = map(int, counts)
        right = {"gone": disabled, "giant": well}.get(way, held)
        slots = max((peak for name, peak in peaks.items() if name.startswith(f"{way}-")), default=0)
        found[way] = {"total": total, "right": right, "slots": slots, "delivered": delivered, "attempts": attempts}
    return found


def told_of(number: int, side: str, run: dict[str, Any]) -> None:
    """Say how a run went."""
    told(
        f"run {number + 1} {side}: p99 {run['p99']:.2f} s, {run['starts_a_second']:.1f} starts/s, "
        f"{run['missing']} missing, {run['cpu']:.1f} CPU s, {run['peak_mb']:.0f} MB"
    )


def page(without: Sequence[dict[str, Any]], with_dead: Sequence[dict[str, Any]], options: argparse.Namespace) -> Page:
    """Return the page."""
    made = Page(
        "isolation-dead",
        "Dead receivers beside healthy ones",
        f"{options.destinations} destinations, {options.dead} of them dead; every healthy one owed a delivery each "
        f"{options.every:g} s for {options.seconds:g} s, every dead one {options.backlog} more at once, one "
        f"after another in the first {options.every:g} s; "
        f"{options.workers} workers, deadline {options.deadline} s, {options.repeats} runs of each side in turn",
        ("run", "p50 s", "p99 s", "longest s", "starts a second", "missing", "worker CPU s", "worker peak MB"),
    )
    for side, runs in (("healthy alone", without), ("beside the dead", with_dead)):
        names = ("p50", "p99", "longest", "starts_a_second", "missing", "cpu", "peak_mb")
        made.rows.append([side, *(spread([run[name] for run in runs]) for name in names)])
        made.raw += [{"side": side, **run} for run in runs]
    made.checks = checks(without, with_dead)
    ways = [
        f"| {way} | {max(run['dead'][way]['slots'] for run in with_dead)} "
        f"| {min(run['dead'][way]['right'] for run in with_dead)} of {with_dead[0]['dead'][way]['total']} "
        f"| {with_dead[-1]['dead'][way]['attempts']} | {with_dead[-1]['dead'][way]['delivered']} |"
        for way in sorted(with_dead[0]["dead"])
    ]
    made.notes = "\n".join(
        [
            "Medians over the runs (least to greatest). Of each way of being dead, counts of the last run:\n",
            "| way | most slots one held | in the right end state | attempts | delivered |",
            "|---|---|---|---|---|",
            *ways,
            RIGHT,
        ]
    )
    return made


def checks(without: Sequence[dict[str, Any]], with_dead: Sequence[dict[str, Any]]) -> list[Check]:
    """Return what was to be reached."""
    slots = max(way["slots"] for run in with_dead for way in run["dead"].values())
    ratio = middle(with_dead, "p99") / middle(without, "p99")
    starts = middle(with_dead, "starts_a_second") / middle(without, "starts_a_second")
    wrong = sum(way["total"] - way["right"] for run in with_dead for way in run["dead"].values())
    return [
        Check(f"slots held by each dead one at most {SLOTS}", f"{slots}", slots <= SLOTS),
        Check(
            f"healthy p99 delay at most {SLOWER} times that without",
            f"{ratio:.2f} times",
            ratio <= SLOWER,
            is_figure=True,
        ),
        Check(
            "starts a second unchanged (5 % either way)",
            f"{starts:.3f} times",
            FEWER <= starts <= 2 - FEWER,
            is_figure=True,
        ),
        Check("every dead one in the right end state", f"{wrong} wrong", wrong == 0),
    ]


def middle(runs: Sequence[dict[str, Any]], name: str) -> float:
    """Return the median of a figure."""
    return statistics.median(float(run[name]) for run in runs)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the experiment; return 1 when something was not reached."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.isolation_dead", description=__doc__)
    parser.add_argument("--destinations", type=int, default=1000)
    parser.add_argument("--dead", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=90, help="for how long deliveries become due")
    parser.add_argument("--every", type=float, default=15, help="seconds between two deliveries of a destination")
    parser.add_argument("--backlog", type=int, default=12, help="deliveries each dead one is owed at once")
    parser.add_argument("--deadline", type=int, default=15, help="DELIVERY_DEADLINE_SECONDS of the workers")
    parser.add_argument("--workers", type=int, default=2)
    add_options(parser, repeats=5)
    short = {"destinations": 70, "dead": 21, "seconds": 12, "every": 2, "deadline": 1}
    options = read_options(parser, short, arguments)
    with ExitStack() as stack:
        where = stack.enter_context(ground())
        partner = server("partner", "--secret", where.secret, module="benchmarks.isolation_servers")
        bench = Bench(where, where.server.create(where.postgresql), stack.enter_context(partner), options)
        made = companies(options, bench.partner, stack.enter_context(unused_port()))
        asyncio.run(fill(bench, list(made)))
        sides: dict[bool, list[dict[str, Any]]] = {False: [], True: []}
        for number in range(options.repeats):
            for with_dead, runs in sides.items():
                runs.append(run_once(bench, with_dead=with_dead))
                told_of(number, "beside the dead" if with_dead else "alone", runs[-1])
        return page(sides[False], sides[True], options).keep(options)


async def fill(bench: Bench, made: Sequence[Company]) -> None:
    """Put the companies into the template. Until the run begins, all destinations were well."""
    async with bench.where.world(bench.where.server.url(bench.template)) as world:
        await populate(world, bench.where.secret, made)
    bench.where.server.execute("UPDATE destinations SET last_success_at = now()", bench.template)


if __name__ == "__main__":
    sys.exit(main())
