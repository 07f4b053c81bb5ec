"""Many rows in one statement without the toll of building each: values go to the driver as plain tuples.

For the few inserts and updates that run for every cart of every page. Times, amounts and JSON are converted column
by column as the column types of `models.base` would do it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import orjson
from sqlalchemy import JSON, Table
from sqlalchemy.ext.asyncio import AsyncConnection

from backend.domain.money import to_units
from backend.models.base import Money, UtcDateTime

Convert = Callable[[Any], Any]


def _sqlite_time(value: datetime | None) -> str | None:
    """Return the text that SQLite's DateTime stores: UTC, microseconds, no zone."""
    if value is None:
        return None
    if value.tzinfo is not UTC:
        value = value.astimezone(UTC)
    return value.isoformat(" ", "microseconds")[:26]


def _units(value: Decimal | None) -> int | None:
    return None if value is None else to_units(value)


def _json(value: Any) -> str | None:
    return None if value is None else orjson.dumps(value, default=str, option=orjson.OPT_UTC_Z).decode()


class Bulk:
    """Prepared statements of one table for rows given as tuples in the order of `names`."""

    def __init__(self, table: Table, names: Sequence[str]) -> None:
        self._table = table
        self._names = tuple(names)
        self._converters: dict[bool, list[tuple[int, Convert]]] = {}

    async def insert(self, connection: AsyncConnection, rows: Sequence[Sequence[Any]]) -> None:
        """Insert rows."""
        if not rows:
            return
        is_sqlite = connection.dialect.name == "sqlite"
        marks = ", ".join("?" if is_sqlite else f"${place}" for place in range(1, len(self._names) + 1))
        statement = f"INSERT INTO {self._table.name} ({', '.join(self._names)}) VALUES ({marks})"  # noqa: S608
        await connection.exec_driver_sql(statement, self._converted(rows, is_sqlite=is_sqlite))

    async def update(self, connection: AsyncConnection, company_id: str, rows: Sequence[Sequence[Any]]) -> None:
        """Set the other columns of rows whose `id` is the last of `names`."""
        if not rows:
            return
        is_sqlite = connection.dialect.name == "sqlite"
        sets = ", ".join(f"{name} = {'?' if is_sqlite else f'${at}'}" for at, name in enumerate(self._names[:-1], 1))
        last = len(self._names)
        where = "id = ? AND company_id = ?" if is_sqlite else f"id = ${last} AND company_id = ${last + 1}"
        statement = f"UPDATE {self._table.name} SET {sets} WHERE {where}"  # noqa: S608  names come from our own tables
        values = self._converted(rows, is_sqlite=is_sqlite)
        await connection.exec_driver_sql(statement, [(*row, company_id) for row in values])

    def _converted(self, rows: Sequence[Sequence[Any]], *, is_sqlite: bool) -> list[tuple[Any, ...]]:
        """Convert column by column and return rows again."""
        columns: list[Sequence[Any]] = list(zip(*rows, strict=True))
        for place, convert in self._converters_for(is_sqlite=is_sqlite):
            if convert is _sqlite_time:  # a page holds few distinct times
                shown = {value: _sqlite_time(value) for value in set(columns[place])}
                columns[place] = [shown[value] for value in columns[place]]
            else:
                columns[place] = [convert(value) for value in columns[place]]
        return list(zip(*columns, strict=True))

    def _converters_for(self, *, is_sqlite: bool) -> list[tuple[int, Convert]]:
        if is_sqlite not in self._converters:
            kinds: list[tuple[type[Any], Convert]] = [(Money, _units), (JSON, _json)]
            if is_sqlite:
                kinds.append((UtcDateTime, _sqlite_time))
            self._converters[is_sqlite] = [
                (place, convert)
                for place, name in enumerate(self._names)
                for kind, convert in kinds
                if isinstance(self._table.c[name].type, kind)
            ]
        return self._converters[is_sqlite]
