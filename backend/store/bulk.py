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
from sqlalchemy import JSON, Integer, Table
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


def _marks(count: int, *, is_sqlite: bool) -> list[str]:
    """Return the driver's placeholders."""
    return ["?" if is_sqlite else f"${place}" for place in range(1, count + 1)]


def _union(table: str, name: str, *, is_sqlite: bool) -> str:
    """Return the expression for both JSON lists together, each value once."""
    each, gather = ("json_each", "json_group_array") if is_sqlite else ("jsonb_array_elements", "jsonb_agg")
    both = f"SELECT value FROM {each}({table}.{name}) UNION SELECT value FROM {each}(excluded.{name})"  # noqa: S608
    return f"(SELECT {gather}(value) FROM ({both}) AS both_lists)"  # noqa: S608


class Bulk:
    """Prepared statements of one table for rows given as tuples in the order of `names`.

    `counted` columns go up by one with every update.
    """

    def __init__(self, table: Table, names: Sequence[str], *, counted: Sequence[str] = ()) -> None:
        self._table = table
        self._names = tuple(names)
        self._counted = "".join(f", {name} = {name} + 1" for name in counted)
        self._converters: dict[bool, list[tuple[int, Convert]]] = {}

    async def insert(self, connection: AsyncConnection, rows: Sequence[Sequence[Any]]) -> None:
        """Insert rows."""
        if not rows:
            return
        is_sqlite = connection.dialect.name == "sqlite"
        marks = ", ".join(_marks(len(self._names), is_sqlite=is_sqlite))
        statement = f"INSERT INTO {self._table.name} ({', '.join(self._names)}) VALUES ({marks})"  # noqa: S608
        await connection.exec_driver_sql(statement, self._converted(rows, is_sqlite=is_sqlite))

    async def update(self, connection: AsyncConnection, company_id: str, rows: Sequence[Sequence[Any]]) -> None:
        """Set the other columns of rows whose `id` is the last of `names`."""
        if not rows:
            return
        is_sqlite = connection.dialect.name == "sqlite"
        marks = _marks(len(self._names) + 1, is_sqlite=is_sqlite)
        where = f"id = {marks[-2]} AND company_id = {marks[-1]}"
        values = self._converted(rows, is_sqlite=is_sqlite)
        await connection.exec_driver_sql(self._update(marks, 1, where), [(*row, company_id) for row in values])

    async def update_keyed(self, connection: AsyncConnection, rows: Sequence[Sequence[Any]], *, keys: int) -> None:
        """Set the other columns of rows whose last `keys` names say which they are; across companies."""
        if not rows:
            return
        is_sqlite = connection.dialect.name == "sqlite"
        marks = _marks(len(self._names), is_sqlite=is_sqlite)
        where = " AND ".join(f"{name} = {mark}" for name, mark in zip(self._names[-keys:], marks[-keys:], strict=True))
        statement = self._update(marks, keys, where)
        await connection.exec_driver_sql(statement, self._converted(rows, is_sqlite=is_sqlite))

    def _update(self, marks: Sequence[str], keys: int, where: str) -> str:
        sets = ", ".join(f"{name} = {mark}" for name, mark in zip(self._names[:-keys], marks, strict=False))
        return f"UPDATE {self._table.name} SET {sets}{self._counted} WHERE {where}"  # noqa: S608  our own names

    async def add_up(
        self,
        connection: AsyncConnection,
        rows: Sequence[Sequence[Any]],
        key: Sequence[str],
        *,
        merged: Sequence[str],
    ) -> None:
        """Insert rows, or add their whole numbers to the row of the same `key`.

        `merged` columns are JSON lists, joined without doubles; others keep what they have.
        """
        if not rows:
            return
        is_sqlite, table = connection.dialect.name == "sqlite", self._table.name
        numbers = [name for name in self._names if isinstance(self._table.c[name].type, Integer)]
        sets = [f"{name} = {table}.{name} + excluded.{name}" for name in numbers]
        sets += [f"{name} = {_union(table, name, is_sqlite=is_sqlite)}" for name in merged]
        marks = ", ".join(_marks(len(self._names), is_sqlite=is_sqlite))
        statement = (
            f"INSERT INTO {table} ({', '.join(self._names)}) VALUES ({marks}) "  # noqa: S608
            f"ON CONFLICT ({', '.join(key)}) DO UPDATE SET {', '.join(sets)}"
        )
        await connection.exec_driver_sql(statement, self._converted(rows, is_sqlite=is_sqlite))

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
