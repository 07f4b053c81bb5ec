"""People and their roles, across companies: whose request it is turns out only once they were found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from backend.domain.access import Grant, Role
from backend.models import companies, grants, people
from backend.store.listings import Place, newest

ALL = "all"  # stands for every company in a grant's id


@dataclass(frozen=True, slots=True)
class PersonRow:
    """A stored person. `totp_sealed` without `has_second_factor` waits for its first code."""

    id: str
    email: str
    name: str
    password_hash: str
    totp_sealed: bytes | None
    totp_key_version: int | None
    has_second_factor: bool
    totp_step: int | None
    recovery_hashes: list[str] | None
    created_at: datetime
    password_changed_at: datetime
    disabled_at: datetime | None


_COLUMNS = tuple(people.c[name] for name in PersonRow.__slots__)


class PeopleStore:
    """People of the installation. `connection` is a transaction as the worker's role."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def add(self, row: PersonRow) -> None:
        """Insert a person. Raises `Conflict` for an address that somebody has."""
        await self._connection.execute(insert(people).values({name: getattr(row, name) for name in row.__slots__}))

    async def load(self, person_id: str) -> PersonRow | None:
        """Return one person."""
        return _person((await self._connection.execute(select(*_COLUMNS).where(people.c.id == person_id))).first())

    async def by_email(self, email: str) -> PersonRow | None:
        """Return the person with this address, in small letters."""
        return _person((await self._connection.execute(select(*_COLUMNS).where(people.c.email == email))).first())

    async def locked(self, person_id: str) -> PersonRow | None:
        """Return one person whom nobody else changes until this transaction ends."""
        query = select(*_COLUMNS).where(people.c.id == person_id).with_for_update()
        return _person((await self._connection.execute(query)).first())

    async def change(self, person_id: str, **values: Any) -> None:
        """Change columns of a person."""
        await self._connection.execute(update(people).where(people.c.id == person_id).values(**values))

    async def take_step(self, person_id: str, step: int) -> bool:
        """Note the time step of a code; False when it, or a later one, was taken already."""
        is_newer = (people.c.totp_step.is_(None)) | (people.c.totp_step < step)
        done = await self._connection.execute(
            update(people).where(people.c.id == person_id, is_newer).values(totp_step=step)
        )
        return bool(done.rowcount)

    async def list_page(self, company_id: str | None, limit: int, after: Place | None) -> list[PersonRow]:
        """Return people, newest first: those with a role in the company, or everybody (None)."""
        query = select(*_COLUMNS)
        if company_id is not None:
            query = query.where(
                people.c.id.in_(select(grants.c.person_id).where(grants.c.company_id == company_id).scalar_subquery())
            )
        rows = await self._connection.execute(newest(query, people, "created_at", limit, after))
        return [PersonRow(*row) for row in rows]

    async def grants_of(self, person_ids: Sequence[str]) -> dict[str, tuple[Grant, ...]]:
        """Return the roles of people, by person."""
        c = grants.c
        query = select(c.person_id, c.role, c.company_id).where(c.person_id.in_(person_ids)).order_by(c.id)
        found: dict[str, list[Grant]] = {person_id: [] for person_id in person_ids}
        for person_id, role, company_id in await self._connection.execute(query):
            found[person_id].append(Grant(Role(role), company_id))
        return {person_id: tuple(rows) for person_id, rows in found.items()}

    async def grant(self, person_id: str, given: Grant, created_by: str, now: datetime) -> None:
        """Give a person a role in place of the one that they have there."""
        await self.take_away(person_id, given.company_id)
        await self._connection.execute(
            insert(grants).values(
                id=_grant_id(person_id, given.company_id),
                person_id=person_id,
                role=given.role.value,
                company_id=given.company_id,
                created_by=created_by,
                created_at=now,
            )
        )

    async def take_away(self, person_id: str, company_id: str | None) -> None:
        """Take away the role that a person has there, if any."""
        await self._connection.execute(delete(grants).where(grants.c.id == _grant_id(person_id, company_id)))

    async def other_owners(self, person_id: str) -> int:
        """Return how many people besides this one own the installation and may sign in."""
        is_owner = (grants.c.role == Role.OWNER.value) & grants.c.company_id.is_(None)
        query = select(func.count()).select_from(grants.join(people, people.c.id == grants.c.person_id))
        query = query.where(is_owner, people.c.disabled_at.is_(None), people.c.id != person_id)
        return int((await self._connection.execute(query)).scalar_one())

    async def company_names(self, company_ids: Sequence[str]) -> dict[str, str]:
        """Return the names of companies, by id."""
        query = select(companies.c.id, companies.c.name).where(companies.c.id.in_(company_ids))
        return {row.id: row.name for row in await self._connection.execute(query)}

    async def is_empty(self) -> bool:
        """Whether nobody can sign in yet."""
        return (await self._connection.execute(select(people.c.id).limit(1))).first() is None


def _grant_id(person_id: str, company_id: str | None) -> str:
    return f"{person_id}.{company_id or ALL}"


def _person(row: Row[Any] | None) -> PersonRow | None:
    return None if row is None else PersonRow(*tuple(row))
