"""The list of everything that a data key sealed or signed, against the tables: a column that is forgotten is lost."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Column, Integer, LargeBinary, MetaData, Table

from backend.models import audit_heads, metadata
from backend.store.sealed import SEALED, SIGNED

# Bytes that no data key sealed, and why.
OTHERS = {
    "api_keys.hash": "the hash of a key",
    "audit_heads.hash": "the hash of a record",
    "audit_heads.signature": "signed by the version beside it, never sealed anew",
    "audit_log.before": "the hash of a record",
    "audit_log.hash": "the hash of a record",
    "cart_events.personal_sealed": "sealed by the cart's subject key",
    "data_keys.wrapped": "wrapped by the master key",
    "deliveries.body": "in the clear",
    "delivery_attempts.answer": "in the clear",
}


def forgotten(tables: Iterable[Table]) -> set[str]:
    """Return the columns that look as if a data key had sealed them, or like its version, and are on no list."""
    listed = {f"{each.table.name}.{name}" for each in SEALED for name in (each.value, each.version)}
    listed |= {f"{audit_heads.name}.{SIGNED.name}", "data_keys.version", *OTHERS}
    columns = [column for table in tables for column in table.columns]
    suspects = [each for each in columns if isinstance(each.type, LargeBinary) or each.name.endswith("version")]
    return {f"{each.table.name}.{each.name}" for each in suspects} - listed


def test_every_column_of_bytes_and_every_version_is_on_a_list() -> None:
    assert forgotten(metadata.tables.values()) == set()


def test_what_is_on_a_list_is_there() -> None:
    there = {f"{table.name}.{column.name}" for table in metadata.tables.values() for column in table.columns}
    named = {f"{each.table.name}.{name}" for each in SEALED for name in (each.value, each.version)}
    assert named | set(OTHERS) <= there


def test_the_check_sees_a_column_that_was_forgotten() -> None:
    new = Table("things", MetaData(), Column("key_sealed", LargeBinary), Column("key_version", Integer))
    assert forgotten([new]) == {"things.key_sealed", "things.key_version"}
