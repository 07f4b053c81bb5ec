"""Does any mutated body, header, id or length make a fault of ours, and does the memory stay as it is?

Every operation that takes a body, as the OpenAPI document tells, is sent its example with bits flipped, ends cut off,
values, names, encodings, types and lengths that nobody should send, as raw bytes over loopback, to a real web process
on PostgreSQL. The control is an application that breaks down for some bodies and keeps all of them.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import re
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from backend.domain.access import Role
from backend.routers.reference import example_of
from benchmarks import attack_control
from benchmarks.attack_api import known_ids
from benchmarks.attack_fire import Told, fire
from benchmarks.attack_kept import keep, read_options
from benchmarks.attack_mutations import Aim, Shot, aims_of, shot
from benchmarks.attack_scene import ALL, scene
from benchmarks.grounds import ground
from benchmarks.meter import resident_mb_of
from benchmarks.pages import Check, Page, told

LONG, SHORT, CONTROL = 100_000, 5_000, 2_000
VOLLEY = 10_000  # requests of one session
WARM_UP = 0.2  # share of the requests that are sent before the memory counts
MOST_GROWTH = 8.0  # MB after the warm-up


def example(document: Any, ids: dict[str, list[str]], schema: Any) -> Any:
    """Return a valid body, with the id of an agent that is there."""
    made = example_of(document, schema) if schema else ""
    if isinstance(made, dict) and "agent_id" in made:
        made = made | {"agent_id": ids["agent_id"][0]}
    return made


def attack(url: str, arm: Callable[[], Sequence[Aim]], pid: int, options: argparse.Namespace) -> dict[str, Any]:
    """Send so many requests after a warm-up; return what came of all of them, and the memory before and after.

    `arm` is asked for valid requests now and then: what they are signed with lasts a quarter of an hour.
    """
    chance, began, count = random.Random(options.seed), time.perf_counter(), options.requests
    warm = _volley(url, arm(), chance, round(count * WARM_UP))
    before, parts = resident_mb_of(pid), [warm]
    for first in range(0, count, VOLLEY):
        parts.append(_volley(url, arm(), chance, min(VOLLEY, count - first)))
        told(f"{sum(part.sent for part in parts):,} sent, {sum(part.faults for part in parts)} answered with 5xx")
    return {
        "seed": options.seed,
        "operations": len({name for part in parts for name in part.operations}),
        "sent": sum(part.sent for part in parts),
        "faults": sum(part.faults for part in parts),
        "late": sum(len(part.late) for part in parts),
        "no_http": sum(part.no_http for part in parts),
        "silent": sum(sum(part.silent.values()) for part in parts),
        "unlike": [shown(each, 300) for part in parts for each in part.unlike],
        "faulty": [(each.kind, shown(each, 2_000)) for part in parts for each in part.faulty],
        "kinds": _kinds(*parts),
        "memory_mb": [round(before, 1), round(resident_mb_of(pid), 1)],
        "seconds": round(time.perf_counter() - began),
    }


def _volley(url: str, aims: Sequence[Aim], chance: random.Random, count: int) -> Told:
    return asyncio.run(fire(url, (shot(chance, aims) for _ in range(count))))


def shown(one: Shot, length: int) -> str:
    """Return the beginning of a request, without what it is signed with."""
    return re.sub(r"(?im)^(authorization: bearer ).*", r"\1...", one.raw[:length].decode("latin-1"))


def _kinds(*parts: Told) -> dict[str, dict[str, int]]:
    """Return how often each kind of request was answered with which class of status."""
    found: dict[str, Counter[str]] = {}
    for part in parts:
        for kind, statuses in part.statuses.items():
            for status, count in statuses.items():
                found.setdefault(kind, Counter())[f"{status // 100}xx"] += count
        for kind, count in part.silent.items():
            found.setdefault(kind, Counter())["no answer"] += count
    return {kind: dict(counts) for kind, counts in sorted(found.items())}


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Attack the product as a person who is owner of all companies, so that one's own account is attacked too."""
    with ground() as place, scene(place) as where:
        document = where.ask("GET", "/openapi.json")
        key = where.keys[Role.OWNER, ALL]
        ids = known_ids(where, document, key)
        first = defaultdict(lambda: "none", {name: values[0] for name, values in ids.items() if values})

        def arm() -> list[Aim]:
            bearer = ((b"authorization", f"Bearer {where.sign_in().text}".encode()),)
            return aims_of(document, bearer, first, lambda schema: example(document, ids, schema))

        row = attack(where.url, arm, where.process.pid, options)
        row |= {"of": len(arm()), "alive": where.process.poll() is None}
        row["logged"] = where.log.read_text(errors="replace").count('"event":"request.failed"')
        if row["faults"] or row["logged"]:
            sys.stdout.write(where.words() + "\n")
    return {"side": "the product", **row}


def run_control(options: argparse.Namespace) -> dict[str, Any]:
    """Attack the application with faults in it."""
    with attack_control.served() as (url, document, pid):
        aims = aims_of(document, (), {}, lambda schema: example_of(document, schema) if schema else {"name": "a"})
        row = attack(url, lambda: aims, pid, argparse.Namespace(**{**vars(options), "requests": CONTROL}))
    return {"side": "control", "of": len(aims), "alive": True, "logged": 0, **row, "faulty": [], "unlike": []}


def page(rows: Sequence[dict[str, Any]], options: argparse.Namespace) -> Page:
    """Return the page."""
    product, control = rows
    made = Page(
        "attack-bodies",
        "Mutated bodies, headers, ids and lengths at every operation that takes a body",
        f"{product['sent']:,} requests, seed {options.seed}, to one web process on PostgreSQL set up as in production, "
        f"rate limits off; {round(WARM_UP * 100)} % more come first as a warm-up",
        (
            "side",
            "operations",
            "requests",
            "answers of 5xx",
            "faults logged",
            "no answer in time",
            "MB before",
            "after",
            "s",
        ),
        raw=list(rows),
    )
    for row in rows:
        counts = [f"{row['sent']:,}", row["faults"], row["logged"], row["late"], *row["memory_mb"], row["seconds"]]
        made.rows.append([row["side"], f"{row['operations']} of {row['of']}", *counts])
    grown, control_grown = (row["memory_mb"][1] - row["memory_mb"][0] for row in rows)
    found = product["faults"] + product["logged"] + product["late"]
    made.checks = [
        Check("no answer of 5xx, no fault logged, none without an answer in time", f"{found}", not found),
        Check(
            f"memory grows by less than {MOST_GROWTH:.0f} MB after the warm-up", f"{grown:+.1f} MB", grown < MOST_GROWTH
        ),
        Check(
            "every refusal of the application is a problem document",
            f"{len(product['unlike'])} are not",
            not product["unlike"],
        ),
        Check("the control's faults are counted", f"{control['faults']}", control["faults"] > 0),
        Check("the control's memory is seen to grow", f"{control_grown:+.1f} MB", control_grown >= MOST_GROWTH),
    ]
    kinds = "\n".join(f"- {kind}: {_counted(counts)}" for kind, counts in product["kinds"].items())
    made.notes = (
        f"What was sent to the product, and what was answered:\n\n{kinds}\n\nNo answer: the request promised more than "
        "came, so there was nothing to answer."
    )
    if product["no_http"]:
        made.notes += f" {product['no_http']:,} requests were no HTTP: the server answered those in plain text."
    return made


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items()))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the attack; return 1 when something was found."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.attack_bodies", description=__doc__)
    parser.add_argument("--requests", type=int, help=f"requests; {SHORT:,}, or {LONG:,} with --long")
    options = read_options(parser, arguments)
    options.requests = options.requests or (LONG if options.long else SHORT)
    told(f"{options.requests} requests, seed {options.seed}")
    rows = [run(options), run_control(options)]
    for kind, raw in rows[0]["faulty"]:
        sys.stdout.write(f"5xx for {kind}: {raw[:600]!r}\n")
    return keep(page(rows, options), options)


if __name__ == "__main__":
    sys.exit(main())
