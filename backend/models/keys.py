"""Keys at rest, always wrapped: a company's data keys under the master key, subject keys under a data key."""

from __future__ import annotations

from sqlalchemy import Column, Index, Integer, LargeBinary, Table, UniqueConstraint

from backend.models.base import belongs_to, key, metadata, moment, text

data_keys = Table(
    "data_keys",
    metadata,
    *key(),
    Column("version", Integer, nullable=False),
    text("master_key", 40, required=True),  # fingerprint of the master key that wraps it
    Column("wrapped", LargeBinary, nullable=False),
    moment("created_at", required=True),
    UniqueConstraint("company_id", "version"),
)

# One per cart until the cart is linked to a person; destroying `wrapped` is erasure.
subject_keys = Table(
    "subject_keys",
    metadata,
    *key(),
    text("cart_id", 80, required=True),
    text("customer_id", 80),
    Column("data_key_version", Integer, nullable=False),
    Column("wrapped", LargeBinary),
    moment("destroyed_at"),
    moment("created_at", required=True),
    belongs_to("carts", "cart_id"),
    Index("ix_subject_keys_cart", "company_id", "cart_id"),
    Index("ix_subject_keys_customer", "company_id", "customer_id"),
)
