"""Customers, carts, their items, events and abandonments."""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    UniqueConstraint,
)
from sqlalchemy import (
    text as sql,
)

from backend.models.base import Json, Money, belongs_to, key, metadata, moment, text

LEASED = sql("lease_token IS NOT NULL")
CHECKED = sql("next_check_at IS NOT NULL")
WAITING = sql("awaits_read")

customers = Table(
    "customers",
    metadata,
    *key(),
    text("integration_id", 80, required=True),
    # what makes the person one person within a store: the platform's id, else e-mail, else phone
    text("identity", 400, required=True),
    text("external_id", 200),
    text("email", 320),
    text("phone", 60),
    text("first_name", 200),
    text("last_name", 200),
    text("locale", 40),
    text("country", 2),
    Column("is_guest", Boolean, nullable=False),
    text("consent_email", 10, required=True),
    text("consent_sms", 10, required=True),
    text("consent_source", 100),
    moment("consent_at"),
    moment("erased_at"),
    moment("created_at", required=True),
    moment("updated_at", required=True),
    belongs_to("integrations", "integration_id"),
    UniqueConstraint("company_id", "integration_id", "identity"),
)

carts = Table(
    "carts",
    metadata,
    *key(),
    text("integration_id", 80, required=True),
    text("agent_id", 80, required=True),
    text("source_cart_id", 200, required=True),
    text("store_id", 500, required=True),
    text("customer_id", 80),
    text("state", 20, required=True),
    Column("episode", Integer, nullable=False),
    text("revision", 40, required=True),
    text("activity", 40, required=True),  # hash of the shopper-visible content
    text("currency", 3, required=True),
    Column("total", Money, nullable=False),
    Column("subtotal", Money),
    Column("discount", Money),
    Column("tax", Money),
    Column("item_count", Integer, nullable=False),
    Column("coupons", Json, nullable=False),
    text("recovery_url"),
    text("order_ref", 200),
    text("exclusion", 100),
    Column("is_test", Boolean, nullable=False),
    Column("is_mock", Boolean, nullable=False),
    moment("source_created_at", required=True),
    moment("source_updated_at", required=True),
    moment("last_activity_at", required=True),
    moment("abandoned_at"),
    moment("completed_at"),
    moment("contacted_at"),
    moment("erased_at"),
    Column("events", Integer, nullable=False),  # the sequence number of its latest event
    # the sweep lane
    moment("next_check_at"),
    Column("awaits_read", Boolean, nullable=False),
    text("lease_token", 40),
    moment("lease_expires_at"),
    moment("created_at", required=True),
    moment("updated_at", required=True),
    belongs_to("integrations", "integration_id"),
    belongs_to("customers", "customer_id"),
    UniqueConstraint("company_id", "integration_id", "source_cart_id"),
    Index("ix_carts_company_due", "company_id", "next_check_at", postgresql_where=CHECKED, sqlite_where=CHECKED),
    Index("ix_carts_lease", "lease_token", postgresql_where=LEASED, sqlite_where=LEASED),
    Index("ix_carts_waiting", "company_id", "integration_id", postgresql_where=WAITING, sqlite_where=WAITING),
    Index("ix_carts_list", "company_id", "updated_at"),
)

cart_items = Table(
    "cart_items",
    metadata,
    *key(),
    text("cart_id", 80, required=True),
    Column("position", Integer, nullable=False),
    text("line_id", 200, required=True),
    text("product_id", 200),
    text("variant_id", 200),
    text("sku", 200),
    text("title", 1000, required=True),
    text("variant", 500),
    Column("quantity", String(40), nullable=False),  # a decimal as text: exact on both databases
    Column("unit_price", Money, nullable=False),
    Column("line_total", Money, nullable=False),
    text("image_url"),
    text("url"),
    belongs_to("carts", "cart_id"),
    Index("ix_cart_items_cart", "company_id", "cart_id"),
)

cart_events = Table(
    "cart_events",
    metadata,
    *key(),
    text("cart_id", 80, required=True),
    Column("seq", Integer, nullable=False),
    text("type", 60, required=True),
    Column("episode", Integer, nullable=False),
    moment("occurred_at", required=True),
    moment("recorded_at", required=True),
    text("source", 40, required=True),
    text("revision", 40, required=True),
    Column("data", Json, nullable=False),
    Column("personal_sealed", LargeBinary),
    text("subject_key_id", 80),
    text("cycle_id", 80),
    belongs_to("carts", "cart_id"),
    UniqueConstraint("company_id", "cart_id", "seq"),
)

abandonment_log = Table(
    "abandonment_log",
    metadata,
    *key(),
    text("cart_id", 80, required=True),
    Column("episode", Integer, nullable=False),
    text("currency", 3, required=True),
    Column("total", Money, nullable=False),
    moment("abandoned_at", required=True),
    moment("recorded_at", required=True),
    belongs_to("carts", "cart_id"),
    UniqueConstraint("company_id", "cart_id", "episode"),
)
