"""DestinationService: the partners' addresses, their signing secrets, and what each takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, get_args

from pydantic import Field

from backend.clock import Clock
from backend.config import Settings
from backend.db import Database, Transaction
from backend.domain.figures import DEFAULT_MAX_CARTS, DestinationStatus, MaxCarts, Name, RowId, Url
from backend.domain.ids import new_id
from backend.domain.signing import SECRET_PREFIX, make_secret, secret_bytes
from backend.errors import BadInput, Conflict, NotFound, SetupProblem
from backend.services.agent_integrations import found_agent
from backend.services.audit import note
from backend.services.companies import found_company, hold_company
from backend.services.connections import check_url, target_rules
from backend.services.drafts import Changes, Draft
from backend.services.keyring import Keyring
from backend.services.pages import Page, known_status, slice_of
from backend.store.destinations import DestinationRow, DestinationStore
from backend.store.work.defaults import agents_without_destination

MOST_SECRETS = 10  # live at once: every message carries one signature for each
HINT = 4  # characters of a secret that are shown
DEFAULT_NAME = "default"
# What failed attempts left behind; cleared when somebody changed what they may have failed for.
FRESH_START: Mapping[str, Any] = {"failures": 0, "held_until": None, "status_reason": None}


class DestinationDraft(Draft):
    """A partner's address to be added. Without a `secret` one is made, and shown once."""

    agent_id: RowId
    name: Name
    url: Url
    secret: str | None = Field(None, max_length=200, repr=False)
    max_carts_per_payload: MaxCarts = DEFAULT_MAX_CARTS
    include_uncontactable: bool = False
    include_opted_out: bool = False


class DestinationChanges(Changes):
    """What to change of a destination; its secrets are changed by `rotate_secret`."""

    name: Name | None = None
    url: Url | None = None
    status: DestinationStatus | None = None
    max_carts_per_payload: MaxCarts | None = None
    include_uncontactable: bool | None = None
    include_opted_out: bool | None = None


@dataclass(frozen=True, slots=True)
class Destination:
    """A partner's address. `secret_hints` are the ends of its live secrets, newest first.

    `disabled`: nothing is sent, what is owed waits, new carts join. `inactive`: removed, new carts do not join.
    """

    id: str
    agent_id: str
    name: str
    url: str
    secret_hints: tuple[str, ...]
    status: str
    status_reason: str | None
    max_carts_per_payload: int
    include_uncontactable: bool
    include_opted_out: bool
    failures: int
    held_until: datetime | None
    last_error: str | None
    last_error_at: datetime | None
    last_success_at: datetime | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class SignedDestination:
    """A destination after its secret was set. `secret` is there only if it was made here, and never shown again."""

    destination: Destination
    secret: str | None

    def __repr__(self) -> str:
        """Leave the secret out of every log line and traceback."""
        return f"SignedDestination({self.destination.id!r})"


class DestinationService:
    """A company's destinations."""

    def __init__(self, database: Database, clock: Clock, settings: Settings, keyring: Keyring) -> None:
        self._database = database
        self._clock = clock
        self._settings = settings
        self._keyring = keyring

    async def list(
        self,
        company_id: str,
        *,
        status: str | None = None,
        agent_id: str | None = None,
        limit: int = 50,
        after: str | None = None,
    ) -> Page[Destination]:
        """Return destinations, newest first. Raises `NotFound`, `BadInput`."""
        part = slice_of(limit, after)
        wanted = known_status(status, get_args(DestinationStatus))
        async with self._database.reading(company_id) as tx:
            await found_company(tx, company_id)
            store = DestinationStore(tx, company_id)
            rows = await store.list_page(part.rows, part.place, status=wanted, agent_id=agent_id)
            return part.cut([await self._destination(tx, company_id, row) for row in rows])

    async def get(self, company_id: str, destination_id: str) -> Destination:
        """Return one destination. Raises `NotFound`."""
        async with self._database.reading(company_id) as tx:
            return await self._destination(tx, company_id, await found_destination(tx, company_id, destination_id))

    async def create(self, company_id: str, draft: DestinationDraft) -> SignedDestination:
        """Add a destination. Raises `NotFound` for company or agent, `BadInput`, `Conflict` when the name is taken."""
        async with self._database.transaction(company_id) as tx:
            return await self.create_in(tx, company_id, draft, new_id())

    async def create_in(
        self, tx: Transaction, company_id: str, draft: DestinationDraft, destination_id: str
    ) -> SignedDestination:
        """Add a destination inside a transaction, under an id of the caller's."""
        await hold_company(tx, company_id)
        await found_agent(tx, company_id, draft.agent_id)
        self.check_url(draft.url)
        secret = make_secret() if draft.secret is None else checked_secret(draft.secret)
        values = draft.model_dump(exclude={"secret"}) | {"status": "active"}
        values |= await self._sealed(tx, company_id, destination_id, [secret])
        now = self._clock.now()
        await DestinationStore(tx, company_id).add(destination_id, values, now)
        await note(tx, company_id, now, "destination.created", destination_id)
        made = await self._destination(tx, company_id, await found_destination(tx, company_id, destination_id))
        return SignedDestination(made, secret if draft.secret is None else None)

    async def change(self, company_id: str, destination_id: str, changes: DestinationChanges) -> Destination:
        """Change a destination. Raises `NotFound`, `BadInput`, `Conflict` when the name is taken.

        A new address or a status set to active begins with a clean slate: no failures, nothing held back.
        """
        async with self._database.transaction(company_id) as tx:
            return await self.change_in(tx, company_id, destination_id, changes)

    async def change_in(
        self, tx: Transaction, company_id: str, destination_id: str, changes: DestinationChanges
    ) -> Destination:
        """Change a destination inside a transaction."""
        await found_destination(tx, company_id, destination_id)
        values, now = changes.values(), self._clock.now()
        fields = sorted(values)
        if "url" in values:
            self.check_url(values["url"])
        if "url" in values or values.get("status") == "active":
            values |= FRESH_START
        elif values.get("status") == "disabled":
            values |= {"status_reason": "disabled by operator"}
        await DestinationStore(tx, company_id).change(destination_id, values, now)
        await note(tx, company_id, now, "destination.changed", destination_id, fields=fields)
        return await self._destination(tx, company_id, await found_destination(tx, company_id, destination_id))

    async def rotate_secret(
        self, company_id: str, destination_id: str, secret: str | None = None, *, keep_old: bool = True
    ) -> SignedDestination:
        """Sign with a new secret, given or made here.

        With `keep_old` messages carry the old secrets' signatures as well, so that the partner can change over without
        a gap; rotate once more with `keep_old=False`, or call `drop_old_secrets`, when it has. Raises `NotFound`,
        `BadInput`.
        """
        async with self._database.transaction(company_id) as tx:
            return await self.rotate_secret_in(tx, (company_id, destination_id), secret, keep_old=keep_old)

    async def rotate_secret_in(
        self, tx: Transaction, ids: tuple[str, str], secret: str | None, *, keep_old: bool
    ) -> SignedDestination:
        """Sign with a new secret inside a transaction. `ids` are those of company and destination."""
        row = await found_destination(tx, *ids)
        newest = make_secret() if secret is None else checked_secret(secret)
        old = [live for live in await self.secrets_in(tx, ids[0], row) if live != newest] if keep_old else []
        sealed, now = await self._sealed(tx, *ids, [newest, *old][:MOST_SECRETS]), self._clock.now()
        await DestinationStore(tx, ids[0]).change(ids[1], sealed, now)
        await note(tx, ids[0], now, "destination.secret_rotated", ids[1], kept=len(old))
        changed = await self._destination(tx, ids[0], await found_destination(tx, *ids))
        return SignedDestination(changed, newest if secret is None else None)

    async def drop_old_secrets(self, company_id: str, destination_id: str) -> Destination:
        """Sign with the newest secret only. Raises `NotFound`."""
        async with self._database.transaction(company_id) as tx:
            row = await found_destination(tx, company_id, destination_id)
            newest = (await self.secrets_in(tx, company_id, row))[0]
            return (await self.rotate_secret_in(tx, (company_id, row.id), newest, keep_old=False)).destination

    async def remove(self, company_id: str, destination_id: str) -> None:
        """Delete a destination that nothing was ever decided for; deactivate one with deliveries, which stay readable.

        Raises `NotFound`.
        """
        async with self._database.transaction(company_id) as tx:
            await found_destination(tx, company_id, destination_id)
            store, now = DestinationStore(tx, company_id), self._clock.now()
            if not await store.delete_if_unused(destination_id):
                await store.change(destination_id, {"status": "inactive"}, now)
            await note(tx, company_id, now, "destination.removed", destination_id)

    async def ensure_default(self) -> Sequence[str]:
        """Give agents of the target template that never had a destination the one of EXTERNAL_API_URL.

        Returns the ids of those made. From then on it is a destination like any other. Raises `SetupProblem` when the
        settings name an address or secret that no destination could have.
        """
        settings = self._settings
        if not settings.external_api_url:
            return []
        async with self._database.overview() as tx:
            agents = await agents_without_destination(tx, settings.target_template_slug)
        if agents:
            self._check_default()
        made = []
        for company_id, agent_id in agents:
            draft = DestinationDraft(
                agent_id=agent_id,
                name=DEFAULT_NAME,
                url=settings.external_api_url,
                secret=settings.external_api_secret,
            )
            try:
                made.append((await self.create(company_id, draft)).destination.id)
            except Conflict:
                continue  # another worker was first
        return made

    def _check_default(self) -> None:
        try:
            self.check_url(self._settings.external_api_url)
            checked_secret(self._settings.external_api_secret)
        except BadInput as fault:
            name = "EXTERNAL_API_SECRET" if fault.field == "secret" else "EXTERNAL_API_URL"
            raise SetupProblem(f"{name}: {fault}; {fault.remedy}") from fault

    def check_url(self, url: str) -> None:
        """Raise `BadInput` unless a destination may have this URL: https, or this machine where that is allowed."""
        check_url(url, "url", target_rules(self._settings))

    async def secrets_in(self, tx: Transaction, company_id: str, row: DestinationRow) -> Sequence[str]:
        """Open the live secrets of a destination, newest first."""
        place = (company_id, "destinations", "secrets_sealed", row.id)
        opened: list[str] = await self._keyring.open_json(tx, place, row.secrets_sealed, row.secrets_version)
        return opened

    async def _sealed(
        self, tx: Transaction, company_id: str, destination_id: str, secrets: Sequence[str]
    ) -> dict[str, Any]:
        place = (company_id, "destinations", "secrets_sealed", destination_id)
        sealed, version = await self._keyring.seal_json(tx, place, list(secrets), self._clock.now())
        return {"secrets_sealed": sealed, "secrets_version": version}

    async def _destination(self, tx: Transaction, company_id: str, row: DestinationRow) -> Destination:
        hints = tuple(_hint(secret) for secret in await self.secrets_in(tx, company_id, row))
        values = {name: getattr(row, name) for name in Destination.__slots__ if name in DestinationRow.__slots__}
        return Destination(**values, secret_hints=hints)


async def found_destination(tx: Transaction, company_id: str, destination_id: str) -> DestinationRow:
    """Return a destination's row. Raises `NotFound`, also when the company is not there."""
    row = await DestinationStore(tx, company_id).load(destination_id)
    if row is None:
        await found_company(tx, company_id)
        raise NotFound(f"there is no destination {destination_id} in this company")
    return row


def checked_secret(secret: str) -> str:
    """Return a signing secret that holds, trimmed. Raises `BadInput`, without quoting it."""
    trimmed = secret.strip()
    if not trimmed.startswith(SECRET_PREFIX):
        raise BadInput(
            f"the signing secret does not begin with {SECRET_PREFIX}",
            field="secret",
            remedy=f"give a secret of the form {SECRET_PREFIX}<base64>, or leave it out to have one made",
        )
    secret_bytes(trimmed)
    return trimmed


def _hint(secret: str) -> str:
    """Return what may be shown of a secret: enough to tell two apart."""
    return f"{SECRET_PREFIX}…{secret[-HINT:]}"
