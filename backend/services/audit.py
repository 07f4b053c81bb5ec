"""What is written into the audit chains: in the transaction of what was done, so neither is there without the other."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from backend.db import Transaction
from backend.domain.acting import actor
from backend.domain.audit import INSTALLATION
from backend.store.audit import AuditStore

__all__ = ["INSTALLATION", "note"]


async def note(tx: Transaction, company_id: str, now: datetime, deed: str, subject: str, **details: Any) -> None:
    """Record that whoever acts did `deed` to `subject`. `details` name fields, counts and ids: no values, no persons.

    `company_id` is INSTALLATION for what concerns no single company; `tx` then is one as the worker's role. Call it
    last: others that write to the same chain wait until the transaction ends.
    """
    await AuditStore(tx, company_id).append(now, actor(), deed, subject, details)
