"""A world of many stores: companies, agents, destinations and stores of every kind, all on one PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from backend.domain.signing import make_secret
from backend.store.cycles import InstallationStore
from benchmarks.chaos_course import Course
from benchmarks.chaos_processes import listening
from benchmarks.servers import call
from benchmarks.storm_eye import Eye
from simulator.custom import rfc3339
from simulator.shopify.shop import FIRST_NUMBER
from tests.factories import make_agent, make_company, make_destination, make_integration
from tests.worlds import World, opened_world

PLATFORMS = ("shopify", "woocommerce", "custom")
WOO_FIRST = 21  # the first order number of a simulated site
THRESHOLD = 1  # minutes
FED_AGE = timedelta(minutes=2)  # carts that are fed were left so long ago

Cart = tuple[str, str, str]  # the partner's hook, the store's id, and the store's own cart id


@dataclass(frozen=True, slots=True)
class Size:
    """How large a world is. `carts` lie in the stores from the start.

    `sharers`: integrations, of as many companies, on each store. `per_second`: requests that a store allows, and as
    many at once; None leaves it to the platform.
    """

    stores: int
    companies: int
    carts: int = 0
    per_payload: int = 2
    platforms: tuple[str, ...] = PLATFORMS
    interval: int = 5  # seconds between two polls of a store
    lease: float = 5.0  # seconds
    sharers: int = 1
    per_second: int | None = None
    page: int | None = None  # carts a page, of custom stores

    @property
    def each(self) -> int:
        """Carts in each store."""
        return self.carts // self.stores


@dataclass(slots=True)
class StormWorld:
    """A world at work. `expected`: the carts that must take effect, once each."""

    size: Size
    settings: dict[str, Any]
    database: str
    stores: dict[str, str]
    partner: str
    eye: Eye
    folder: Path
    expected: set[Cart] = field(default_factory=set)
    hooks: dict[str, list[str]] = field(default_factory=dict)  # by store id, the hooks of the companies that use it

    async def arrived(self) -> int:
        """Return how many carts took effect."""
        return int((await self.ask(self.partner, "tally"))["carts"])

    async def rates(self) -> dict[str, int]:
        """Return, by platform, the most requests that one store got within a second."""
        told = {name: await self.ask(url, "rates") for name, url in self.stores.items()}
        return {name: int(rates["highest"]) for name, rates in told.items()}

    async def slow_down(self, *, stores: float = 0.0, partner: float = 0.0) -> None:
        """Let every answer take so many seconds."""
        for url, seconds in [*((url, stores) for url in self.stores.values()), (self.partner, partner)]:
            if seconds:
                body = {"kind": "slow", "times": 1_000_000_000, "seconds": seconds}
                await asyncio.to_thread(call, f"{url}/_control/faults", body)

    async def feed(self, number: int, carts: int) -> None:
        """Put so many more carts into the custom store of that number; they are to be handed off at once."""
        url, name, now = self.stores["custom"], f"s{number}", datetime.now(UTC)
        first = len(self.expected)
        left = [(f"f{first + index}", rfc3339(now - FED_AGE)) for index in range(carts)]
        body = {"tenant": name, "carts": [{"id": cart, "updated_at": at, "recovery_url": None} for cart, at in left]}
        store = store_id(url, name)
        self.expected |= {(hook, store, cart) for hook in self.hooks[store] for cart, _ in left}
        await asyncio.to_thread(call, f"{url}/_control/carts", body)

    async def ask(self, url: str, what: str) -> Any:
        """Ask a simulated server."""
        return await asyncio.to_thread(call, f"{url}/_control/{what}")


@asynccontextmanager
async def storm_world(course: Course, size: Size) -> AsyncIterator[StormWorld]:
    """Start the servers, fill a new database, and want polling to run."""
    folder = course.databases.new_folder()
    async with AsyncExitStack() as stack:
        secret = make_secret()
        partner = stack.enter_context(
            listening(
                "benchmarks.storm_servers",
                *("partner", "--secret", secret, "--journal", str(folder / "journal")),
                log=folder / "partner.log",
            )
        )
        stores = {name: stack.enter_context(_stores(name, size, folder)) for name in size.platforms}
        url = await stack.enter_async_context(course.databases.fresh("postgresql"))
        world = await stack.enter_async_context(opened_world(url))
        made = StormWorld(
            size=size,
            settings=_settings(world, size),
            database=urlsplit(url).path.removeprefix("/"),
            stores=stores,
            partner=partner,
            eye=Eye(url),
            folder=folder,
        )
        stack.push_async_callback(made.eye.aclose)
        await _fill(world, made, secret)
        yield made


def _settings(world: World, size: Size) -> dict[str, Any]:
    """Return what every process of the product is told."""
    return {
        "database_url": world.settings.database_url,
        "master_key": world.settings.master_key,
        "outbound_allow_loopback": True,
        "lease_seconds": size.lease,
        "log_level": "warning",
        "log_format": "json",
    }


def _stores(name: str, size: Size, folder: Path) -> Any:
    asked = [name, "--stores", str(_count(name, size)), "--carts", str(size.each)]
    return listening("benchmarks.storm_servers", *asked, log=folder / f"{name}.log")


def _count(name: str, size: Size) -> int:
    """Return how many stores there are of a platform: they take turns."""
    return len(range(size.platforms.index(name), size.stores, len(size.platforms)))


async def _fill(world: World, made: StormWorld, secret: str) -> None:
    """Store companies with one agent and one destination each, and the stores, in turns."""
    size, agents = made.size, list[tuple[str, str]]()
    for number in range(size.companies):
        company = await make_company(world, name=f"Company {number}")
        agent = await make_agent(world, company, abandonment_threshold_minutes=THRESHOLD)
        hook = f"{made.partner}/hook/c{number}"
        await make_destination(world, company, agent, hook, secret, max_carts_per_payload=size.per_payload)
        agents.append((company, agent))
    for share in range(size.sharers):
        for number in range(size.stores):
            platform, index = size.platforms[number % len(size.platforms)], number // len(size.platforms)
            owner = (number + share) % size.companies
            await _connect(world, made, agents[owner], f"c{owner}", (platform, index))
    async with world.database.work() as tx:
        await InstallationStore(tx).want(is_wanted=True, interval=size.interval, now=world.clock.now())


async def _connect(world: World, made: StormWorld, owner: tuple[str, str], hook: str, place: tuple[str, int]) -> None:
    """Connect one store; `place` is its platform and its number among the stores of that."""
    platform, index = place
    url, name, each = made.stores[platform], f"s{index}", made.size.each
    where: dict[str, Any] = {"base_url": f"{url}/{name}", "allow_http": True}
    if made.size.per_second is not None:
        where["options"] = {"requests_per_second": made.size.per_second, "requests_at_once": made.size.per_second}
    if made.size.page is not None:
        where["options"] = {**where.get("options", {}), "page_size": made.size.page}
    if platform == "shopify":
        where["shop"] = f"{name}.myshopify.com"
        credentials, ids = {"access_token": f"shpat_{name:0>32}"}, [str(FIRST_NUMBER + at) for at in range(each)]
    elif platform == "woocommerce":
        credentials = {"consumer_key": "ck_key", "consumer_secret": "cs_secret"}
        ids = [str(WOO_FIRST + at) for at in range(each)]
    else:
        credentials, ids = {"token": f"token-{name}"}, [f"c{at}" for at in range(each)]
    store = where.get("shop") or store_id(url, name)
    await make_integration(world, *owner, platform, where, credentials, store_id=store)
    made.hooks.setdefault(store, []).append(hook)
    made.expected |= {(hook, store, cart) for cart in ids}


def store_id(url: str, name: str) -> str:
    """Return the identity that the product gives to a store at `url`/`name`."""
    return f"{url.partition('://')[2]}/{name}"
