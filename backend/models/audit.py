"""Who did what: records that are added and never changed, one chain for each company and one for the installation."""

from __future__ import annotations

from sqlalchemy import Column, Integer, LargeBinary, Table, UniqueConstraint

from backend.models.base import Json, key, metadata, moment, text

# No foreign key: what was done to a company outlives it.
audit_log = Table(
    "audit_log",
    metadata,
    *key(),
    Column("seq", Integer, nullable=False),
    moment("at", required=True),
    text("actor", 120, required=True),
    text("action", 80, required=True),
    text("subject", 200, required=True),
    Column("details", Json, nullable=False),
    Column("before", LargeBinary, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    UniqueConstraint("company_id", "seq"),
)

# How far each chain had come when it was signed. The same heads are written to the log, to be kept elsewhere.
audit_heads = Table(
    "audit_heads",
    metadata,
    *key(),
    Column("seq", Integer, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    moment("signed_at", required=True),
    Column("key_version", Integer, nullable=False),
    Column("signature", LargeBinary, nullable=False),
    UniqueConstraint("company_id", "seq"),
)
