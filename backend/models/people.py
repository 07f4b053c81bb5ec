"""People who sign in, what they may do, their sessions, and the links by which they come. Of no single company."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    UniqueConstraint,
    false,
)

from backend.models.base import Json, metadata, moment, text

people = Table(
    "people",
    metadata,
    Column("id", String(80), primary_key=True),
    text("email", 254, required=True),  # in small letters
    text("name", 200, required=True),
    text("password_hash", 200, required=True),  # argon2id, with its parameters
    Column("totp_sealed", LargeBinary),  # the second factor's secret, by the installation's data key
    Column("totp_key_version", Integer),
    Column("has_second_factor", Boolean, nullable=False, server_default=false()),  # else the secret waits for a code
    Column("totp_step", BigInteger),  # of the last code that was taken, so that none is taken twice
    Column("recovery_hashes", Json),  # SHA-256 of recovery codes that were not used yet
    moment("created_at", required=True),
    moment("password_changed_at", required=True),
    moment("disabled_at"),
    UniqueConstraint("email"),
)

# The id is person and place, so nobody has two roles in one place.
grants = Table(
    "grants",
    metadata,
    Column("id", String(120), primary_key=True),
    Column("person_id", String(80), ForeignKey("people.id", ondelete="CASCADE"), nullable=False),
    text("role", 20, required=True),
    # null: all companies, and the installation
    Column("company_id", String(36), ForeignKey("companies.id", ondelete="CASCADE")),
    text("created_by", 120, required=True),
    moment("created_at", required=True),
    Index("ix_grants_person", "person_id"),
    Index("ix_grants_company", "company_id"),
)

sessions = Table(
    "sessions",
    metadata,
    Column("id", String(80), primary_key=True),
    Column("person_id", String(80), ForeignKey("people.id", ondelete="CASCADE"), nullable=False),
    text("kind", 20, required=True),  # browser or token
    text("mark", 40, required=True),  # random; its pages send it along, and no other page knows it
    Column("generation", Integer, nullable=False),  # of its refresh token; an older one that comes again ends it
    moment("rotated_at", required=True),
    text("client", 200, required=True),  # what the caller said it is
    text("address", 64, required=True),
    moment("created_at", required=True),
    moment("expires_at", required=True),
    moment("ended_at"),
    text("ended_because", 40),
    Index("ix_sessions_person", "person_id", "created_at"),
)

links = Table(
    "links",
    metadata,
    Column("id", String(80), primary_key=True),
    text("kind", 20, required=True),  # invitation or reset
    text("email", 254, required=True),
    text("role", 20),  # of an invitation
    Column("company_id", String(36), ForeignKey("companies.id", ondelete="CASCADE")),
    text("created_by", 120, required=True),
    moment("created_at", required=True),
    moment("expires_at", required=True),
    moment("used_at"),
    moment("withdrawn_at"),
    Index("ix_links_list", "company_id", "created_at"),
)
