"""The audit chain of one company, or of the installation: added to, read, never changed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Row, and_, bindparam, desc, func, insert, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from backend.domain.audit import START, Head, Link, Record, linked
from backend.domain.ids import new_id
from backend.models import audit_heads, audit_log

READ_AT_ONCE = 1_000
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

    async def links(self) -> AsyncIterator[Link]:
        """Yield the chain from its beginning, a part at a time."""
        after = 0
        while True:
            query = select(audit_log).where(audit_log.c.company_id == self._company, audit_log.c.seq > after)
            rows = (await self._connection.execute(query.order_by(audit_log.c.seq).limit(READ_AT_ONCE))).all()
            for row in rows:
                yield _link(row)
            if len(rows) < READ_AT_ONCE:
                return
            after = rows[-1].seq

    async def latest(self, limit: int, before_seq: int | None = None) -> list[Record]:
        """Return records, newest first, before a number if one is given."""
        query = select(audit_log).where(audit_log.c.company_id == self._company)
        if before_seq is not None:
            query = query.where(audit_log.c.seq < before_seq)
        rows = await self._connection.execute(query.order_by(desc(audit_log.c.seq)).limit(limit))
        return [_link(row).record for row in rows]

    async def heads(self) -> list[Head]:
        """Return the signed heads."""
        query = select(audit_heads).where(audit_heads.c.company_id == self._company)
        return [
            Head(row.company_id, row.seq, row.hash, row.signed_at, row.key_version, row.signature)
            for row in await self._connection.execute(query.order_by(audit_heads.c.seq))
        ]

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
    record = Record(row.company_id, row.seq, row.at, row.actor, row.action, row.subject, row.details)
    return Link(record, row.before, row.hash)
