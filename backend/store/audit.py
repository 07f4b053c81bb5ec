"""The audit chain of one company, or of the installation: added to, read, never changed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import (
    ColumnElement,
    Row,
    ScalarSelect,
    Subquery,
    Table,
    and_,
    bindparam,
    desc,
    func,
    insert,
    or_,
    select,
)
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection

from backend.domain.audit import START, Deed, Head, Link, Record, linked
from backend.domain.ids import new_id
from backend.models import audit_heads, audit_log
from backend.store.bulk import Bulk

READ_AT_ONCE = 1_000
NO_TEXT = "Could not decode to UTF-8"  # SQLite's fault for bytes in the place of text
T = TypeVar("T")
# One writer of a chain at a time; freed by the end of the transaction. SQLite has one writer anyway.
ONE_AT_A_TIME = select(func.pg_advisory_xact_lock(func.hashtextextended(bindparam("chain"), 0)))
_LAST = (
    select(audit_log.c.seq, audit_log.c.hash)
    .where(audit_log.c.company_id == bindparam("company"))
    .order_by(desc(audit_log.c.seq))
    .limit(1)
)
_LINKS = Bulk(audit_log, ("company_id", "id", "seq", "at", "actor", "action", "subject", "details", "before", "hash"))


class AuditStore:
    """One chain. `connection` is a transaction of that company, or as the worker's role."""

    def __init__(self, connection: AsyncConnection, company_id: str) -> None:
        self._connection = connection
        self._company = company_id

    async def append(self, at: datetime, actor: str, deeds: Sequence[Deed]) -> None:
        """Add a record of each deed, in one go. Others that add to the same chain wait until this transaction ends."""
        if not deeds:
            return
        if self._connection.dialect.name != "sqlite":
            await self._connection.execute(ONE_AT_A_TIME, {"chain": f"audit/{self._company}"})
        length, before = await self.last() or (0, START)
        rows = []
        for seq, deed in enumerate(deeds, start=length + 1):
            record = Record(self._company, seq, at, actor, deed.action, deed.subject, deed.details)
            link = linked(record, before)
            said = (actor, deed.action, deed.subject, dict(deed.details))
            rows.append((self._company, new_id(), seq, at, *said, link.before, link.hash))
            before = link.hash
        await _LINKS.insert(self._connection, rows)

    def links(self) -> AsyncIterator[Link]:
        """Yield the chain from its beginning. Raises `ValueError` at a row that is not even of its columns' kinds."""
        return self._rows(audit_log, _link)

    def heads(self) -> AsyncIterator[Head]:
        """Yield the signed heads, shortest first. Raises `ValueError` as `links`."""
        return self._rows(audit_heads, _head)

    async def _rows(self, table: Table, made: Callable[[Row[Any]], T]) -> AsyncIterator[T]:
        """Yield rows by number, a part at a time, from the lowest there is: forged ones may begin below 1."""
        query, at_once = select(table).where(table.c.company_id == self._company).order_by(table.c.seq), READ_AT_ONCE
        after: int | None = None
        while True:
            rest = query if after is None else query.where(table.c.seq > after)
            try:
                found = [(row.seq, made(row)) for row in await self._connection.execute(rest.limit(at_once))]
            except (ValueError, TypeError, OverflowError, OperationalError) as error:
                if isinstance(error, OperationalError) and NO_TEXT not in str(error):
                    raise
                if at_once == 1:
                    raise ValueError("a row cannot be read") from error
                at_once = 1  # once more, one by one: all that come before it are looked at
                continue
            for _, each in found:
                yield each
            if len(found) < at_once:
                return
            after = found[-1][0]

    async def latest(self, limit: int, before_seq: int | None = None) -> list[Record]:
        """Return records, newest first, before a number if one is given."""
        query = select(audit_log).where(audit_log.c.company_id == self._company)
        if before_seq is not None:
            query = query.where(audit_log.c.seq < before_seq)
        rows = await self._connection.execute(query.order_by(desc(audit_log.c.seq)).limit(limit))
        return [_link(row).record for row in rows]

    async def last(self) -> tuple[int, bytes] | None:
        """Return number and hash of the newest record."""
        row = (await self._connection.execute(_LAST, {"company": self._company})).one_or_none()
        return None if row is None else (row.seq, row.hash)

    async def add_head(self, head: Head) -> None:
        """Keep a signed head."""
        values = {"company_id": self._company, "id": new_id(), "seq": head.seq, "hash": head.hash}
        signed = {"signed_at": head.signed_at, "key_version": head.key_version, "signature": head.signature}
        await self._connection.execute(insert(audit_heads).values(**values, **signed))


async def all_chains(connection: AsyncConnection) -> list[str]:
    """Return whoever has a chain, or a signed head of one that is gone; as the worker's role."""
    signed = select(audit_heads.c.company_id).distinct()
    names = {*(await connection.execute(select(_CHAINS.c.company_id))).scalars()}
    return sorted(names | {*(await connection.execute(signed)).scalars()})


async def unsigned_chains(connection: AsyncConnection, before: datetime) -> list[str]:
    """Return the chains that grew since they were signed, where that was before a time; as the worker's role."""
    head, name = audit_heads.c, _CHAINS.c.company_id
    signed = select(head.company_id, func.max(head.seq).label("seq"), func.max(head.signed_at).label("at"))
    last = signed.group_by(head.company_id).subquery("last")
    length = select(func.max(audit_log.c.seq)).where(audit_log.c.company_id == name).scalar_subquery()
    query = (
        select(name)
        .outerjoin(last, last.c.company_id == name)
        .where(or_(last.c.seq.is_(None), and_(length > last.c.seq, last.c.at <= before)))
    )
    return list((await connection.execute(query.order_by(name))).scalars())


def _next_name(after: ColumnElement[str] | None) -> ScalarSelect[Any]:
    """Return the select of the first company that has a chain, or of the next one."""
    found = select(func.min(audit_log.c.company_id))
    return (found if after is None else found.where(audit_log.c.company_id > after)).scalar_subquery()


def _chains() -> Subquery:
    """Return the names of all chains, each found with one look into the index: records are many, companies few."""
    names = select(_next_name(None).label("company_id")).cte("names", recursive=True)
    following = select(_next_name(names.c.company_id)).where(names.c.company_id.is_not(None))
    names = names.union_all(following)
    return select(names.c.company_id).where(names.c.company_id.is_not(None)).subquery("chains")


_CHAINS = _chains()


def _link(row: Row[Any]) -> Link:
    """Return a stored record. Raises `ValueError` when a value is not of its column's kind: SQLite takes any."""
    words = (row.company_id, row.actor, row.action, row.subject)
    sound = all(isinstance(each, str) for each in words) and isinstance(row.seq, int)
    if not (sound and isinstance(row.details, dict) and isinstance(row.before, bytes) and isinstance(row.hash, bytes)):
        raise ValueError("a record has a value of another kind")
    record = Record(row.company_id, row.seq, row.at, row.actor, row.action, row.subject, row.details)
    return Link(record, row.before, row.hash)


def _head(row: Row[Any]) -> Head:
    """Return a stored head. Raises `ValueError` as `_link`."""
    numbers, bytes_ = (row.seq, row.key_version), (row.hash, row.signature)
    if not (all(isinstance(each, int) for each in numbers) and all(isinstance(each, bytes) for each in bytes_)):
        raise ValueError("a head has a value of another kind")
    return Head(row.company_id, row.seq, row.hash, row.signed_at, row.key_version, row.signature)
