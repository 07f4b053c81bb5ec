"""What somebody should look at: one open row for each subject and kind of trouble."""

from __future__ import annotations

from sqlalchemy import Index, Table
from sqlalchemy import text as sql

from backend.models.base import key, metadata, moment, text

OPEN = sql("closed_at IS NULL")

alerts = Table(
    "alerts",
    metadata,
    *key(),
    text("subject", 20, required=True),  # integration | destination
    text("subject_id", 80, required=True),
    text("kind", 40, required=True),
    text("words", 1000, required=True),
    moment("opened_at", required=True),
    moment("seen_at", required=True),
    moment("closed_at"),
    Index("ix_alerts_open", "company_id", "subject_id", "kind", unique=True, postgresql_where=OPEN, sqlite_where=OPEN),
    Index("ix_alerts_list", "company_id", "opened_at"),
)
