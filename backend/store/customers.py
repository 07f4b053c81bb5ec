"""Customers of one company, and the keys that seal what was said of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, bindparam, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from backend.domain.carts import Answer, Consent, Shopper
from backend.models import customers, data_keys, subject_keys


@dataclass(frozen=True, slots=True)
class CustomerRow:
    """A stored person; `is_erased` stays true for good."""

    id: str
    identity: str
    shopper: Shopper
    consent: Consent
    is_erased: bool = False


@dataclass(frozen=True, slots=True)
class SubjectKeyRow:
    """A wrapped key of one cart; `wrapped` is None once destroyed."""

    id: str
    cart_id: str
    customer_id: str | None
    data_key_version: int
    wrapped: bytes | None


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
        if not rows:
            return
        fixed = {"company_id": self._company, "integration_id": integration_id, "created_at": now, "updated_at": now}
        values = [{"id": row.id, "identity": row.identity, **_person(row), **fixed} for row in rows]
        await self._connection.execute(insert(customers), values)

    async def save(self, rows: Sequence[CustomerRow], now: datetime) -> None:
        """Update what is known of people."""
        if not rows:
            return
        names = tuple(_person(rows[0]))
        statement = (
            update(customers)
            .where(customers.c.company_id == self._company, customers.c.id == bindparam("the_id"))
            .values({name: bindparam(name) for name in (*names, "updated_at")})
        )
        await self._connection.execute(
            statement, [_person(row) | {"the_id": row.id, "updated_at": now} for row in rows]
        )


class KeyStore:
    """Wrapped keys of one company."""

    def __init__(self, connection: AsyncConnection, company_id: str) -> None:
        self._connection = connection
        self._company = company_id

    async def data_keys(self) -> list[tuple[int, str, bytes]]:
        """Return version, master key's fingerprint and wrapped key, oldest first."""
        query = select(data_keys.c.version, data_keys.c.master_key, data_keys.c.wrapped).where(
            data_keys.c.company_id == self._company
        )
        rows = await self._connection.execute(query.order_by(data_keys.c.version))
        return [(row.version, row.master_key, row.wrapped) for row in rows]

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
        if rows:
            await self._connection.execute(
                insert(subject_keys),
                [
                    {
                        "company_id": self._company,
                        "id": row.id,
                        "cart_id": row.cart_id,
                        "customer_id": row.customer_id,
                        "data_key_version": row.data_key_version,
                        "wrapped": row.wrapped,
                        "created_at": now,
                    }
                    for row in rows
                ],
            )

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


def _person(row: CustomerRow) -> dict[str, Any]:
    shopper, consent = row.shopper, row.consent
    return {
        "external_id": shopper.id,
        "email": shopper.email,
        "phone": shopper.phone,
        "first_name": shopper.first_name,
        "last_name": shopper.last_name,
        "locale": shopper.locale,
        "country": shopper.country,
        "is_guest": shopper.is_guest,
        "consent_email": consent.email.value,
        "consent_sms": consent.sms.value,
        "consent_source": consent.source,
        "consent_at": consent.at,
    }


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
