"""CompanyService: the companies of the installation."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, ClassVar, get_args

from pydantic import BaseModel, Field, StringConstraints, field_validator

from backend.clock import Clock
from backend.db import Database, Transaction
from backend.domain.figures import DEFAULT_WEIGHT, CompanyStatus, Name, Url, Weight
from backend.domain.ids import new_id
from backend.errors import NotFound
from backend.services.audit import note
from backend.services.drafts import Changes, Draft
from backend.services.keyring import Keyring
from backend.services.pages import Page, known_status, slice_of
from backend.store.companies import CompanyRow, CompanyStore
from backend.store.overview import OverviewStore

Email = Annotated[str, StringConstraints(strip_whitespace=True, max_length=320, pattern=r"^[^@\s]+@[^@\s]+\.[^@\s]+$")]
Phone = Annotated[str, StringConstraints(strip_whitespace=True, max_length=40, pattern=r"^[0-9+() ./-]{3,40}$")]
Country = Annotated[str, StringConstraints(strip_whitespace=True, to_upper=True, pattern=r"^[A-Za-z]{2}$")]


Website = Annotated[Url, Field(json_schema_extra={"maxLength": 500, "pattern": r"^\s*[Hh][Tt][Tt][Pp][Ss]?://"})]


class CompanyCardFields(BaseModel):
    """What partners are told of a company besides its name."""

    website: Website | None = None
    support_email: Email | None = None
    phone: Phone | None = None
    country: Country | None = None

    @field_validator("website")
    @classmethod
    def _is_web_address(cls, value: str | None) -> str | None:
        if value is not None and (len(value) > 500 or not value.lower().startswith(("https://", "http://"))):
            raise ValueError("must be a web address of at most 500 characters, beginning with https://")
        return value


class CompanyDraft(CompanyCardFields, Draft):
    """A company to be made. `country` is two letters of ISO 3166."""

    name: Name
    status: CompanyStatus = "active"
    weight: Weight = DEFAULT_WEIGHT


class CompanyChanges(CompanyCardFields, Changes):
    """What to change of a company."""

    may_be_empty: ClassVar[frozenset[str]] = frozenset({"website", "support_email", "phone", "country"})

    name: Name | None = None
    status: CompanyStatus | None = None
    weight: Weight | None = None


@dataclass(frozen=True, slots=True)
class Company:
    """A company. While it is inactive none of its agents is polled."""

    id: str
    name: str
    website: str | None
    support_email: str | None
    phone: str | None
    country: str | None
    status: str
    weight: int
    created_at: datetime
    updated_at: datetime


class CompanyService:
    """Makes, changes and removes companies. Each is written as itself, never across companies."""

    def __init__(self, database: Database, clock: Clock, keyring: Keyring) -> None:
        self._database = database
        self._clock = clock
        self._keyring = keyring

    async def list(
        self,
        *,
        status: str | None = None,
        only: frozenset[str] | None = None,
        limit: int = 50,
        after: str | None = None,
    ) -> Page[Company]:
        """Return companies, newest first; `only` those that the caller may know, None for all of them."""
        part = slice_of(limit, after)
        wanted = known_status(status, get_args(CompanyStatus))
        async with self._database.seeing(only) as tx:
            rows = await OverviewStore(tx, only).companies(wanted, part.rows, part.place)
        return part.cut([_company(row) for row in rows])

    async def get(self, company_id: str) -> Company:
        """Return one company. Raises `NotFound`."""
        async with self._database.reading(company_id) as tx:
            return _company(await found_company(tx, company_id))

    async def create(self, draft: CompanyDraft) -> Company:
        """Make a company and its first data key. Raises `Conflict` when the name is taken."""
        company_id = new_id()
        async with self._database.transaction(company_id) as tx:
            return await self.create_in(tx, company_id, draft)

    async def create_in(self, tx: Transaction, company_id: str, draft: CompanyDraft) -> Company:
        """Make a company inside a transaction of that very company."""
        now = self._clock.now()
        await CompanyStore(tx, company_id).add(draft.model_dump(), now)
        await self._keyring.newest_version(tx, company_id, now)
        await note(tx, company_id, now, "company.created", company_id)
        return _company(await found_company(tx, company_id))

    async def change(self, company_id: str, changes: CompanyChanges) -> Company:
        """Change a company. Raises `NotFound`, or `Conflict` when the name is taken."""
        async with self._database.transaction(company_id) as tx:
            return await self.change_in(tx, company_id, changes)

    async def change_in(self, tx: Transaction, company_id: str, changes: CompanyChanges) -> Company:
        """Change a company inside a transaction."""
        await found_company(tx, company_id)
        values, now = changes.values(), self._clock.now()
        await CompanyStore(tx, company_id).change(values, now)
        await note(tx, company_id, now, "company.changed", company_id, fields=sorted(values))
        return _company(await found_company(tx, company_id))

    async def remove(self, company_id: str) -> None:
        """Delete a company that has no agents; deactivate one that has, because carts and deliveries name it.

        Raises `NotFound`.
        """
        async with self._database.transaction(company_id) as tx:
            await found_company(tx, company_id)
            store, now = CompanyStore(tx, company_id), self._clock.now()
            if not await store.delete_if_unused():
                await store.change({"status": "inactive"}, now)
            await note(tx, company_id, now, "company.removed", company_id)


async def found_company(tx: Transaction, company_id: str) -> CompanyRow:
    """Return a company's row. Raises `NotFound`."""
    row = await CompanyStore(tx, company_id).load()
    if row is None:
        raise NotFound(f"there is no company {company_id}")
    return row


async def hold_company(tx: Transaction, company_id: str) -> None:
    """Let nobody else change this company's set-up until the transaction ends. Raises `NotFound`."""
    if not await CompanyStore(tx, company_id).lock():
        raise NotFound(f"there is no company {company_id}")


def _company(row: CompanyRow) -> Company:
    return Company(**{name: getattr(row, name) for name in Company.__slots__})
