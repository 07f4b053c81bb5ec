"""Metadata with a naming convention, and the column types for time, money and JSON."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import JSON, BigInteger, Column, DateTime, Dialect, ForeignKeyConstraint, MetaData, String
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import TypeDecorator, TypeEngine

from backend.domain.money import from_units, to_units

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

Json = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")


class UtcDateTime(TypeDecorator[datetime]):
    """Aware UTC in Python; timestamptz on PostgreSQL, sortable text on SQLite. A naive time is refused."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse a naive time; store UTC."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a zone cannot be stored")
        return value.astimezone(UTC) if dialect.name != "sqlite" else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return aware UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Money(TypeDecorator[Decimal]):
    """`Decimal` in Python, BIGINT of 1/10,000 units in the database (SQLite's own numerics lose digits)."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> int | None:
        """Store 1/10,000 units."""
        return None if value is None else to_units(value)

    def process_result_value(self, value: int | None, dialect: Dialect) -> Decimal | None:
        """Return the amount."""
        return None if value is None else from_units(value)


def key() -> list[Column[Any]]:
    """Return the two columns of every tenant table's primary key."""
    return [Column("company_id", String(36), primary_key=True), Column("id", String(80), primary_key=True)]


def moment(name: str, *, required: bool = False) -> Column[datetime]:
    """Return a time column, nullable unless `required`."""
    return Column(name, UtcDateTime, nullable=not required)


def text(name: str, length: int | None = None, *, required: bool = False, default: str | None = None) -> Column[str]:
    """Return a text column, nullable unless `required` or given a default."""
    kind: TypeEngine[str] = String(length) if length else String()
    return Column(name, kind, nullable=not required and default is None, server_default=default)


def belongs_to(table: str, column: str) -> ForeignKeyConstraint:
    """Return the two-column foreign key to another tenant table."""
    return ForeignKeyConstraint(["company_id", column], [f"{table}.company_id", f"{table}.id"])
