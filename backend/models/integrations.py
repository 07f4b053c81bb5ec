"""Stores, their cursors and leases, and the records that could not be read."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Index, Integer, LargeBinary, Table, UniqueConstraint
from sqlalchemy import text as sql

from backend.models.base import Json, belongs_to, key, metadata, moment, text

integrations = Table(
    "integrations",
    metadata,
    *key(),
    text("agent_id", 80, required=True),
    text("name", 200, required=True),
    text("platform", 40, required=True),
    text("store_id", 500, required=True),
    text("status", 20, required=True),  # active | paused | inactive
    text("pause_reason", 100),
    Column("settings", Json, nullable=False),
    Column("credentials_sealed", LargeBinary, nullable=False),
    Column("credentials_version", Integer, nullable=False),
    Column("poll_interval_seconds", Integer),
    Column("initial_lookback_days", Integer, nullable=False),
    # the cursor (domain/cursor.py)
    moment("watermark"),
    moment("window_from"),
    text("page_token"),
    moment("next_watermark"),
    Column("walk_pages", Integer, nullable=False, server_default="0"),  # pages of the walk in hand
    Column("clock_offset_seconds", Integer, nullable=False, server_default="0"),  # the store's clock less ours
    # the poll lane
    moment("next_poll_at", required=True),
    moment("waiting_until"),
    text("waiting_for", 200),
    text("lease_token", 40),
    moment("lease_expires_at"),
    Column("claims", Integer, nullable=False, server_default="0"),
    # what the last polls came to
    Column("failures", Integer, nullable=False, server_default="0"),
    Column("refusals", Integer, nullable=False, server_default="0"),
    moment("first_refused_at"),
    text("last_error_code", 100),
    text("last_error", 1000),
    text("last_remedy", 1000),
    moment("last_error_at"),
    moment("last_polled_at"),
    moment("last_success_at"),
    Column("polls", Integer, nullable=False, server_default="0"),
    Column("empty_polls", Integer, nullable=False, server_default="0"),
    Column("budget", Json),
    Column("notices", Json),
    moment("created_at", required=True),
    moment("updated_at", required=True),
    belongs_to("company_agents", "agent_id"),
    UniqueConstraint("company_id", "agent_id", "name"),
    Index("ix_integrations_due", "next_poll_at"),
    Index("ix_integrations_company_due", "company_id", "next_poll_at"),
    Index(
        "ix_integrations_lease",
        "lease_token",
        postgresql_where=sql("lease_token IS NOT NULL"),
        sqlite_where=sql("lease_token IS NOT NULL"),
    ),
)

quarantine = Table(
    "quarantine",
    metadata,
    *key(),
    text("integration_id", 80, required=True),
    text("source_cart_id", 200),
    text("reason", 200, required=True),
    Column("record_sealed", LargeBinary, nullable=False),
    Column("record_version", Integer, nullable=False),
    Column("times_seen", Integer, nullable=False),
    Column("is_open", Boolean, nullable=False),
    moment("first_seen_at", required=True),
    moment("last_seen_at", required=True),
    belongs_to("integrations", "integration_id"),
    Index("ix_quarantine_integration", "company_id", "integration_id"),
)
