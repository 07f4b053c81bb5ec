"""What is written into the audit chains: in the transaction of what was done, so neither is there without the other."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from datetime import datetime
from typing import Any

from backend.db import Transaction
from backend.domain.acting import actor
from backend.domain.audit import INSTALLATION, Deed
from backend.store.audit import AuditStore

__all__ = ["INSTALLATION", "note", "note_all", "noting_last"]

# The transaction whose deeds are kept back, and those so far.
_KEPT_BACK: ContextVar[tuple[Transaction, list[Deed]] | None] = ContextVar("kept_back", default=None)


async def note(tx: Transaction, company_id: str, now: datetime, deed: str, subject: str, **details: Any) -> None:
    """Record that whoever acts did `deed` to `subject`. `details` name fields, counts and ids: no values, no persons.

    `company_id` is INSTALLATION for what concerns no single company; `tx` then is one as the worker's role. Call it
    last: others that write to the same chain wait until the transaction ends.
    """
    await note_all(tx, company_id, now, [Deed(deed, subject, details)])


async def note_all(tx: Transaction, company_id: str, now: datetime, deeds: Sequence[Deed]) -> None:
    """Record several deeds at once, each as a record of its own; last of all, as `note`."""
    kept_back = _KEPT_BACK.get()
    if kept_back is not None and kept_back[0] is tx:
        kept_back[1].extend(deeds)
    else:
        await AuditStore(tx, company_id).append(now, actor(), deeds)


@asynccontextmanager
async def noting_last(tx: Transaction, company_id: str, now: datetime) -> AsyncIterator[None]:
    """Keep back what is noted in the block, all of it of one company in `tx`, and write it when the block is done.

    For a transaction of several deeds: the chain is locked after every row, as everywhere, so that no two wait in a
    ring.
    """
    deeds: list[Deed] = []
    token = _KEPT_BACK.set((tx, deeds))
    try:
        yield
    finally:
        _KEPT_BACK.reset(token)
    await note_all(tx, company_id, now, deeds)
