"""Does any answer or change reach from one company into another?

Every route is asked with API keys of one company, in each role, and without any: for its own things, and with the
other company's real ids in every place of the address, in filters and in bodies. A leak is an answer that holds any
text of the other company's rows, one that differs from the answer for what does not exist, a changed row of the other
company, or an answer that is another once the other company is gone.

It is done with the walls as they are built, with each of the two alone, and, as a control that must leak, without both.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import structlog

from backend.config import Settings
from backend.domain.access import Role
from backend.main import create_app
from benchmarks.grounds import Ground, ground
from benchmarks.pages import RESULTS, Check, Page, told
from benchmarks.tenants_cases import OWN, Case, cases, unknown_parts
from benchmarks.tenants_companies import PERSON, Company, fill
from benchmarks.tenants_filters import FilterRemover, Seen
from benchmarks.tenants_round import (
    NOTHING,
    OWNED,
    Leak,
    Round,
    go_round,
    remove_company,
    rows_of,
    send,
    target_of,
    tear_walls_down,
    watched,
)
from tests.services.line import SetClock

KINDS = ("told", "differs", "changed", "counted")
ANONYMOUS = "anonymous"
EXAMPLES = 5  # leaks that a page names


@dataclass(frozen=True, slots=True)
class Mode:
    """Which of the two walls stand."""

    words: str
    filters: bool
    security: bool

    @property
    def must_leak(self) -> bool:
        """Whether this is the control."""
        return not (self.filters or self.security)


BUILT = Mode("as built", filters=True, security=True)
FILTERS_ALONE = Mode("the product's filters alone", filters=True, security=False)
SECURITY_ALONE = Mode("Row-Level Security alone", filters=False, security=True)
NEITHER = Mode("neither", filters=False, security=False)


@dataclass(slots=True)
class Sum:
    """What came of all rounds of one mode."""

    mode: Mode
    rounds: int = 0
    asked: int = 0
    routes: set[str] = field(default_factory=set)
    statuses: Counter[int] = field(default_factory=Counter)
    leaks: list[Leak] = field(default_factory=list)
    seen: Seen = field(default_factory=Seen)

    def add(self, done: Round) -> None:
        """Count a round in."""
        self.rounds += 1
        self.asked += done.asked
        self.routes |= done.routes
        self.statuses += done.statuses
        self.leaks += done.leaks
        for name in ("removed", "statements", "as_worker"):
            getattr(self.seen, name).update(getattr(done.seen, name))
        self.seen.left += done.seen.left


@dataclass(frozen=True, slots=True)
class Field:
    """Two filled companies in a template database, which each round copies, and the time that stands still in all."""

    where: Ground
    template: str
    clock: SetClock
    companies: tuple[Company, Company]
    plans: dict[str, list[Case]]  # by the word of the company whose caller asks

    def settings(self, database: str) -> Settings:
        """Return settings on a database, without limits on how often one may ask."""
        url = self.where.server.url(database)
        return Settings(
            _env_file=None,
            **self.where.settings(
                url, rate_limit_caller=0, rate_limit_company=0, rate_limit_anonymous=0, run_loops=False
            ),
        )


def prepared(where: Ground) -> Field:
    """Fill a template database."""
    template, clock = where.server.create(where.postgresql), SetClock()
    empty = Field(where, template, clock, (Company(""), Company("")), {})
    settings = empty.settings(template)
    first, second = asyncio.run(fill(settings, clock))
    app = create_app(settings)
    plans = {mine.word: cases(app, mine, other) for mine, other in ((first, second), (second, first))}
    return Field(where, template, clock, (first, second), plans)


async def attack(around: Field, mode: Mode, caller: str, pair: tuple[Company, Company]) -> Round:
    """Ask everything on a fresh copy as one caller of the first company, and see what became of the second."""
    mine, other = pair
    server, other_id = around.where.server, other.ids["company_id"]
    with around.where.database(around.template) as database:
        settings = around.settings(database)
        target = await target_of(settings, around.clock, mine, other)
        if not mode.security:
            tear_walls_down(server, database)
        before, remover = rows_of(server, database, other_id), FilterRemover(is_on=not mode.filters)
        async with watched(settings, around.clock, remover) as client:
            done = await go_round(client, _key(mine, caller), around.plans[mine.word], target)
        after = rows_of(server, database, other_id)
    if caller != ANONYMOUS and not done.statuses[200]:
        raise RuntimeError(f"the {caller} was let in nowhere: such a round finds nothing")
    done.seen = remover.seen
    done.leaks += [Leak("changed", f"as {caller}", name) for name in before if before[name] != after[name]]
    done.leaks += await counted(around, mode, caller, pair)
    return done


async def counted(around: Field, mode: Mode, caller: str, pair: tuple[Company, Company]) -> list[Leak]:
    """Return the looks whose answer is another once the other company is gone: they tell a figure of it."""
    mine, other = pair
    texts = [await _looks(around, mode, caller, (mine, other), without=gone) for gone in (False, True)]
    return [Leak("counted", name, "another answer without the other company") for name in texts[0]
            if texts[0][name] != texts[1][name]]  # fmt: skip


async def _looks(
    around: Field, mode: Mode, caller: str, pair: tuple[Company, Company], *, without: bool
) -> dict[str, str]:
    with around.where.database(around.template) as database:
        if without:
            remove_company(around.where.server, database, pair[1].ids["company_id"])
        if not mode.security:
            tear_walls_down(around.where.server, database)
        settings, key = around.settings(database), _key(pair[0], caller)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        looks = [case for case in around.plans[pair[0].word] if case.kind == OWN and not case.changes]
        async with watched(settings, around.clock, FilterRemover(is_on=not mode.filters)) as client:
            return {case.route: (await send(client, case.ask, headers)).text for case in looks}


def _key(company: Company, caller: str) -> str | None:
    return None if caller == ANONYMOUS else company.keys[caller]


async def all_rounds(around: Field, *, long: bool) -> list[Sum]:
    """Attack in every mode; the short form has one direction, two of the roles, and not the filters alone."""
    callers = [ANONYMOUS, PERSON, *(role.value for role in (Role if long else (Role.VIEWER, Role.OWNER)))]
    first, second = around.companies
    pairs = [(first, second), (second, first)] if long else [(first, second)]
    sums = []
    for mode in (BUILT, FILTERS_ALONE, SECURITY_ALONE, NEITHER) if long else (BUILT, SECURITY_ALONE, NEITHER):
        began, sums_up = time.perf_counter(), Sum(mode)
        for pair in pairs:
            for caller in callers:
                sums_up.add(await attack(around, mode, caller, pair))
        told(f"{mode.words}: {sums_up.asked:,} requests, {len(sums_up.leaks):,} leaks, "
             f"{time.perf_counter() - began:.0f} s")  # fmt: skip
        sums.append(sums_up)
    return sums


# -- what is kept ----------------------------------------------------------------------------------------------------


def page(around: Field, sums: Sequence[Sum], *, long: bool) -> Page:
    """Return the page."""
    callers = f"{sums[0].rounds // (2 if long else 1)} callers"
    made = Page(
        "attack-tenants",
        "One company's callers against another company",
        f"{len(OWNED)} tables with a company's rows, two filled companies, {callers} "
        f"(nobody, an owner's session, {'keys of every role' if long else 'keys of viewer and owner'}), "
        f"{'in both directions' if long else 'in one direction'}; PostgreSQL {around.where.postgresql_version}",
        ("walls", "rounds", "routes", "requests", "filters removed", "answers of 5xx", *KINDS),
        raw=[_raw(each) for each in sums],
        notes=NOTES,
    )
    for each in sums:
        kinds = Counter(leak.kind for leak in each.leaks)
        counts = [f"{count:,}" for count in (each.asked, sum(each.seen.removed.values()), _faults(each))]
        made.rows.append([each.mode.words, each.rounds, len(each.routes), *counts, *(kinds[kind] for kind in KINDS)])
    made.checks = [*_checks(sums), _fullness(around)]
    return made


NOTES = (
    "*told*: an answer held a text that only the other company's rows have. *differs*: an answer was not that for what "
    "exists nowhere. *changed*: a table in which rows of the other company changed. *counted*: a look whose answer was "
    "another after the other company was removed. Without both walls many statements find more rows than they may and "
    "fail with 5xx: those are no leaks.\n\n"
    "Filters are removed from statements that run as a company (role cart_app). Signing in, and the tables of who may "
    "come in, are the worker's (cart_worker) alone: there a key is found by its hash."
)


def _checks(sums: Sequence[Sum]) -> list[Check]:
    made = []
    for each in sums:
        count, kinds = len(each.leaks), {leak.kind for leak in each.leaks}
        if each.mode.must_leak:
            made.append(Check("the control leaks in every way", f"{count:,} leaks", kinds == set(KINDS)))
            continue
        named = "; ".join(f"{leak.kind}: {leak.case}: {leak.words}" for leak in each.leaks[:EXAMPLES])
        made.append(Check(f"no leak, {each.mode.words}", named or "0 leaks", not each.leaks))
        made.append(Check(f"no fault of ours, {each.mode.words}", f"{_faults(each)} answers", not _faults(each)))
        if not each.mode.filters:
            removed, left = sum(each.seen.removed.values()), len(each.seen.left)
            words = f"{removed:,} removed in {len(each.seen.removed)} tables, {left} left"
            made.append(Check("the filters were gone", words, bool(removed) and not left))
    return made


def _fullness(around: Field) -> Check:
    """Check that the attack can find something: both companies have rows everywhere and ids for every address."""
    rows = [rows_of(around.where.server, around.template, each.ids["company_id"]) for each in around.companies]
    empty = [table.name for table in OWNED if any(of[table.name] == NOTHING for of in rows)]
    unknown = sorted(unknown_parts(around.companies[0]))
    found = f"empty: {', '.join(empty) or 'none'}; without an id: {', '.join(unknown) or 'none'}"
    return Check("both companies have rows in every table, and real ids for every address", found, not empty + unknown)


def _faults(each: Sum) -> int:
    return sum(count for status, count in each.statuses.items() if status >= 500)


def _raw(each: Sum) -> dict[str, Any]:
    return {
        "walls": each.mode.words,
        "rounds": each.rounds,
        "routes": len(each.routes),
        "requests": each.asked,
        "statuses": dict(sorted(each.statuses.items())),
        "filters_removed": dict(sorted(each.seen.removed.items())),
        "filters_left": len(each.seen.left),
        "statements": dict(each.seen.statements),
        "walled_tables_as_worker": dict(each.seen.as_worker),
        "leaks": dict(Counter(leak.kind for leak in each.leaks)),
    }


def keep(made: Page, folder: Path, *, long: bool) -> int:
    """Write the page and the raw figures, print it, and return the exit code."""
    folder.mkdir(parents=True, exist_ok=True)
    kept, text = folder / f"{made.name}{'-long' if long else ''}.md", made.text()
    kept.write_text(text)
    kept.with_suffix(".jsonl").write_bytes(b"".join(orjson.dumps(row, option=RAW) for row in made.raw))
    sys.stdout.write(text)
    return int(not all(check.is_met for check in made.checks))


RAW = orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS


def main(arguments: Sequence[str] | None = None) -> int:
    """Attack, and keep the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--long", action="store_true", help="every role, and both directions")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder that keeps the page")
    options = parser.parse_args(arguments)
    with ground() as where, structlog.testing.capture_logs():
        around = prepared(where)
        sums = asyncio.run(all_rounds(around, long=options.long))
        return keep(page(around, sums, long=options.long), options.results, long=options.long)


if __name__ == "__main__":
    sys.exit(main())
