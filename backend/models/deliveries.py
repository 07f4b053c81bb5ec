"""Destinations, the deliveries to them (the outbox), and every attempt."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Index, Integer, LargeBinary, Table, UniqueConstraint
from sqlalchemy import text as sql

from backend.models.base import Json, belongs_to, key, metadata, moment, text

PENDING = sql("state = 'pending'")
LEASED = sql("lease_token IS NOT NULL")
DEAD = sql("state = 'dead'")

destinations = Table(
    "destinations",
    metadata,
    *key(),
    text("agent_id", 80, required=True),
    text("name", 200, required=True),
    text("url", 2000, required=True),
    Column("secrets_sealed", LargeBinary, nullable=False),
    Column("secrets_version", Integer, nullable=False),
    text("status", 20, required=True),  # active | disabled | inactive
    text("status_reason", 300),
    Column("max_carts_per_payload", Integer, nullable=False),
    Column("include_uncontactable", Boolean, nullable=False),
    Column("include_opted_out", Boolean, nullable=False),
    # breaker: after a run of failures nothing is claimed until `held_until`, then one probe
    Column("failures", Integer, nullable=False, server_default="0"),
    moment("held_until"),
    text("last_error", 1000),
    moment("last_error_at"),
    moment("last_success_at"),
    # the delivery lane: one worker at a time works a destination off, so its caps and its breaker have one owner
    text("lease_token", 40),
    moment("lease_expires_at"),
    moment("created_at", required=True),
    moment("updated_at", required=True),
    belongs_to("company_agents", "agent_id"),
    UniqueConstraint("company_id", "agent_id", "name"),
    Index("ix_destinations_lease", "lease_token", postgresql_where=LEASED, sqlite_where=LEASED),
)

deliveries = Table(
    "deliveries",
    metadata,
    *key(),
    text("destination_id", 80, required=True),
    text("agent_id", 80, required=True),
    text("integration_id", 80, required=True),
    text("type", 60, required=True),
    text("webhook_id", 80, required=True),
    text("state", 20, required=True),  # pending | delivered | dead | superseded
    Column("body", LargeBinary, nullable=False),
    Column("cart_count", Integer, nullable=False),
    Column("attempts", Integer, nullable=False),
    moment("first_attempt_at"),
    moment("next_attempt_at"),
    text("last_outcome", 60),
    text("last_error", 500),
    Column("last_status", Integer),
    moment("finished_at"),
    text("superseded_by", 80),
    text("cycle_id", 80),
    text("lease_token", 40),
    moment("lease_expires_at"),
    moment("created_at", required=True),
    belongs_to("destinations", "destination_id"),
    belongs_to("integrations", "integration_id"),
    Index(
        "ix_deliveries_due",
        "company_id",
        "destination_id",
        "next_attempt_at",
        postgresql_where=PENDING,
        sqlite_where=PENDING,
    ),
    Index("ix_deliveries_lease", "lease_token", postgresql_where=LEASED, sqlite_where=LEASED),
    Index(
        "ix_deliveries_dead",
        "company_id",
        "destination_id",
        "finished_at",
        postgresql_where=DEAD,
        sqlite_where=DEAD,
    ),
    Index("ix_deliveries_list", "company_id", "created_at"),
    Index("ix_deliveries_destination", "company_id", "destination_id", "state"),
)

delivery_carts = Table(
    "delivery_carts",
    metadata,
    *key(),
    text("delivery_id", 80),  # null while the gate denies or defers
    text("destination_id", 80, required=True),
    text("cart_id", 80, required=True),
    Column("episode", Integer, nullable=False),
    text("event_type", 60, required=True),
    # the revision for cart.updated, else empty: an abandonment is handed off once whatever its content becomes
    text("revision", 40, required=True),
    text("event_id", 80, required=True),
    text("verdict", 10, required=True),  # allow | defer | deny
    text("rule", 40),
    Column("trace", Json, nullable=False),
    moment("decided_at", required=True),
    belongs_to("destinations", "destination_id"),
    belongs_to("carts", "cart_id"),
    belongs_to("deliveries", "delivery_id"),
    UniqueConstraint("company_id", "destination_id", "cart_id", "episode", "event_type", "revision"),
    Index("ix_delivery_carts_delivery", "company_id", "delivery_id"),
    Index("ix_delivery_carts_cart", "company_id", "cart_id"),
)

delivery_attempts = Table(
    "delivery_attempts",
    metadata,
    *key(),
    text("delivery_id", 80, required=True),
    Column("number", Integer, nullable=False),
    moment("started_at", required=True),
    Column("elapsed_ms", Integer, nullable=False),
    text("outcome", 60, required=True),
    Column("status", Integer),
    text("error", 500),
    Column("answer", LargeBinary),  # at most 16 KiB of the answer's body
    text("worker_id", 80),
    moment("next_attempt_at"),
    belongs_to("deliveries", "delivery_id"),
    Index("ix_delivery_attempts_delivery", "company_id", "delivery_id"),
)
