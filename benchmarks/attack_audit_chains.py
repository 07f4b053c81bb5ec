"""Chains of the audit log that the service wrote and signed, and a transaction in which they are tampered with."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Executable, case, delete, insert, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from backend.config import Settings
from backend.db import APP_ROLE, SET_SCOPE, Database
from backend.domain.audit import START, Head, Link, Record, linked
from backend.domain.ids import new_id
from backend.models import audit_heads, audit_log
from backend.services.audit import note
from backend.services.audit_trail import AuditTrail
from backend.store.audit import AuditStore
from tests.factories import make_company
from tests.services.line import SetClock
from tests.worlds import World

RECORDS, HEADS = 40, (8, 16, 24, 32)
OTHER_RECORDS = 10  # of another company's chain
FAR = 1_000_000  # numbers for those that change places
Statements = list[tuple[Executable, Any]]  # each with its values, or a list of such
ACTIONS = ("integration.paused", "company.changed", "key.created", "destination.removed")


@dataclass(frozen=True, slots=True)
class Attack:
    """One tampering, and the number that must be named: None where nothing can be seen.

    `kept`: the verifier is given the heads that were kept elsewhere.
    """

    words: str
    first: int | None
    statements: Statements
    kept: bool = False


class Inside(Database):
    """The database as the service sees it from within one open transaction, with what is not committed."""

    def __init__(self, settings: Settings, connection: AsyncConnection) -> None:
        super().__init__(settings)
        self._inside = connection

    @asynccontextmanager
    async def reading(self, company_id: str) -> AsyncIterator[AsyncConnection]:
        """Read as one company, as everywhere, but in the transaction that is open."""
        if not self.is_sqlite:
            await self._inside.execute(SET_SCOPE, {"role": APP_ROLE, "company": company_id})
        yield self._inside


class Chains:
    """A company's chain as it is stored, and what signed it."""

    def __init__(self, world: World, names: tuple[str, str], links: Sequence[Link], heads: Sequence[Head]) -> None:
        self.world = world
        self.company, self.other = names
        self.links = links
        self.heads = heads
        self.clock = SetClock()

    def link(self, seq: int) -> Link:
        """Return a record by its number."""
        return self.links[seq - 1]

    @asynccontextmanager
    async def tampering(self) -> AsyncIterator[None]:
        """Open a connection as the owner of the tables, whom no policy stops."""
        database = self.world.database
        async with database.engine.connect() as connection:
            if not database.is_sqlite:
                for table in ("audit_log", "audit_heads"):
                    await connection.execute(text(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY"))
                await connection.commit()
            self._connection, inside = connection, Inside(self.world.settings, connection)
            self._trail = AuditTrail(inside, self.clock, self.world.keyring)
            try:
                yield
            finally:
                await inside.close()

    async def verdict_on(self, attack: Attack) -> int | None:
        """Carry an attack out, let the service verify, and take it back; return the number that was named."""
        transaction = await self._connection.begin()
        try:
            for statement, values in attack.statements:
                await self._connection.execute(statement, values)
            verdict = await self._trail.verify(self.company, self.heads if attack.kept else ())
        finally:
            await transaction.rollback()
        return None if verdict.broken is None else verdict.broken.seq


async def prepare(world: World, luck: random.Random) -> Chains:
    """Write two companies' chains, sign them now and then, and read the first one back."""
    clock, names = SetClock(), (await make_company(world, "A"), await make_company(world, "B"))
    trail, heads = AuditTrail(world.database, clock, world.keyring), []
    for number in range(1, RECORDS + 1):
        clock.move(seconds=luck.randrange(1, 100))
        for company in names[: 1 if number > OTHER_RECORDS else 2]:
            async with world.database.transaction(company) as tx:
                fields = {"fields": [f"field{luck.randrange(9)}"], "count": luck.randrange(1_000)}
                await note(tx, company, clock.now(), luck.choice(ACTIONS), f"thing{number}", **fields)
        if number in HEADS:
            clock.move(hours=24)
            heads += await trail.sign_due()
    async with world.database.reading(names[0]) as tx:
        links = [link async for link in AuditStore(tx, names[0]).links()]
    return Chains(world, names, links, [head for head in heads if head.company_id == names[0]])


# -- what is done to rows: statements with their values ---------------------------------------------------------------


def change(chains: Chains, number: int, /, **values: Any) -> Statements:
    """Change columns of one record."""
    c = audit_log.c
    return [(update(audit_log).where(c.company_id == chains.company, c.seq == number).values(**values), {})]


def raw_change(chains: Chains, seq: int, assignment: str) -> Statements:
    """Change a record by SQL, to values that no column type of ours would let pass."""
    sql = text(f"UPDATE audit_log SET {assignment} WHERE company_id = :company AND seq = :seq")  # noqa: S608  ours
    return [(sql, {"company": chains.company, "seq": seq})]


def remove(chains: Chains, seqs: Sequence[int]) -> Statements:
    """Delete records."""
    c = audit_log.c
    return [(delete(audit_log).where(c.company_id == chains.company, c.seq.in_(seqs)), {})]


def put(*links: Link) -> Statements:
    """Insert records as they are given."""
    return [(insert(audit_log), [_row(link) for link in links])]


def _row(link: Link) -> dict[str, Any]:
    record = link.record
    return {
        "company_id": record.company_id,
        "id": new_id(),
        "seq": record.seq,
        "at": record.at,
        "actor": record.actor,
        "action": record.action,
        "subject": record.subject,
        "details": dict(record.details),
        "before": link.before,
        "hash": link.hash,
    }


def renumber(chains: Chains, places: dict[int, int]) -> Statements:
    """Give records other numbers, by way of numbers far away so that no two ever have the same."""
    c = audit_log.c
    away = case({old: new + FAR for old, new in places.items()}, value=c.seq)
    gone = update(audit_log).where(c.company_id == chains.company, c.seq.in_(places)).values(seq=away)
    back = update(audit_log).where(c.company_id == chains.company, c.seq > FAR).values(seq=c.seq - FAR)
    return [(gone, {}), (back, {})] if places else []


def shift(chains: Chains, after: int, by: int) -> Statements:
    """Move every record behind a number up or down."""
    return renumber(chains, {seq: seq + by for seq in range(after + 1, len(chains.links) + 1)})


def rewrite(chains: Chains, records: Sequence[Record], start: int) -> Statements:
    """Write the chain anew from a number on, hashed as it should be: all that can be done without the keys."""
    before, links = chains.link(start - 1).hash if start > 1 else START, []
    for seq, record in enumerate(records, start=start):
        links.append(linked(replace(record, seq=seq), before))
        before = links[-1].hash
    gone = remove(chains, range(start, len(chains.links) + 1))
    return [*gone, *put(*links)] if links else gone


def drop_heads(chains: Chains) -> Statements:
    """Delete the chain's signed heads."""
    return [(delete(audit_heads).where(audit_heads.c.company_id == chains.company), {})]


def change_head(chains: Chains, number: int, /, **values: Any) -> Statements:
    """Change columns of a signed head."""
    c = audit_heads.c
    return [(update(audit_heads).where(c.company_id == chains.company, c.seq == number).values(**values), {})]
