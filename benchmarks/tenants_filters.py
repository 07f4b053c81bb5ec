"""Takes the product's own company filters away: what runs as a company then has Row-Level Security alone.

A condition `company_id = x` (or `companies.id = x`, or `IN`) in a statement becomes `(company_id = x OR true)`. The one
statement that sets role and company of a transaction stays as it is: it is the wall, not a filter.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Boolean, Connection, Table, event, literal_column, or_
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.sql import operators, visitors
from sqlalchemy.sql.elements import BinaryExpression, BindParameter, ClauseElement
from sqlalchemy.sql.schema import Column

from backend.db import APP_ROLE, SET_SCOPE
from backend.models import ACCESS_TABLES, INSTALLATION_TABLES, companies

VOID = " OR true)"
# Not SQLAlchemy's own `true()`: that would swallow the condition beside it, and its parameter would belong nowhere.
ALWAYS = literal_column("true", Boolean())
# What a filter looks like once it is text: a company column compared with a parameter, not with another column.
FILTER = re.compile(r"\b(?:company_id|companies\.id) (?:= \$\d+(?:::\w+)?|IN \((?:\$\d+(?:::\w+)?(?:, )?)+\))")


@dataclass(slots=True)
class Seen:
    """What was run: `removed` counts filters by table, `left` holds statements with a filter that was missed.

    `statements` counts by role, `as_worker` the walled tables that the worker's role touched.
    """

    removed: Counter[str] = field(default_factory=Counter)
    left: list[str] = field(default_factory=list)
    statements: Counter[str] = field(default_factory=Counter)
    as_worker: Counter[str] = field(default_factory=Counter)


class FilterRemover:
    """Watches an engine's statements and, where `is_on`, voids the company filters of those that run as a company."""

    def __init__(self, *, is_on: bool) -> None:
        self._is_on = is_on
        self.seen = Seen()

    @contextmanager
    def watching(self, engine: AsyncEngine) -> Iterator[Seen]:
        """Watch while the block lasts."""
        event.listen(engine.sync_engine, "before_execute", self._before, retval=True)
        event.listen(engine.sync_engine, "before_cursor_execute", self._sent)
        try:
            yield self.seen
        finally:
            event.remove(engine.sync_engine, "before_execute", self._before)
            event.remove(engine.sync_engine, "before_cursor_execute", self._sent)

    def _before(
        self, connection: Connection, clause: Any, multiparams: Any, params: Any, _options: Any
    ) -> tuple[Any, Any, Any]:
        if clause is SET_SCOPE:
            # Of this transaction: every one begins with it.
            connection.info["role"] = (multiparams[0] if multiparams else params)["role"]
            return clause, multiparams, params
        role = connection.info.get("role", "none")
        self.seen.statements[role] += 1
        if role == APP_ROLE and self._is_on:
            clause = self.without_filters(clause)
        elif role != APP_ROLE:
            self.seen.as_worker.update(walled_tables(clause))
        return clause, multiparams, params

    def _sent(self, connection: Connection, _cursor: Any, statement: str, *_more: Any) -> None:
        if self._is_on and connection.info.get("role") == APP_ROLE:
            self.seen.left.extend(statement for found in FILTER.finditer(statement) if not _is_void(statement, found))

    def without_filters(self, clause: Any) -> Any:
        """Return a statement whose company filters hold for every row; what is not built of clauses stays as it is."""
        if not isinstance(clause, ClauseElement):
            return clause

        def voided(element: Any, **_kw: Any) -> Any:
            table = filtered_table(element)
            if table is None:
                return None
            self.seen.removed[table] += 1
            # In brackets of its own: what was an AND around it must not become part of the OR.
            return or_(element, ALWAYS).self_group(against=operators.and_)

        return visitors.replacement_traverse(clause, {}, voided)


def filtered_table(element: Any) -> str | None:
    """Return the table whose company a condition asks for, None where it is another condition."""
    if not isinstance(element, BinaryExpression) or element.operator not in {operators.eq, operators.in_op}:
        return None
    column = element.left
    if not isinstance(column, Column) or not isinstance(element.right, BindParameter):
        return None
    is_company = column.name == "company_id" or (column.table.name == companies.name and column.name == "id")
    return str(column.table.name) if is_company else None


def walled_tables(clause: Any) -> set[str]:
    """Return the tables with Row-Level Security that a statement names."""
    if not isinstance(clause, ClauseElement):
        return set()
    named = {each.name for each in visitors.iterate(clause) if isinstance(each, Table)}
    target = getattr(clause, "table", None)
    if isinstance(target, Table):
        named.add(target.name)
    return named - INSTALLATION_TABLES - ACCESS_TABLES


def _is_void(statement: str, found: re.Match[str]) -> bool:
    return statement[found.end() :].startswith(VOID)
