"""Who may come in. Read before anybody knows whose request it is, so these tables belong to no company's view."""

from __future__ import annotations

from sqlalchemy import Column, ForeignKey, Index, LargeBinary, String, Table, UniqueConstraint

from backend.models.base import Json, metadata, moment, text

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", String(80), primary_key=True),
    text("name", 200, required=True),
    text("shown", 40, required=True),  # the key's first characters, by which people know it
    Column("hash", LargeBinary, nullable=False),  # SHA-256 of the whole key
    text("role", 20, required=True),
    # null: all companies, and the installation
    Column("company_id", String(36), ForeignKey("companies.id", ondelete="CASCADE")),
    Column("scopes", Json),  # null: all that the role allows
    text("replaces", 80),  # the key that this one was made to take the place of
    text("created_by", 120, required=True),
    moment("created_at", required=True),
    moment("expires_at"),
    moment("revoked_at"),
    moment("last_used_at"),
    UniqueConstraint("hash"),
    Index("ix_api_keys_list", "company_id", "created_at"),
)
