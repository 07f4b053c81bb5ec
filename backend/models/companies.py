"""Companies and their agents."""

from __future__ import annotations

from sqlalchemy import Column, ForeignKey, Index, Integer, String, Table, UniqueConstraint

from backend.models.base import metadata, moment, text

companies = Table(
    "companies",
    metadata,
    Column("id", String(36), primary_key=True),
    text("name", 200, required=True),
    text("website", 500),
    text("support_email", 320),
    text("phone", 40),
    text("country", 2),
    text("status", 20, default="active"),
    Column("weight", Integer, nullable=False, server_default="1"),  # its share of the work, where there is too much
    moment("created_at", required=True),
    moment("updated_at", required=True),
    UniqueConstraint("name"),
)

company_agents = Table(
    "company_agents",
    metadata,
    Column("company_id", String(36), ForeignKey("companies.id"), primary_key=True),
    Column("id", String(80), primary_key=True),
    text("name", 200, required=True),
    text("template_slug", 100, required=True),
    text("status", 20, required=True),
    Column("abandonment_threshold_minutes", Integer, nullable=False),
    Column("recovery_horizon_days", Integer, nullable=False),
    Column("attribution_window_days", Integer, nullable=False),
    moment("created_at", required=True),
    moment("updated_at", required=True),
    UniqueConstraint("company_id", "name"),
    Index("ix_company_agents_template", "template_slug", "status"),
)
