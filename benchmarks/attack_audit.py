"""Is every change to the stored audit log found, and the right record named? Does no envelope open in a wrong place?

Chains with signed heads are written by the service itself. Then, as the owner of the tables, one thing at a time is
done to what is stored (a value edited, a record taken out, put in, moved; the end cut off or written anew), and the
service's own verifier reads the rows: each time in a transaction that is rolled back. Which record it must name is
worked out from what was done, never from the verifier. Sealed values are opened at every place but their own, and with
every byte changed.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from backend.config import Settings
from backend.logs import set_up_logs
from benchmarks.attack_audit_rows import KINDS, SPARED, Attack, Chains, prepare
from benchmarks.attack_envelopes import Envelopes, open_wrongly
from benchmarks.grounds import Ground, ground
from benchmarks.pages import RESULTS, Check, Page, told

SHORT, LONG = 300, 10_000  # tamperings on each database
UNSIGNED = 40  # ends of chains cut off that no head has signed yet, on each database
DATABASES = ("sqlite", "postgresql")


@dataclass(slots=True)
class Tally:
    """What became of one kind of tampering on one database."""

    done: int = 0
    found: int = 0
    named: int = 0
    missed: list[str] = field(default_factory=list)

    def take(self, attack: Attack, seq: int | None) -> None:
        """Count an attack and the number of the record that the verifier named, if it found anything."""
        self.done += 1
        self.found += seq is not None
        self.named += seq == attack.first
        if seq != attack.first:
            self.missed.append(f"{attack.words}: should name {attack.first}, named {seq}")


@dataclass(slots=True)
class Found:
    """What a whole run came to, by database."""

    tallies: dict[str, dict[str, Tally]] = field(default_factory=dict)
    spared: dict[str, dict[str, Tally]] = field(default_factory=dict)
    envelopes: dict[str, Envelopes] = field(default_factory=dict)


async def attack(where: Ground, database: str, options: argparse.Namespace, found: Found) -> None:
    """Tamper with the chains and the envelopes of one database."""
    luck = random.Random(f"{options.seed} {database}")
    count = LONG if options.long else SHORT
    with where.url(database) as url:
        async with where.world(url) as world:
            chains = await prepare(world, luck)
            async with chains.tampering():
                kinds = [kind for kind in KINDS if database in kind.databases]
                found.tallies[database] = await rounds(chains, kinds, count, luck, database)
                found.spared[database] = await rounds(chains, SPARED, UNSIGNED, luck, f"{database}, spared")
            found.envelopes[database] = await open_wrongly(world, luck)
            told(f"{database}: {found.envelopes[database].refused:,} envelopes refused")


async def rounds(chains: Chains, kinds: Sequence[Any], count: int, luck: random.Random, name: str) -> dict[str, Tally]:
    """Carry out so many attacks, of all kinds in turn."""
    tallies: dict[str, Tally] = {kind.name: Tally() for kind in kinds}
    for number in range(count):
        kind = kinds[number % len(kinds)]
        done = kind.plan(chains, luck)
        tallies[kind.name].take(done, await chains.verdict_on(done))
        if (number + 1) % max(count // 10, 1) == 0:
            told(f"{name}: {number + 1:,} of {count:,}, {sum(each.named for each in tallies.values()):,} named")
    return tallies


def page(found: Found, options: argparse.Namespace, version: str) -> Page:
    """Return the page."""
    made = Page(
        "attack-audit",
        "Tampering with the audit log and with sealed values",
        f"{'long' if options.long else 'short'} form, seed {options.seed}; SQLite and PostgreSQL {version}, there as "
        "the owner of the tables",
        ("database", "what was done", "times", "found", "right record named"),
    )
    for database, tallies in found.tallies.items():
        for name, tally in tallies.items():
            made.rows.append([database, name, *(f"{each:,}" for each in (tally.done, tally.found, tally.named))])
        total = [sum(getattr(each, part) for each in tallies.values()) for part in ("done", "found", "named")]
        made.rows.append([database, "**all**", *(f"**{each:,}**" for each in total)])
        made.checks += _record_checks(database, total)
    for database, tallies in found.spared.items():
        for name, tally in tallies.items():
            made.rows.append([database, f"control: {name}", tally.done, tally.found, "none"])
        unseen = sum(tally.found for tally in tallies.values())
        made.checks.append(Check(f"{database}: what cannot be seen is not said to be seen", f"{unseen}", unseen == 0))
    for database, envelopes in found.envelopes.items():
        for name, (tried, refused) in envelopes.counts.items():
            made.rows.append([database, name, f"{tried:,}", f"{refused:,}", ""])
        made.checks += _envelope_checks(database, envelopes)
    made.notes = NOTES
    return made


def _record_checks(database: str, total: Sequence[int]) -> list[Check]:
    done, found, named = total
    return [
        Check(f"{database}: every tampering is found", f"{found:,} of {done:,}", found == done),
        Check(f"{database}: the right record is named", f"{named:,} of {done:,}", named == done),
    ]


def _envelope_checks(database: str, envelopes: Envelopes) -> list[Check]:
    tried = sum(tries for tries, _ in envelopes.counts.values())
    whole = f"{envelopes.opened} of {envelopes.stored}"
    return [
        Check(
            f"{database}: no envelope opens that was moved or changed",
            f"{envelopes.refused:,} of {tried:,} refused",
            envelopes.refused == tried,
        ),
        Check(
            f"{database}: control: untouched at their own places they open",
            whole,
            envelopes.opened == envelopes.stored,
        ),
    ]


NOTES = """\
Which record must be named: the one that was edited, taken out, or put in the place of another. Behind a forged record
that is hashed as it should be it is the one after, which no longer follows; where the forger hashed everything behind
it anew, it is the next record that a head has signed. A head is named by the number that it is for.

What is signed: the number and the hash of the last record when the head was signed, at most once a day for a chain that
grew. **What came after the last signed head can be cut off or written anew by the owner of the tables without a trace**
(the hash has no secret in it), and so can more, where the heads in the database are deleted and none were kept
elsewhere. The controls show that, and that a change which changes nothing is not called one. Not hashed, as it says
nothing and is shown nowhere: a row's own `id`."""


def keep(made: Page, found: Found, options: argparse.Namespace) -> int:
    """Write the page and print it, with what was missed; return the exit code."""
    folder: Path = options.results
    folder.mkdir(parents=True, exist_ok=True)
    text = made.text()
    (folder / f"{made.name}{'-long' if options.long else ''}.md").write_text(text)
    sys.stdout.write(text)
    both = [*found.tallies.values(), *found.spared.values()]
    missed = Counter(words for tallies in both for tally in tallies.values() for words in tally.missed)
    sys.stdout.writelines(f"missed: {words} ({times})\n" for words, times in missed.most_common(20))
    return int(not all(check.is_met for check in made.checks))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the attack; return 1 when something was not found, or opened."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.attack_audit", description=__doc__)
    parser.add_argument("--long", action="store_true", help=f"{LONG:,} tamperings on each database: some minutes")
    parser.add_argument("--seed", type=int, default=1, help="what chance is drawn from")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder that keeps the page")
    options = parser.parse_args(arguments)
    set_up_logs(Settings(_env_file=None, log_level="error"))
    found = Found()
    with ground() as where:
        version = where.postgresql_version
        for database in DATABASES:
            asyncio.run(attack(where, database, options, found))
    return keep(page(found, options, version), found, options)


if __name__ == "__main__":
    sys.exit(main())
