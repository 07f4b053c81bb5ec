"""The audit chain of one company, or of the installation: added to, read, never changed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import Row, Table, and_, bindparam, desc, func, insert, or_, select
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection

from backend.domain.audit import START, Head, Link, Record, linked
from backend.domain.ids import new_id
from backend.models import audit_heads, audit_log

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


class AuditStore:
    """One chain. `connection` is a transaction of that company, or as the worker's role."""

    def __init__(self, connection: AsyncConnection, company_id: str) -> None:
        self._connection = connection
        self._company = company_id

    async def append(self, at: datetime, actor: str, action: str, subject: str, details: Mapping[str, Any]) -> None:
        """Add a record. Others that add to the same chain wait until this transaction ends."""
        if self._connection.dialect.name != "sqlite":
            await self._connection.execute(ONE_AT_A_TIME, {"chain": f"audit/{self._company}"})
        last = (await self._connection.execute(_LAST, {"company": self._company})).one_or_none()
        record = Record(self._company, (last.seq if last else 0) + 1, at, actor, action, subject, details)
        link = linked(record, last.hash if last else START)
        values = {
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
        await self._connection.execute(insert(audit_log).values(**values))

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
    """Return the companies that have a chain, and the installation's; as the worker's role."""
    return list((await connection.execute(select(audit_log.c.company_id).distinct())).scalars())


async def unsigned_chains(connection: AsyncConnection, before: datetime) -> list[str]:
    """Return the chains that grew since they were signed, where that was before a time; as the worker's role."""
    head = audit_heads.c
    signed = select(head.company_id, func.max(head.seq).label("seq"), func.max(head.signed_at).label("at"))
    last = signed.group_by(head.company_id).subquery("last")
    query = (
        select(audit_log.c.company_id)
        .outerjoin(last, last.c.company_id == audit_log.c.company_id)
        .where(or_(last.c.seq.is_(None), and_(audit_log.c.seq > last.c.seq, last.c.at <= before)))
        .distinct()
    )
    return list((await connection.execute(query)).scalars())


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
