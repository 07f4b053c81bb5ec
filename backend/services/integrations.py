"""IntegrationService: connect, verify, pause, resume, rotate credentials, remove."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Literal, get_args

from pydantic import Field

from backend.clock import Clock
from backend.config import Settings
from backend.db import Database, Transaction
from backend.domain.figures import DEFAULT_LOOKBACK_DAYS, IntegrationStatus, LookbackDays, Name, PollInterval, RowId
from backend.domain.ids import new_id
from backend.errors import BadInput, Conflict, NotFound
from backend.outbound import Outbound
from backend.platforms.base import Finding
from backend.platforms.registry import PLATFORMS
from backend.services.agent_integrations import found_agent
from backend.services.audit import note
from backend.services.companies import found_company, hold_company
from backend.services.connection_reports import ConnectionReport, ConnectionTester, Trial
from backend.services.connections import OpenStore, StoreCard, StoreOpener
from backend.services.drafts import Changes, Draft
from backend.services.keyring import Keyring
from backend.services.pages import Page, known_status, slice_of
from backend.store.deliveries import DeliveryStore
from backend.store.integrations import LEASE_ENDED, IntegrationRow, IntegrationStore

PAUSED_BY_OPERATOR = "paused by operator"
# What a poll noted about trouble; cleared when somebody changed what the trouble may have come from.
NO_TROUBLE: Mapping[str, Any] = {
    "failures": 0,
    "waiting_until": None,
    "waiting_for": None,
    "last_error_code": None,
    "last_error": None,
    "last_remedy": None,
    "last_error_at": None,
}
NO_REFUSALS: Mapping[str, Any] = {"refusals": 0, "first_refused_at": None}
NO_CURSOR: Mapping[str, Any] = {"watermark": None, "window_from": None, "page_token": None, "next_watermark": None}


class IntegrationDraft(Draft):
    """A store to be connected. `settings` and `credentials` have the keys that its platform takes."""

    agent_id: RowId
    name: Name
    platform: str = Field(max_length=40, json_schema_extra={"enum": [*sorted(PLATFORMS)]})
    settings: dict[str, Any] = Field(default_factory=dict)
    credentials: dict[str, Any] = Field(default_factory=dict, repr=False)
    poll_interval_seconds: PollInterval | None = None
    initial_lookback_days: LookbackDays = DEFAULT_LOOKBACK_DAYS


class IntegrationChanges(Changes):
    """What to change of an integration. `settings` are laid over the stored ones key by key; a null key goes away."""

    may_be_empty: ClassVar[frozenset[str]] = frozenset({"poll_interval_seconds"})

    name: Name | None = None
    settings: dict[str, Any] | None = None
    poll_interval_seconds: PollInterval | None = None
    initial_lookback_days: LookbackDays | None = None
    status: Literal["active", "inactive"] | None = None


@dataclass(frozen=True, slots=True)
class Integration:
    """A connected store, without its credentials.

    Paused with the reason ``credentials_rejected`` it is still probed now and then.
    """

    id: str
    agent_id: str
    name: str
    platform: str
    store_id: str
    status: str
    pause_reason: str | None
    settings: dict[str, Any]
    has_credentials: bool
    credential_names: tuple[str, ...]
    poll_interval_seconds: int | None
    initial_lookback_days: int
    watermark: datetime | None
    next_poll_at: datetime
    waiting_until: datetime | None
    waiting_for: str | None
    last_error_code: str | None
    last_error: str | None
    last_remedy: str | None
    last_error_at: datetime | None
    last_polled_at: datetime | None
    last_success_at: datetime | None
    notices: list[str] | None
    created_at: datetime
    updated_at: datetime


class IntegrationService:
    """A company's stores. Every change of the set-up ends a poll in flight, which then saves nothing more."""

    def __init__(self, database: Database, clock: Clock, settings: Settings, keyring: Keyring, http: Outbound) -> None:
        self._database = database
        self._clock = clock
        self._keyring = keyring
        self._opener = StoreOpener(settings, clock, http)
        self._tester = ConnectionTester(settings, clock)

    async def list(
        self,
        company_id: str,
        *,
        status: str | None = None,
        agent_id: str | None = None,
        limit: int = 50,
        after: str | None = None,
    ) -> Page[Integration]:
        """Return integrations, newest first. Raises `NotFound`, `BadInput`."""
        part = slice_of(limit, after)
        wanted = known_status(status, get_args(IntegrationStatus))
        async with self._database.reading(company_id) as tx:
            await found_company(tx, company_id)
            store = IntegrationStore(tx, company_id)
            rows = await store.list_page(part.rows, part.place, status=wanted, agent_id=agent_id)
            return part.cut([await self._integration(tx, company_id, row) for row in rows])

    async def get(self, company_id: str, integration_id: str) -> Integration:
        """Return one integration. Raises `NotFound`."""
        async with self._database.reading(company_id) as tx:
            return await self._integration(tx, company_id, await found_integration(tx, company_id, integration_id))

    async def create(self, company_id: str, draft: IntegrationDraft) -> Integration:
        """Connect a store; it is polled at the next beat.

        Raises `NotFound` for company or agent, `BadInput` from the adapter's models, `Conflict` when the name is
        taken or the store is connected already.
        """
        async with self._database.transaction(company_id) as tx:
            return await self.create_in(tx, company_id, draft, new_id())

    async def create_in(
        self, tx: Transaction, company_id: str, draft: IntegrationDraft, integration_id: str
    ) -> Integration:
        """Connect a store inside a transaction, under an id of the caller's."""
        await hold_company(tx, company_id)
        await found_agent(tx, company_id, draft.agent_id)
        opened = self._opener.open(_card(company_id, integration_id, draft))
        store, now = IntegrationStore(tx, company_id), self._clock.now()
        _refuse_second(await store.load_by_store(draft.platform, opened.store_id), integration_id)
        sealed, version = await self._seal(tx, company_id, integration_id, opened.credentials)
        values = draft.model_dump(exclude={"settings", "credentials"})
        stored = {"settings": opened.settings, "credentials_sealed": sealed, "credentials_version": version}
        fixed = {"store_id": opened.store_id, "status": "active", "next_poll_at": now}
        await store.add(integration_id, values | stored | fixed, now)
        await note(tx, company_id, now, "integration.created", integration_id, platform=draft.platform)
        return await self._integration(tx, company_id, await found_integration(tx, company_id, integration_id))

    async def change(self, company_id: str, integration_id: str, changes: IntegrationChanges) -> Integration:
        """Change an integration. Raises `NotFound`, `BadInput`, `Conflict`.

        A store whose carts were read stays the same store: another one is a new integration.
        """
        async with self._database.transaction(company_id) as tx:
            return await self.change_in(tx, company_id, integration_id, changes)

    async def change_in(
        self, tx: Transaction, company_id: str, integration_id: str, changes: IntegrationChanges
    ) -> Integration:
        """Change an integration inside a transaction."""
        await hold_company(tx, company_id)
        row = await found_integration(tx, company_id, integration_id)
        values, now = changes.values(), self._clock.now()
        fields = sorted(values)
        if "settings" in values:
            values |= await self._new_settings(tx, company_id, row, values["settings"])
        if "poll_interval_seconds" in values:
            values |= {"next_poll_at": now}
        if "status" in values:
            values |= self._revived() if values["status"] == "active" else {"pause_reason": None, **LEASE_ENDED}
        await IntegrationStore(tx, company_id).change(integration_id, values, now)
        await note(tx, company_id, now, "integration.changed", integration_id, fields=fields)
        return await self._integration(tx, company_id, await found_integration(tx, company_id, integration_id))

    async def rotate_credentials(
        self, company_id: str, integration_id: str, credentials: Mapping[str, Any]
    ) -> Integration:
        """Save new credentials and try them at once; what the old ones were refused for is forgotten.

        A pause by the operator stays. Raises `NotFound`, `BadInput`.
        """
        async with self._database.transaction(company_id) as tx:
            return await self.rotate_credentials_in(tx, company_id, integration_id, credentials)

    async def rotate_credentials_in(
        self, tx: Transaction, company_id: str, integration_id: str, credentials: Mapping[str, Any]
    ) -> Integration:
        """Save new credentials inside a transaction."""
        row = await found_integration(tx, company_id, integration_id)
        opened = self._opener.open(StoreCard((company_id, row.id), row.platform, row.settings, credentials))
        sealed, version = await self._seal(tx, company_id, integration_id, opened.credentials)
        values = {"credentials_sealed": sealed, "credentials_version": version, **NO_TROUBLE, **NO_REFUSALS}
        if row.status == "paused" and row.pause_reason != PAUSED_BY_OPERATOR:
            values |= {"status": "active", "pause_reason": None}
        now = self._clock.now()
        await IntegrationStore(tx, company_id).change(
            integration_id, {**values, **LEASE_ENDED, "next_poll_at": now}, now
        )
        await note(tx, company_id, now, "integration.credentials_rotated", integration_id)
        return await self._integration(tx, company_id, await found_integration(tx, company_id, integration_id))

    async def pause(self, company_id: str, integration_id: str) -> Integration:
        """Stop polling until `resume`. Raises `NotFound`, or `Conflict` for an integration that was removed."""
        async with self._database.transaction(company_id) as tx:
            row = await found_integration(tx, company_id, integration_id)
            if row.status == "inactive":
                raise _is_removed(row)
            values, now = {"status": "paused", "pause_reason": PAUSED_BY_OPERATOR, **LEASE_ENDED}, self._clock.now()
            await IntegrationStore(tx, company_id).change(integration_id, values, now)
            await note(tx, company_id, now, "integration.paused", integration_id)
            return await self._integration(tx, company_id, await found_integration(tx, company_id, integration_id))

    async def resume(self, company_id: str, integration_id: str) -> Integration:
        """Poll again, at once. Raises `NotFound`, or `Conflict` for an integration that was removed.

        One that is paused because its credentials were rejected stays so until this probe shows that they work.
        """
        async with self._database.transaction(company_id) as tx:
            row = await found_integration(tx, company_id, integration_id)
            if row.status == "inactive":
                raise _is_removed(row)
            values, now = self._revived(), self._clock.now()
            if row.status == "paused" and row.pause_reason != PAUSED_BY_OPERATOR:
                values = {"next_poll_at": now, "waiting_until": None, "waiting_for": None}
            await IntegrationStore(tx, company_id).change(integration_id, values, now)
            await note(tx, company_id, now, "integration.resumed", integration_id)
            return await self._integration(tx, company_id, await found_integration(tx, company_id, integration_id))

    async def remove(self, company_id: str, integration_id: str) -> None:
        """Delete an integration that never brought anything; deactivate one that did.

        Its carts, polls and deliveries name it, and a store connected anew must not hand its carts off a second time.
        Raises `NotFound`.
        """
        async with self._database.transaction(company_id) as tx:
            await found_integration(tx, company_id, integration_id)
            store, now = IntegrationStore(tx, company_id), self._clock.now()
            if not await store.delete_if_unused(integration_id):
                await store.change(integration_id, {"status": "inactive", "pause_reason": None, **LEASE_ENDED}, now)
            await note(tx, company_id, now, "integration.removed", integration_id)

    async def verify(self, company_id: str, integration_id: str) -> ConnectionReport:
        """Test the connection as it is stored. Raises `NotFound`; any fault of the store is a finding."""
        async with self._database.reading(company_id) as tx:
            row = await found_integration(tx, company_id, integration_id)
            credentials = await self.credentials_in(tx, company_id, row)
            agent = await found_agent(tx, company_id, row.agent_id)
            targets = await DeliveryStore(tx, company_id).targets(row.agent_id)
        try:
            opened = self._opener.open(StoreCard((company_id, row.id), row.platform, row.settings, credentials))
        except BadInput as fault:
            # Fit when it was saved; this installation's settings have become narrower since.
            return self._tester.refused(row.platform, fault)
        trial = Trial(row.platform, opened.adapter, agent, targets, row.initial_lookback_days)
        return await self._tester.test(trial)

    async def verify_draft(self, company_id: str, draft: IntegrationDraft) -> ConnectionReport:
        """Test a connection before it is saved. Raises `NotFound` for company or agent, and `BadInput`."""
        opened = self._opener.open(_card(company_id, new_id(), draft))
        async with self._database.reading(company_id) as tx:
            agent = await found_agent(tx, company_id, draft.agent_id)
            targets = await DeliveryStore(tx, company_id).targets(draft.agent_id)
            twin = await IntegrationStore(tx, company_id).load_by_store(draft.platform, opened.store_id)
        trial = Trial(draft.platform, opened.adapter, agent, targets, draft.initial_lookback_days)
        return await self._tester.test(trial, [] if twin is None else [_twin_finding(twin)])

    async def credentials_in(self, tx: Transaction, company_id: str, row: IntegrationRow) -> dict[str, str]:
        """Open the credentials of an integration."""
        place = (company_id, "integrations", "credentials_sealed", row.id)
        opened: dict[str, str] = await self._keyring.open_json(
            tx, place, row.credentials_sealed, row.credentials_version
        )
        return opened

    def open_store(self, card: StoreCard) -> OpenStore:
        """Check a description without saving it. Raises `BadInput`."""
        return self._opener.open(card)

    async def _new_settings(
        self, tx: Transaction, company_id: str, row: IntegrationRow, given: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return the columns that changed settings change. Raises `BadInput`, `Conflict`."""
        settings = laid_over(row.settings, given)
        credentials = await self.credentials_in(tx, company_id, row)
        opened = self._opener.open(StoreCard((company_id, row.id), row.platform, settings, credentials))
        values = {"settings": opened.settings, **NO_TROUBLE, **LEASE_ENDED, "next_poll_at": self._clock.now()}
        if opened.store_id == row.store_id:
            return values
        store = IntegrationStore(tx, company_id)
        if await store.has_carts(row.id):
            raise another_store(row)
        _refuse_second(await store.load_by_store(row.platform, opened.store_id), row.id)
        return {**values, "store_id": opened.store_id, **NO_CURSOR}

    def _revived(self) -> dict[str, Any]:
        """Return the columns of an integration that is polled again from now on."""
        active = {"status": "active", "pause_reason": None, "next_poll_at": self._clock.now()}
        return {**active, **NO_TROUBLE, **NO_REFUSALS, **LEASE_ENDED}

    async def _seal(
        self, tx: Transaction, company_id: str, integration_id: str, credentials: Mapping[str, str]
    ) -> tuple[bytes, int]:
        place = (company_id, "integrations", "credentials_sealed", integration_id)
        return await self._keyring.seal_json(tx, place, credentials, self._clock.now())

    async def _integration(self, tx: Transaction, company_id: str, row: IntegrationRow) -> Integration:
        names = tuple(sorted(await self.credentials_in(tx, company_id, row)))
        values = {name: getattr(row, name) for name in Integration.__slots__ if name in IntegrationRow.__slots__}
        return Integration(**values, has_credentials=bool(names), credential_names=names)


async def found_integration(tx: Transaction, company_id: str, integration_id: str) -> IntegrationRow:
    """Return an integration's row. Raises `NotFound`, also when the company is not there."""
    row = await IntegrationStore(tx, company_id).load(integration_id)
    if row is None:
        await found_company(tx, company_id)
        raise NotFound(f"there is no integration {integration_id} in this company")
    return row


def laid_over(stored: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return stored settings with the given ones laid over them; a null takes a key away."""
    return {name: value for name, value in {**stored, **given}.items() if value is not None}


def another_store(row: IntegrationRow) -> BadInput:
    """Return the refusal to point an integration with carts at another store."""
    return BadInput(
        f"these settings lead to another store than {row.store_id}, whose carts {row.name} holds",
        field="settings",
        remedy="connect the other store as a new integration, and remove this one if it is no longer used",
    )


def second_store(other: IntegrationRow) -> Conflict:
    """Return the refusal to connect a store twice: its carts would be handed off twice."""
    remedy = f"change the integration {other.name} instead"
    if other.status == "inactive":
        remedy = f"make the integration {other.name}, which was removed, active again"
    return Conflict(f"the store {other.store_id} is already connected as {other.name}", field="settings", remedy=remedy)


def _refuse_second(other: IntegrationRow | None, integration_id: str) -> None:
    if other is not None and other.id != integration_id:
        raise second_store(other)


def _is_removed(row: IntegrationRow) -> Conflict:
    return Conflict(f"{row.name} was removed", field="status", remedy="set its status to active first")


def _card(company_id: str, integration_id: str, draft: IntegrationDraft) -> StoreCard:
    return StoreCard((company_id, integration_id), draft.platform, draft.settings, draft.credentials)


def _twin_finding(other: IntegrationRow) -> Finding:
    problem = second_store(other)
    return Finding("store", ok=False, detail=str(problem), remedy=problem.remedy)
