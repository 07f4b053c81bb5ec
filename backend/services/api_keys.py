"""ApiKeyService: keys for programs. Each has one role, in one company or in all of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Annotated, Any

from pydantic import Field

from backend.clock import Clock
from backend.config import Settings
from backend.db import Database
from backend.domain.access import SCOPES, Caller, Grant, Role
from backend.domain.api_keys import hash_of, is_whole, make_key, shown_part
from backend.domain.figures import Name
from backend.domain.ids import new_id
from backend.errors import BadInput, Conflict, NotAllowed, NotFound
from backend.services.audit import INSTALLATION, note
from backend.services.companies import found_company
from backend.services.drafts import Draft
from backend.services.pages import Page, slice_of
from backend.store.access import USED_EVERY, ApiKeyRow, ApiKeyStore
from backend.store.links import LinkStore

LONGEST_DAYS = 3650
GRACE_HOURS = 24  # the old key's, after a rotation


Scope = Annotated[str, Field(json_schema_extra={"enum": [*sorted(SCOPES)]})]


class ApiKeyDraft(Draft):
    """A key to be made. `scopes` narrow what its role allows, for example ["carts:read"]; left out: all of it."""

    name: Name
    role: Role
    scopes: tuple[Scope, ...] | None = Field(None, max_length=len(SCOPES))
    expires_in_days: int | None = Field(None, ge=1, le=LONGEST_DAYS)


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key, by what may be shown of it. `state`: live, expired or revoked."""

    id: str
    name: str
    shown: str
    role: Role
    company_id: str | None
    scopes: tuple[str, ...] | None
    state: str
    replaces: str | None
    created_by: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


@dataclass(frozen=True, slots=True)
class MadeKey:
    """A key that was just made. `key` is never shown again."""

    api_key: ApiKey
    key: str

    def __repr__(self) -> str:
        """Leave the key out of every log line and traceback."""
        return f"MadeKey({self.api_key.shown!r})"


class ApiKeyService:
    """Makes, lists, rotates and revokes keys: of one company, or (`company_id` None) of all companies together."""

    def __init__(self, database: Database, clock: Clock, settings: Settings) -> None:
        self._database = database
        self._clock = clock
        self._is_live = settings.env == "production"

    async def caller_of(self, key: str) -> Caller | None:
        """Return who holds a key; None for one that is not live, without telling why.

        A key is looked up by its hash, so an unknown one takes as long as a known one. Nothing is remembered: a
        revoked key is refused from its very next request on.
        """
        if not is_whole(key):
            return None
        now = self._clock.now()
        async with self._database.overview() as tx:
            row = await ApiKeyStore(tx).live(hash_of(key), now)
        if row is None:
            return None
        if row.last_used_at is None or row.last_used_at < now - USED_EVERY:
            async with self._database.work() as tx:
                await ApiKeyStore(tx).note_used(row.id, now)
        scopes = None if row.scopes is None else frozenset(row.scopes)
        return Caller("key", row.id, row.name, (Grant(Role(row.role), row.company_id),), scopes, row.expires_at)

    async def list(self, company_id: str | None, *, limit: int = 50, after: str | None = None) -> Page[ApiKey]:
        """Return keys, newest first. Raises `NotFound` for the company."""
        part = slice_of(limit, after)
        await self._check_company(company_id)
        async with self._database.overview() as tx:
            rows = await ApiKeyStore(tx).list_page(company_id, part.rows, part.place)
        return part.cut([self._api_key(row) for row in rows])

    async def create(self, company_id: str | None, draft: ApiKeyDraft, caller: Caller) -> MadeKey:
        """Make a key, which never reaches further than the caller's own and never lives longer.

        Raises `NotFound` for the company, `NotAllowed`, `BadInput` for a scope that does not exist.
        """
        _refuse_narrowed(caller)
        unknown = sorted(set(draft.scopes or ()) - SCOPES)
        if unknown:
            raise BadInput(
                f"there is no scope {unknown[0]!r}", field="scopes", remedy=f"use {', '.join(sorted(SCOPES))}"
            )
        await self._check_company(company_id)
        now = self._clock.now()
        days = draft.expires_in_days
        row = ApiKeyRow(
            id=new_id(),
            name=draft.name,
            shown="",
            role=draft.role.value,
            company_id=company_id,
            scopes=None if draft.scopes is None else sorted(set(draft.scopes)),
            replaces=None,
            created_by=caller.as_actor,
            created_at=now,
            expires_at=_earlier(None if days is None else now + timedelta(days=days), caller.until),
            revoked_at=None,
            last_used_at=None,
        )
        async with self._database.work() as tx:
            made = await self._add(ApiKeyStore(tx), row)
            details = {"role": row.role, "scopes": row.scopes}
            await note(tx, company_id or INSTALLATION, now, "key.created", row.id, **details)
            return made

    async def rotate(self, company_id: str | None, key_id: str, caller: Caller) -> MadeKey:
        """Make a key to take the place of another, which works for another day: two are alive meanwhile.

        Raises `NotFound`, `NotAllowed`, or `Conflict` for a key that is no longer live or is being replaced already.
        """
        _refuse_narrowed(caller)
        now = self._clock.now()
        async with self._database.work() as tx:
            store = ApiKeyStore(tx)
            old = await self._found(store, company_id, key_id)
            if self._state(old) != "live":
                raise Conflict(f"the key is {self._state(old)}", remedy="make a new one")
            if await store.has_live_successor(key_id, now):
                raise Conflict("the key is being replaced already", remedy="rotate the one that takes its place")
            if old.replaces is not None and await store.is_live(old.replaces, now):
                raise Conflict("the key that this one replaced still works", remedy="revoke that one first, or wait")
            until = now + timedelta(hours=GRACE_HOURS)
            await store.change(key_id, expires_at=min(until, old.expires_at or until))
            life = None if old.expires_at is None else old.expires_at - old.created_at
            expires_at = None if life is None else now + life
            made = await self._add(
                store,
                _successor(
                    old, created_by=caller.as_actor, created_at=now, expires_at=_earlier(expires_at, caller.until)
                ),
            )
            await note(tx, company_id or INSTALLATION, now, "key.rotated", key_id, successor=made.api_key.id)
            return made

    async def revoke(self, company_id: str | None, key_id: str) -> ApiKey:
        """Refuse a key from now on; revoking twice does no harm. Raises `NotFound`."""
        async with self._database.work() as tx:
            store = ApiKeyStore(tx)
            if (await self._found(store, company_id, key_id)).revoked_at is None:
                now = self._clock.now()
                await store.change(key_id, revoked_at=now)
                await LinkStore(tx).withdraw_made_by(f"key:{key_id}", now)
                await note(tx, company_id or INSTALLATION, now, "key.revoked", key_id)
            return self._api_key(await self._found(store, company_id, key_id))

    async def _add(self, store: ApiKeyStore, row: ApiKeyRow) -> MadeKey:
        key = make_key(is_live=self._is_live)
        row = replace(row, shown=shown_part(key))
        await store.add({name: getattr(row, name) for name in ApiKeyRow.__slots__} | {"hash": hash_of(key)})
        return MadeKey(self._api_key(row), key)

    async def _found(self, store: ApiKeyStore, company_id: str | None, key_id: str) -> ApiKeyRow:
        row = await store.load(company_id, key_id)
        if row is None:
            raise NotFound(f"there is no key {key_id}")
        return row

    async def _check_company(self, company_id: str | None) -> None:
        if company_id is not None:
            async with self._database.reading(company_id) as tx:
                await found_company(tx, company_id)

    def _state(self, row: ApiKeyRow) -> str:
        if row.revoked_at is not None:
            return "revoked"
        is_over = row.expires_at is not None and row.expires_at <= self._clock.now()
        return "expired" if is_over else "live"

    def _api_key(self, row: ApiKeyRow) -> ApiKey:
        scopes = None if row.scopes is None else tuple(row.scopes)
        values = {name: getattr(row, name) for name in ApiKeyRow.__slots__}
        return ApiKey(**values | {"role": Role(row.role), "scopes": scopes, "state": self._state(row)})


def _refuse_narrowed(caller: Caller) -> None:
    """A key that is narrowed must not make one that is not. Raises `NotAllowed`."""
    if caller.scopes is not None:
        raise NotAllowed("a key that is narrowed to scopes makes no keys")


def _earlier(one: datetime | None, other: datetime | None) -> datetime | None:
    times = [at for at in (one, other) if at is not None]
    return min(times, default=None)


def _successor(old: ApiKeyRow, **values: Any) -> ApiKeyRow:
    """Return the row of a key with the same name and rights."""
    return replace(old, id=new_id(), replaces=old.id, revoked_at=None, last_used_at=None, **values)
