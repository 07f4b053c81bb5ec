"""Stores, a partner and a database for worker processes to work on, and the account that is taken afterwards."""

from __future__ import annotations

import asyncio
import base64
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import orjson
from sqlalchemy import Table, func, select

from backend.domain.signing import make_secret
from backend.models import abandonment_log, audit_log, carts, deliveries, integrations
from backend.platforms.custom.walk import Walk
from backend.store.cycles import InstallationStore
from simulator.custom import CustomSimulator
from simulator.partner import PartnerSimulator
from tests.e2e.victim import Orders
from tests.factories import make_agent, make_company, make_destination, make_integration
from tests.worlds import World

# Stores, and how many minutes ago their carts were left: those of the first are inside the overlap and are seen again
# by every poll, those of the second by the first walk only.
STORES = {"s0": 2, "s1": 20}
PAGE = 4  # carts
IN_AIR = 4  # requests to the partner at once
LEASE = 2.0  # seconds; less, and a busy machine makes workers lose leases that nobody was killed for
THRESHOLD = 1  # minutes, less than the overlap
LOOK_EVERY = 0.05  # seconds
LIMIT = 60.0  # seconds
READING_TIME = 0.1  # seconds the partner gets to read what a killed worker had sent; much less than a lease


@dataclass(slots=True)
class Account:
    """What a run came to. `faults` says in words what must not be; empty means that all is well."""

    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    in_flight: int = 0  # messages that had arrived and were not settled when a worker was killed, or were on their way
    repeated: int = 0  # messages that came again
    seconds: float = 0.0  # from the kill until everything was delivered
    faults: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Scene:
    """One company with two stores and one partner, on real time. `expected`: the carts that must take effect."""

    world: World
    store: CustomSimulator
    partner: PartnerSimulator
    integrations: dict[str, str]
    expected: set[str] = field(default_factory=set)
    account: Account = field(default_factory=Account)
    killed_at: float = 0.0  # perf_counter

    def orders(self, moment: str | None = None, nth: int = 1, **settings: Any) -> Orders:
        """Return a process's orders."""
        world = self.world.settings
        given = {
            "database_url": world.database_url,
            "master_key": world.master_key,
            "outbound_allow_loopback": True,
            "lease_seconds": LEASE,
            "destination_in_flight": IN_AIR,
            **settings,
        }
        return Orders(given, moment, nth)

    def fill(self, count: int) -> None:
        """Put into each store `count` abandoned carts, one about to be, one bought, and one without any contact."""
        now = datetime.now().astimezone()
        for store, minutes in STORES.items():
            left = now - timedelta(minutes=minutes)
            for number in range(count):
                # some of one second, over page borders
                self.abandon(store, f"{store}-c{number}", left - timedelta(seconds=10 * (number // 3)))
            self.abandon(store, f"{store}-soon", now - timedelta(minutes=THRESHOLD) + timedelta(seconds=2))
            self.store.add_cart(store, f"{store}-bought", left, completed_at=left.isoformat())
            self.store.add_cart(store, f"{store}-nobody", left, customer=None)

    def abandon(self, store: str, cart_id: str, at: datetime) -> None:
        """Put a cart into a store that is or will be abandoned."""
        self.store.add_cart(store, cart_id, at)
        self.expected.add(cart_id)

    def arrived(self) -> list[str]:
        """Return the stores' ids of the carts that took effect, one per event."""
        return [effect.source_cart_id for effect in self.partner.hook("p").effects.values()]

    async def rows(self, table: Table, *conditions: Any) -> list[Any]:
        """Return all rows of a table, across companies."""
        async with self.world.database.overview() as tx:
            return list(await tx.execute(select(table).where(*conditions)))

    async def finished(self) -> None:
        """Wait until everything has arrived and is recorded as delivered, and each store was polled once more."""
        await until(self.has_all)
        self.account.seconds = time.perf_counter() - self.killed_at
        before = {row.id: row.polls for row in await self.rows(integrations)}

        async def polled_again() -> bool:
            return all(row.polls > before[row.id] for row in await self.rows(integrations))

        await until(polled_again)
        await until(self.has_all)

    async def has_all(self) -> bool:
        """Whether every cart has arrived and no delivery is pending."""
        return self.expected <= set(self.arrived()) and not await self.rows(deliveries, deliveries.c.state == "pending")

    async def note_kill(self) -> None:
        """Take down what a kill left behind, right after it."""
        self.killed_at = time.perf_counter()
        await asyncio.sleep(READING_TIME)
        hook = self.partner.hook("p")
        rows = await self.rows(deliveries)
        settled = {row.webhook_id for row in rows if row.state == "delivered"}
        claimed = {row.webhook_id for row in rows if row.state == "pending" and row.lease_token is not None}
        unsettled = set(hook.messages) - settled
        # A slice that is claimed is larger than what can be on its way.
        self.account.in_flight += len(unsettled) + min(len(claimed - unsettled), IN_AIR)
        await self._check_cursors()
        await self._check_records()

    async def close_account(self) -> Account:
        """Compare the stores, the partner and the tables."""
        account, report, counts = self.account, self.partner.hook("p").report(), Counter(self.arrived())
        account.lost = sorted(self.expected - set(counts))
        account.doubled = sorted(cart for cart, times in counts.items() if times > 1)
        account.repeated = report["repeated_messages"]
        strangers = sorted(set(counts) - self.expected)
        wrong = {
            "carts that must not be handed off arrived": strangers,
            "the partner saw one happening under two event ids": report["doubled"],
            "signatures that did not verify": report["bad_signatures"],
            "bodies that could not be read": report["bad_bodies"],
            "more messages came again than were in flight": max(account.repeated - account.in_flight, 0),
        }
        account.faults += [f"{what}: {found}" for what, found in wrong.items() if found]
        await self._check_cursors()
        await self._check_tables()
        await self._check_records()
        return account

    async def _check_cursors(self) -> None:
        """A cart that a cursor has passed must be stored. Cursors are read first, as another worker may go on."""
        cursors = await self.rows(integrations)
        stored = {row.source_cart_id for row in await self.rows(carts)}
        for row in cursors:
            store = next(name for name, found in self.integrations.items() if found == row.id)
            passed = {key[1] for key in self.store.tenants[store].keys.values() if _has_passed(row, key)}
            if passed - stored:
                self.account.faults.append(f"the cursor of {store} is ahead of {sorted(passed - stored)}")

    async def _check_records(self) -> None:
        """A hand-off is in the audit log when its delivery is settled, once, and not before."""
        async with self.world.database.overview() as tx:  # both as of one moment
            both = select(deliveries.c.id, audit_log.c.subject).where(deliveries.c.state == "delivered")
            found = list(await tx.execute(both.outerjoin(audit_log, audit_log.c.subject == deliveries.c.id)))
            count = select(func.count()).select_from(audit_log).where(audit_log.c.action == "delivery.handed_off")
            recorded = (await tx.execute(count)).scalar_one()
        if recorded != len(found) or any(row.subject is None for row in found):
            self.account.faults.append(f"{recorded} hand-offs are recorded and {len(found)} settled")

    async def _check_tables(self) -> None:
        logged = Counter((row.cart_id, row.episode) for row in await self.rows(abandonment_log))
        names = {row.id: row.source_cart_id for row in await self.rows(carts)}
        if {names[cart]: times for (cart, _), times in logged.items()} != dict.fromkeys(self._abandoned(), 1):
            self.account.faults.append(f"the abandonment log is not one row per episode: {logged}")
        states = Counter(row.state for row in await self.rows(deliveries))
        if set(states) != {"delivered"}:
            self.account.faults.append(f"not every delivery is delivered: {dict(states)}")

    def _abandoned(self) -> set[str]:
        """Abandoned are those that arrive and those that nobody can be told of."""
        return self.expected | {f"{store}-nobody" for store in STORES}


def _has_passed(row: Any, key: tuple[datetime, str]) -> bool:
    """Whether an integration's cursor says that the cart listed under `key` was read."""
    at, _ = key
    if row.watermark is not None and at < row.watermark:
        return True
    if row.page_token is None or at < row.window_from:
        return False
    moment, cart_id = orjson.loads(base64.urlsafe_b64decode(Walk.from_token(row.page_token).cursor or ""))
    return key <= (datetime.fromisoformat(moment), cart_id)


async def until(condition: Callable[[], bool | Awaitable[bool]]) -> None:
    """Wait until a condition holds. Raises `TimeoutError` when it does not come about."""
    deadline = time.monotonic() + LIMIT
    while time.monotonic() < deadline:
        holds = condition()
        if holds if isinstance(holds, bool) else await holds:
            return
        await asyncio.sleep(LOOK_EVERY)
    raise TimeoutError(f"waited {LIMIT:.0f} s in vain")


@asynccontextmanager
async def set_up(world: World, count: int) -> AsyncIterator[Scene]:
    """Open the scene: polling is wanted, every second, and `count` abandoned carts wait in each store."""
    store, partner, secret = CustomSimulator(), PartnerSimulator(), make_secret()
    partner.register("p", [secret])
    async with AsyncExitStack() as stack:
        store_url = await stack.enter_async_context(store.running())
        partner_url = await stack.enter_async_context(partner.running())
        company = await make_company(world)
        agent = await make_agent(world, company, abandonment_threshold_minutes=THRESHOLD)
        connected: dict[str, str] = {}
        for name in STORES:
            token = store.add_tenant(name, largest_page=PAGE).token
            where = {"base_url": f"{store_url}/{name}", "allow_http": True}
            made = await make_integration(world, company, agent, settings=where, credentials={"token": token})
            connected[name] = made
        url = f"{partner_url}/hook/p"
        await make_destination(world, company, agent, url, secret, max_carts_per_payload=2)
        async with world.database.work() as tx:
            await InstallationStore(tx).want(is_wanted=True, interval=1, now=world.clock.now())
        scene = Scene(world, store, partner, connected)
        scene.fill(count)
        yield scene
