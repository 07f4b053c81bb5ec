"""Sealed values opened where they do not belong, and changed: every one must be refused."""

from __future__ import annotations

import base64
import itertools
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from sqlalchemy import select, update

from backend.crypto import SealBroken
from backend.db import Transaction
from backend.domain.audit import INSTALLATION
from backend.models import data_keys, subject_keys
from backend.services.keyring import Keyring
from backend.store.sealed import SealedRow, sealed_for
from tests.factories import make_company
from tests.worlds import World

ROWS = ("row1", "row2")
VERSIONS = (1, 2)
BITS = 8
AT_ONCE = 1_000  # tries in one transaction, which may not last for long
REPLACED, LONGEST = 50, 300  # values of random bytes in the place of each, and how long they are at most
PLAIN = {"token": "what nobody may read"}


@dataclass(frozen=True, slots=True)
class Envelope:
    """A sealed value at its place."""

    company: str
    row: SealedRow

    def at(self, other: Envelope) -> Envelope:
        """Return this value at the place of another one."""
        return replace(other, row=replace(other.row, value=self.row.value))

    def holding(self, value: bytes) -> Envelope:
        """Return this place with other bytes in it."""
        return replace(self, row=replace(self.row, value=value))

    def differs(self, other: Envelope) -> list[str]:
        """Return in what the places differ."""
        mine, theirs = self.row, other.row
        pairs = {
            "company": (self.company, other.company),
            "column": (mine.column, theirs.column),
            "row": (mine.id, theirs.id),
            "version": (mine.version, theirs.version),
        }
        return [name for name, (one, another) in pairs.items() if one != another]


@dataclass(slots=True)
class Envelopes:
    """How many values open at their own places; for each way, how many were tried and refused."""

    stored: int = 0
    opened: int = 0
    counts: dict[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def refused(self) -> int:
        """All that were refused."""
        return sum(refused for _, refused in self.counts.values())

    def count(self, way: str, *, is_refused: bool) -> None:
        """Count one try."""
        tried, refused = self.counts.get(way, (0, 0))
        self.counts[way] = (tried + 1, refused + is_refused)


async def open_wrongly(world: World, luck: random.Random) -> Envelopes:
    """Seal values of two companies and the installation, with two versions each, and open them in every wrong way."""
    made, found = await _sealed(world), Envelopes()
    async with world.database.work() as tx:
        for each in made:
            found.stored += 1
            found.opened += await _opens(world.keyring, tx, each)
    tries = itertools.chain(_moved(made), _changed(made, luck))
    while some := list(itertools.islice(tries, AT_ONCE)):
        async with world.database.work() as tx:
            for way, wrong in some:
                found.count(way, is_refused=not await _opens(world.keyring, tx, wrong))
    await _exchange_data_keys(world, found)
    return found


async def _opens(keyring: Keyring, tx: Transaction, envelope: Envelope) -> bool:
    """Whether a value opens at a place, by the way that every one of them is opened when it is sealed anew."""
    try:
        await keyring.resealed(tx, envelope.company, envelope.row, envelope.row.version)
    except SealBroken:
        return False
    return True


async def _sealed(world: World) -> list[Envelope]:
    """Return sealed values of every column, at the same rows' ids in both companies."""
    companies = [await make_company(world, "C"), await make_company(world, "D"), INSTALLATION]
    made: list[Envelope] = []
    async with world.database.work() as tx:
        for company in companies:
            wrapped: list[SealedRow] = []
            for version in VERSIONS:
                if version > 1 or company == INSTALLATION:
                    await world.keyring.add_version(tx, company, version, world.clock.now())
                made += [Envelope(company, row) for row in await _with_newest(world, tx, company)]
                wrapped = wrapped or await _subject_keys(world, tx, company)
                made += [Envelope(company, await _at_version(world, tx, company, row, version)) for row in wrapped]
    return made


async def _with_newest(world: World, tx: Transaction, company: str) -> list[SealedRow]:
    now, rows = world.clock.now(), []
    for column in sealed_for(company):
        if column.table is subject_keys:
            continue
        for row_id in ROWS:
            place = (company, column.table.name, column.value, row_id)
            rows.append(SealedRow(column, row_id, *await world.keyring.seal_json(tx, place, PLAIN, now)))
    return rows


async def _subject_keys(world: World, tx: Transaction, company: str) -> list[SealedRow]:
    """Return wrapped subject keys, as the first version of a company's data key wraps them."""
    columns = [column for column in sealed_for(company) if column.table is subject_keys]
    fresh: dict[str, str | None] = dict.fromkeys(ROWS)
    made = (await world.keyring.subjects(tx, company, [], fresh, world.clock.now())).made if columns else []
    return [SealedRow(columns[0], each.id, each.wrapped or b"", each.data_key_version) for each in made]


async def _at_version(world: World, tx: Transaction, company: str, row: SealedRow, version: int) -> SealedRow:
    if row.version == version:
        return row
    return replace(row, value=await world.keyring.resealed(tx, company, row, version), version=version)


def _moved(made: Iterable[Envelope]) -> Iterator[tuple[str, Envelope]]:
    for one, other in itertools.permutations(made, 2):
        differs = one.differs(other)
        way = f"moved to another {differs[0]}" if len(differs) == 1 else "moved to another place in several ways"
        yield way, one.at(other)


def _changed(made: Iterable[Envelope], luck: random.Random) -> Iterator[tuple[str, Envelope]]:
    for each in made:
        value = each.row.value
        for place, bit in itertools.product(range(len(value)), range(BITS)):
            turned = bytes([value[place] ^ 1 << bit])
            yield "each bit of each byte turned", each.holding(value[:place] + turned + value[place + 1 :])
        for length in range(len(value)):
            yield "cut off at each length", each.holding(value[:length])
        for _ in range(REPLACED):
            yield "random bytes", each.holding(luck.choice([b"", value[:1]]) + luck.randbytes(luck.randrange(LONGEST)))
            yield "made longer", each.holding(value + luck.randbytes(luck.randrange(1, LONGEST)))
        yield "said to be of a version that is not there", replace(each, row=replace(each.row, version=3))


async def _exchange_data_keys(world: World, found: Envelopes) -> None:
    """Put each wrapped data key in the place of each other one; a process that starts then must refuse it."""
    master = base64.b64decode(str(world.settings.master_key))
    c = data_keys.c
    async with world.database.work() as tx:
        rows = (await tx.execute(select(c.company_id, c.version, c.wrapped))).all()
        for one, other in itertools.permutations(rows, 2):
            nested = await tx.begin_nested()
            mine = (c.company_id == one.company_id) & (c.version == one.version)
            await tx.execute(update(data_keys).where(mine).values(wrapped=other.wrapped))
            try:
                is_there = await Keyring(master).has_version(tx, one.company_id, one.version)
            except SealBroken:
                is_there = False
            await nested.rollback()
            found.count("a wrapped data key in another one's place", is_refused=not is_there)
