"""Everything that carries the version of a data key: what it sealed, to be sealed anew with the next; what it signed.

A new sealed column belongs into `SEALED`; a test compares it with the tables. What is missing here would be lost with
the key that sealed it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Table, and_, func, select, true, update
from sqlalchemy.ext.asyncio import AsyncConnection

from backend.domain.audit import INSTALLATION
from backend.models import audit_heads, audit_log, destinations, integrations, people, quarantine, subject_keys


@dataclass(frozen=True, slots=True)
class Sealed:
    """A column of sealed values, and the one that says which data key sealed each.

    `names_version`: whether the place that a value is bound to ends with that version.
    """

    table: Table
    value: str
    version: str
    names_version: bool = True

    @property
    def is_of_company(self) -> bool:
        """Whether each row is a company's; else the installation's own key seals them all."""
        return "company_id" in self.table.c


@dataclass(frozen=True, slots=True)
class SealedRow:
    """One sealed value."""

    column: Sealed
    id: str
    value: bytes
    version: int

    def place(self, company_id: str, version: int) -> str:
        """Return the place that it is bound to when a version of the company's data key seals it."""
        place = f"{company_id}/{self.column.table.name}/{self.column.value}/{self.id}"
        return f"{place}/v{version}" if self.column.names_version else place

    def __repr__(self) -> str:
        """Leave the value out of every log line and traceback, sealed as it is."""
        return f"SealedRow({self.column.table.name}.{self.column.value}, {self.id!r}, v{self.version})"


SEALED = (
    Sealed(integrations, "credentials_sealed", "credentials_version"),
    Sealed(destinations, "secrets_sealed", "secrets_version"),
    Sealed(quarantine, "record_sealed", "record_version"),
    Sealed(subject_keys, "wrapped", "data_key_version", names_version=False),
    Sealed(people, "totp_sealed", "totp_key_version"),
)
# Records are never written anew: a version that signed a head, or named people in a record, is needed for good.
SIGNED = audit_heads.c.key_version
NAMED = audit_log.c.details["key_version"].as_integer()


def sealed_for(company_id: str) -> list[Sealed]:
    """Return the columns that a company's data key seals, or the installation's."""
    return [each for each in SEALED if each.is_of_company == (company_id != INSTALLATION)]


class SealedStore:
    """What the data keys of one company, or of the installation, sealed and signed.

    `connection` is a transaction of that company; as the worker's role for the installation.
    """

    def __init__(self, connection: AsyncConnection, company_id: str) -> None:
        self._connection = connection
        self._company = company_id

    async def older(self, column: Sealed, newest: int, after: str, most: int) -> list[SealedRow]:
        """Return values that an older version sealed, by id, and hold them; what others hold is left out.

        So this never waits while it holds a row, and nobody waits for it in a ring.
        """
        c = column.table.c
        query = select(c.id, c[column.value], c[column.version]).where(self._mine(column.table), c.id > after)
        held = query.where(_is_older(column, newest)).order_by(c.id).limit(most)
        rows = await self._connection.execute(held.with_for_update(key_share=True, skip_locked=True))
        return [SealedRow(column, *row) for row in rows]

    async def count_older(self, column: Sealed, newest: int) -> int:
        """Return how many values older versions sealed."""
        counted = select(func.count()).select_from(column.table)
        query = counted.where(self._mine(column.table), _is_older(column, newest))
        return int((await self._connection.execute(query)).scalar_one())

    async def replace(self, row: SealedRow, value: bytes, version: int) -> bool:
        """Store a value as another version seals it, if it is still the one that was read; say whether it was."""
        c, column = row.column.table.c, row.column
        same = and_(c[column.value] == row.value, c[column.version] == row.version)
        statement = update(column.table).where(self._mine(column.table), c.id == row.id, same)
        changed = await self._connection.execute(statement.values({column.value: value, column.version: version}))
        return changed.rowcount == 1

    async def uses(self, versions: Sequence[int]) -> dict[int, int]:
        """Return how many rows need each version: what it sealed, heads it signed, records in which it named people."""
        found = dict.fromkeys(versions, 0)
        for table, version, condition in self._users():
            number = version.label("number")
            query = select(number, func.count()).where(self._mine(table), condition)
            for name, count in await self._connection.execute(query.group_by("number")):
                if name in found:
                    found[name] += count
        return found

    def _users(self) -> list[tuple[Table, ColumnElement[int], ColumnElement[bool]]]:
        columns = sealed_for(self._company)
        sealed = [(each.table, each.table.c[each.version], each.table.c[each.value].is_not(None)) for each in columns]
        noted = [(audit_heads, SIGNED, SIGNED.is_not(None)), (audit_log, NAMED, NAMED.is_not(None))]
        return [*sealed, *noted]

    def _mine(self, table: Table) -> ColumnElement[bool]:
        return table.c.company_id == self._company if "company_id" in table.c else true()


def _is_older(column: Sealed, newest: int) -> ColumnElement[bool]:
    c = column.table.c
    return and_(c[column.version] < newest, c[column.value].is_not(None))
