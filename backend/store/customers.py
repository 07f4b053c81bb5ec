"""Customers of one company, and the keys that seal what was said of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Row, bindparam, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from backend.domain.carts import Answer, Consent, Shopper
from backend.models import customers, data_keys, subject_keys
from backend.store.bulk import Bulk


@dataclass(frozen=True, slots=True)
class CustomerRow:
    """A stored person; `is_erased` stays true for good."""

    id: str
    identity: str
    shopper: Shopper
    consent: Consent
    is_erased: bool = False


class SubjectKeyRow(NamedTuple):
    """A wrapped key of one cart, in the order of its columns; `wrapped` is None once destroyed."""

    id: str
    cart_id: str
    customer_id: str | None
    data_key_version: int
    wrapped: bytes | None


class DataKeyRow(NamedTuple):
    """A company's wrapped data key; `master_key` is the fingerprint of what wraps it."""

    version: int
    master_key: str
    wrapped: bytes
    created_at: datetime


_PERSON = (
    "external_id",
    "email",
    "phone",
    "first_name",
    "last_name",
    "locale",
    "country",
    "is_guest",
    "consent_email",
    "consent_sms",
    "consent_source",
    "consent_at",
)
_NEW = Bulk(customers, ("company_id", "integration_id", "created_at", "updated_at", "id", "identity", *_PERSON))
_CHANGED = Bulk(customers, (*_PERSON, "updated_at", "id"))
_DATA_KEY = (data_keys.c.version, data_keys.c.master_key, data_keys.c.wrapped, data_keys.c.created_at)
_KEYS = Bulk(subject_keys, ("company_id", "created_at", "id", "cart_id", "customer_id", "data_key_version", "wrapped"))


class CustomerStore:
    """Customers of one company."""

    def __init__(self, connection: AsyncConnection, company_id: str) -> None:
        self._connection = connection
        self._company = company_id

    async def load_by_identity(self, integration_id: str, identities: Sequence[str]) -> dict[str, CustomerRow]:
        """Return a store's known people by identity."""
        query = select(customers).where(
            customers.c.company_id == self._company,
            customers.c.integration_id == integration_id,
            customers.c.identity.in_(identities),
        )
        return {row.identity: _customer(row) for row in await self._connection.execute(query)}

    async def load(self, ids: Sequence[str]) -> dict[str, CustomerRow]:
        """Return people by id."""
        query = select(customers).where(customers.c.company_id == self._company, customers.c.id.in_(ids))
        return {row.id: _customer(row) for row in await self._connection.execute(query)}

    async def add(self, integration_id: str, rows: Sequence[CustomerRow], now: datetime) -> None:
        """Insert people seen for the first time."""
        fixed = (self._company, integration_id, now, now)
        await _NEW.insert(self._connection, [(*fixed, row.id, row.identity, *_person(row)) for row in rows])

    async def save(self, rows: Sequence[CustomerRow], now: datetime) -> None:
        """Update what is known of people."""
        await _CHANGED.update(self._connection, self._company, [(*_person(row), now, row.id) for row in rows])


class KeyStore:
    """Wrapped keys of one company."""

    def __init__(self, connection: AsyncConnection, company_id: str) -> None:
        self._connection = connection
        self._company = company_id

    async def data_keys(self) -> list[DataKeyRow]:
        """Return every version, oldest first."""
        query = select(*_DATA_KEY).where(data_keys.c.company_id == self._company).order_by(data_keys.c.version)
        return [DataKeyRow(*row) for row in await self._connection.execute(query)]

    async def newest_data_key(self) -> DataKeyRow | None:
        """Return the newest version, and let nobody remove it until the transaction ends."""
        mine = select(*_DATA_KEY).where(data_keys.c.company_id == self._company)
        newest = mine.order_by(data_keys.c.version.desc()).limit(1).with_for_update(read=True, key_share=True)
        row = (await self._connection.execute(newest)).one_or_none()
        return None if row is None else DataKeyRow(*row)

    async def hold_older(self) -> list[int]:
        """Wait until nobody seals with a version older than the newest; hold those until the transaction ends."""
        c = data_keys.c
        newest = select(func.max(c.version)).where(c.company_id == self._company).scalar_subquery()
        older = select(c.version).where(c.company_id == self._company, c.version < newest).order_by(c.version)
        return list((await self._connection.execute(older.with_for_update())).scalars())

    async def remove_data_key(self, version: int) -> None:
        """Destroy a version that `hold_older` named."""
        c = data_keys.c
        await self._connection.execute(delete(data_keys).where(c.company_id == self._company, c.version == version))

    async def add_data_key(self, version: int, master_key: str, wrapped: bytes, now: datetime) -> None:
        """Store a new data key; its id is its version, so that two cannot both be the first."""
        await self._connection.execute(
            insert(data_keys).values(
                company_id=self._company,
                id=f"v{version}",
                version=version,
                master_key=master_key,
                wrapped=wrapped,
                created_at=now,
            )
        )

    async def subject_keys(self, cart_ids: Sequence[str]) -> dict[str, SubjectKeyRow]:
        """Return the subject keys of carts by cart id."""
        query = select(subject_keys).where(
            subject_keys.c.company_id == self._company, subject_keys.c.cart_id.in_(cart_ids)
        )
        return {
            row.cart_id: SubjectKeyRow(row.id, row.cart_id, row.customer_id, row.data_key_version, row.wrapped)
            for row in await self._connection.execute(query)
        }

    async def add_subject_keys(self, rows: Sequence[SubjectKeyRow], now: datetime) -> None:
        """Insert subject keys."""
        await _KEYS.insert(self._connection, [(self._company, now, *row) for row in rows])

    async def link(self, cart_to_customer: dict[str, str]) -> None:
        """Note whose keys these are, so that erasing a person destroys all of them."""
        if not cart_to_customer:
            return
        statement = (
            update(subject_keys)
            .where(subject_keys.c.company_id == self._company, subject_keys.c.cart_id == bindparam("the_cart"))
            .values(customer_id=bindparam("the_customer"))
        )
        await self._connection.execute(
            statement,
            [{"the_cart": cart, "the_customer": customer} for cart, customer in cart_to_customer.items()],
        )


def _person(row: CustomerRow) -> tuple[Any, ...]:
    """Return the values of `_PERSON`."""
    shopper, consent = row.shopper, row.consent
    return (
        shopper.id,
        shopper.email,
        shopper.phone,
        shopper.first_name,
        shopper.last_name,
        shopper.locale,
        shopper.country,
        shopper.is_guest,
        consent.email.value,
        consent.sms.value,
        consent.source,
        consent.at,
    )


def _customer(row: Row[Any]) -> CustomerRow:
    shopper = Shopper(
        id=row.external_id,
        email=row.email,
        phone=row.phone,
        first_name=row.first_name,
        last_name=row.last_name,
        locale=row.locale,
        country=row.country,
        is_guest=row.is_guest,
    )
    consent = Consent(Answer(row.consent_email), Answer(row.consent_sms), row.consent_source, row.consent_at)
    return CustomerRow(row.id, row.identity, shopper, consent, row.erased_at is not None)
