"""Does the outbound door ever connect to an address that it should not, however it is written and however it comes?

Every known way to write a forbidden target, as a URL, as a name server's answer, among good answers, behind a redirect
and by a name that changes its mind, through the bare door, a store's poll and a partner's delivery. Canaries listen on
loopback and, where this process may lend itself the addresses, on the metadata address and on public ones; a watch sees
every attempt to connect. The same with the guard taken out shows that both would notice.

The short form puts every case to the bare door and a sample to the others; `--long` puts all of them to all.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from backend.db import upgrade_database
from benchmarks.attack_canary import lending
from benchmarks.attack_cases import Case
from benchmarks.attack_doors import (
    Field,
    Played,
    Result,
    attacked,
    played,
    tried,
    with_redirects,
    without_guard,
    without_resolver_check,
)
from benchmarks.attack_forms import METADATA, OWN, Form, forms
from benchmarks.pages import RESULTS, Check, Page, told

LEAST_FORMS = 60
SAMPLE = 150  # cases at each of the other doors in the short form
CONTROL = ("127.0.0.1", "::1", "::ffff:127.0.0.1")  # forms at each of them with the guard taken out
PLAIN = frozenset({"range", "place", "own", "by setting"})  # forms that are addresses: any client dials them
ONE_VISIT = frozenset({"rebinding, kept alive", "rebinding, remembered"})  # need a second request within seconds


@dataclass(slots=True)
class Findings:
    """What all passes found."""

    rows: list[Sequence[object]] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    cases: int = 0

    def pass_of(self, words: str, results: Sequence[Result]) -> None:
        """Add a pass through the bare door, way by way."""
        for way in dict.fromkeys(result.case.way for result in results):
            part = [result for result in results if result.case.way == way]
            dialled, hits = sum(result.is_leak for result in part), sum(result.hits for result in part)
            requests = sum(len(result.outcomes) for result in part)
            self.rows.append([words, way, len(part), requests, dialled, hits])

    def must(self, words: str, found: str, *, is_met: bool) -> None:
        """Add something that has to hold."""
        self.checks.append(Check(words, found, is_met))
        told(f"{'met' if is_met else 'NOT MET'}: {words}; {found}")


async def attack(lent: set[str], folder: Path, options: argparse.Namespace) -> Findings:
    """Carry out every pass."""
    found, chance = Findings(), random.Random(options.seed)
    known = forms(with_own=set(OWN) <= lent)
    found.must(f"at least {LEAST_FORMS} forms", str(len(known)), is_met=len(known) >= LEAST_FORMS)
    async with attacked(lent) as where:
        await _bare(where, known, found)
        await _bare_controls(where, known, found)
        size = None if options.long else SAMPLE
        stores, partners = (_drawn(where.cases(known), chance, size) for _ in range(2))
        await _doors(where, _database(folder, "doors"), (stores, partners), found)
        await _door_control(where, _database(folder, "control"), known, found)
    return found


async def _bare(where: Field, known: Sequence[Form], found: Findings) -> None:
    """Put every case to the bare door."""
    results = await tried(where, where.cases(known))
    found.pass_of("bare", results)
    found.cases += len(results)
    leaks, wrong = [result for result in results if result.is_leak], [r for r in results if not r.is_well]
    found.must("bare door: nothing is dialled", f"{len(leaks)} of {len(results):,} cases", is_met=not leaks)
    found.must("bare door: each case ends as it should", _first([_words(r) for r in wrong]), is_met=not wrong)


async def _bare_controls(where: Field, known: Sequence[Form], found: Findings) -> None:
    """See what the watch and the canaries tell with the guard, or a part of it, taken out."""
    with with_redirects():
        results = [r for r in await tried(where, where.cases(known)) if r.case.way.startswith("redirect")]
    found.pass_of("bare, redirects followed", results)
    leaks = [r for r in results if r.is_leak]
    found.must("redirects followed against the rule: nothing is dialled", f"{len(leaks)} cases", is_met=not leaks)
    with without_resolver_check():
        results = [r for r in await tried(where, where.cases(known)) if not r.case.way.startswith("mixed")]
    found.pass_of("bare, names unchecked", results)
    leaks = [r for r in results if r.is_leak]
    found.must("the socket's check alone: nothing is dialled", f"{len(leaks)} cases", is_met=not leaks)
    with without_guard(), with_redirects():
        results = await tried(where, where.cases(known))
    found.pass_of("control: no guard, redirects followed", results)
    plain = [r for r in results if r.case.form.kind in PLAIN and r.case.way not in ONE_VISIT]
    silent = [r for r in plain if not r.is_leak]
    hits = sum(r.hits for r in results)
    words = f"{len(plain) - len(silent):,} of {len(plain):,} cases; {_first([_words(r) for r in silent])}"
    found.must("control: without the guard every plain address is dialled", words, is_met=not silent)
    found.must("control: without the guard the canaries are hit", f"{hits} connections", is_met=hits > 0)


async def _doors(where: Field, url: str, cases: tuple[list[Case], list[Case]], found: Findings) -> None:
    """Put cases to polls and deliveries."""
    told(f"{len(cases[0]):,} cases as stores, {len(cases[1]):,} as destinations")
    done = await played(where, url, *cases)
    for name, part in (("poll", done.polls), ("delivery", done.deliveries)):
        found.cases += len(part.cases)
        found.rows.append([name, "all ways, two cycles", len(part.cases), part.requests, *_leaks(done)])
        found.must(f"{name}: each case ends as it should", _first(part.wrong), is_met=not part.wrong)
    is_quiet = not done.attempts and not done.hits
    found.must("polls and deliveries: nothing is dialled", _first(done.attempts), is_met=is_quiet)


async def _door_control(where: Field, url: str, known: Sequence[Form], found: Findings) -> None:
    """Put a few forms of loopback to polls, which use GET, and to deliveries, which use POST, without the guard."""
    chosen = [form for form in known if form.name in CONTROL]
    stores, partners = ([case for case in where.cases(chosen) if _is_direct(case)] for _ in range(2))
    where.bird.methods.clear()
    with without_guard():
        done = await played(where, url, stores, partners)
    for name, method, part in (("poll", "GET", done.polls), ("delivery", "POST", done.deliveries)):
        hits = where.bird.methods[method]
        found.rows.append(
            [f"control: {name}, no guard", "all ways, two cycles", len(part.cases), part.requests, "", hits]
        )
        words = f"{hits} times by {method}, from {len(part.cases)} cases"
        found.must(f"control: without the guard a {name} reaches the canary", words, is_met=hits >= len(part.cases))


def _drawn(cases: Sequence[Case], chance: random.Random, size: int | None) -> list[Case]:
    """Return the cases that two cycles can show, or a sample of them in which every way occurs."""
    fit = [case for case in cases if case.way not in ONE_VISIT]
    if size is None:
        return fit
    ways = sorted({case.way for case in fit})
    each = size // len(ways)
    parts = ([case for case in fit if case.way == way] for way in ways)
    return [case for part in parts for case in chance.sample(part, min(each, len(part)))]


def _is_direct(case: Case) -> bool:
    return case.way not in ONE_VISIT and not case.way.startswith("redirect")


def _database(folder: Path, name: str) -> str:
    return f"sqlite+aiosqlite:///{folder / name}.db"


def _leaks(done: Played) -> tuple[int, int]:
    return len(done.attempts), done.hits


def _words(result: Result) -> str:
    return f"{result.case.way} {result.case.form.name!a}: {', '.join(result.outcomes)}"


def _first(faults: Sequence[str]) -> str:
    """Return how many there are, and the first few."""
    named = "; ".join(ascii(fault)[1:-1] for fault in faults[:5])
    return f"{len(faults)} exceptions: {named}" if faults else "no exception"


def page(found: Findings, lent: set[str], options: argparse.Namespace) -> Page:
    """Return the page."""
    absent = sorted({METADATA, *OWN} - lent)
    notes = "Canaries listened on loopback (IPv4 and IPv6)"
    notes += f" and on {', '.join(sorted(lent))}, lent to the loopback interface." if lent else "."
    if absent:
        notes += f" This process could not lend itself {', '.join(absent)}: there only the watch would have seen it."
    notes += (
        " `dialled` counts, for the bare door, cases with an attempt to connect to anything but the attack's own public"
        " stand-in; for polls and deliveries, which run together, all such attempts. Attempts are seen by an audit hook"
        " whatever library makes them, and none leaves the machine."
    )
    return Page(
        "attack-addresses",
        "Forbidden addresses, however they are written and however they come",
        f"{'long' if options.long else 'short'} form, seed {options.seed}; {found.cases:,} cases with the whole guard",
        ("door", "way", "cases", "requests", "dialled", "canary hits"),
        rows=found.rows,
        checks=found.checks,
        notes=notes,
    )


def keep(made: Page, options: argparse.Namespace) -> int:
    """Write the page and print it; return the exit code."""
    folder: Path = options.results
    folder.mkdir(parents=True, exist_ok=True)
    text = made.text()
    (folder / f"{made.name}{'-long' if options.long else ''}.md").write_text(text)
    sys.stdout.write(text)
    return int(not all(check.is_met for check in made.checks))


def read_options(arguments: Sequence[str] | None = None) -> Any:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.attack_addresses", description=__doc__)
    parser.add_argument("--long", action="store_true", help="every case through every door: some minutes")
    parser.add_argument("--seed", type=int, default=1, help="what the sample is drawn from")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder that keeps the page")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the attack; return 1 when something was reached, or when a control shows nothing."""
    options = read_options(arguments)
    with tempfile.TemporaryDirectory(prefix="attack-") as name, lending((METADATA, *OWN)) as lent:
        folder = Path(name)
        for database in ("doors", "control"):
            upgrade_database(_database(folder, database))
        found = asyncio.run(attack(lent, folder, options))
    return keep(page(found, lent, options), options)


if __name__ == "__main__":
    sys.exit(main())
