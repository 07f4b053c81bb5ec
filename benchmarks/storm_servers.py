"""Many simulated stores, or a partner that says what came twice, as a process: `python -m benchmarks.storm_servers`.

The stores count the requests that each of them gets within any one second. Stores of one process have the path
prefixes `/s0`, `/s1` and so on; every `LATE_EVERY`th of them has carts that are left only now.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
import time
from collections import Counter, defaultdict, deque
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import uvloop
from aiohttp import web

from backend.platforms.shopify.queries import page_query
from simulator.__main__ import serve
from simulator.base import Handler, Simulator
from simulator.custom import CustomSimulator
from simulator.partner import Item, PartnerOptions, PartnerSimulator
from simulator.shopify import ShopifySimulator
from simulator.shopify.prerender import Prerendered, PrerenderOrder
from simulator.woocommerce import WooCommerceSimulator

SHOPIFY_VERSION = "2026-10"
LATE_EVERY = 4
# Before the overlap of any later window, and so seen once; or such that the carts' minute runs out in the first 15 s.
OLD, LATE = timedelta(minutes=25), timedelta(seconds=45)
SINCE = re.compile(r"updated_at:>='([^']+)'")


def newest_cart(index: int, started_at: datetime) -> datetime:
    """Return when the newest cart of a store was left; its others lie a second apart before it."""
    return started_at.replace(microsecond=0) - (LATE if index % LATE_EVERY == 0 else OLD)


class Rates:
    """How many requests each store got within any one second."""

    def __init__(self) -> None:
        self._recent: dict[str, deque[float]] = defaultdict(deque)
        self.highest: Counter[str] = Counter()
        self.worst: tuple[str, list[float]] = ("", [])  # the store that got most, and when, in its fullest second
        self.total = 0

    def note(self, store: str, at: float) -> None:
        """Count one request at `at` (seconds of any clock)."""
        recent = self._recent[store]
        recent.append(at)
        while recent[0] <= at - 1:
            recent.popleft()
        self.highest[store] = max(self.highest[store], len(recent))
        if len(recent) > len(self.worst[1]):
            self.worst = (store, [round(each, 3) for each in recent])
        self.total += 1


class Metered(Simulator):
    """Counts the requests of each store; `GET /_control/rates` tells the highest rates."""

    keep_requests = 0

    def app(self) -> web.Application:
        """Build the application, with the count around everything."""
        app = super().app()
        self.rates = Rates()
        app.middlewares.append(self._count)
        app.router.add_get("/_control/rates", self._control_rates)
        return app

    @web.middleware
    async def _count(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        store = request.path.split("/", 2)[1]
        if store != "_control":
            self.rates.note(store, time.time())
        return await handler(request)

    async def _control_rates(self, _request: web.Request) -> web.Response:
        highest = max(self.rates.highest.values(), default=0)
        return web.json_response({"highest": highest, "requests": self.rates.total, "worst": self.rates.worst})


class CustomStores(Metered, CustomSimulator):
    """Stores of the custom contract."""

    def fill(self, stores: int, carts: int, started_at: datetime) -> None:
        """Open the stores; besides its carts each has one that was bought and one of nobody known."""
        for index in range(stores):
            name, newest = f"s{index}", newest_cart(index, started_at)
            self.add_tenant(name)
            for number in range(carts):
                self.add_cart(name, f"c{number}", newest - timedelta(seconds=number), recovery_url=None)
            self.add_cart(name, "bought", newest, completed_at=newest.isoformat(), recovery_url=None)
            self.add_cart(name, "nobody", newest, customer=None, recovery_url=None)


class WooCommerceStores(Metered, WooCommerceSimulator):
    """Sites whose unpaid orders stay as they are."""

    def fill(self, stores: int, carts: int, started_at: datetime) -> None:
        """Open the sites."""
        for index in range(stores):
            site, newest = self.add_site(f"/s{index}", hold_stock_minutes=None), newest_cart(index, started_at)
            for number in range(carts):
                shopper = {"first_name": "Ada", "last_name": "Moss", "email": f"shopper{number}@example.com"}
                site.add(at=newest - timedelta(seconds=number), total="25.00", billing=shopper)


class Pages(Prerendered):
    """Prerendered pages that are empty for a window that begins after their last cart."""

    def __init__(self, order: PrerenderOrder, now: datetime) -> None:
        super().__init__(order, now)
        self._newest = order.newest or now
        empty = PrerenderOrder(order.query, carts=0, version=order.version)
        self._empty = Prerendered(empty, now).pages[None]

    def answer(self, variables: dict[str, Any]) -> bytes | None:
        """Return the body for these variables."""
        since = SINCE.search(str(variables.get("query", "")))
        if since and datetime.fromisoformat(since[1]) > self._newest:
            return self._empty
        return super().answer(variables)


class ShopifyStores(Metered, ShopifySimulator):
    """Shops that answer from prerendered pages."""

    def fill(self, stores: int, carts: int, started_at: datetime) -> None:
        """Open the shops."""
        for index in range(stores):
            shop = self.add_shop(f"s{index}")
            newest = newest_cart(index, started_at)
            order = PrerenderOrder(page_query(SHOPIFY_VERSION), carts, newest=newest, version=SHOPIFY_VERSION)
            self.prerendered[shop.prefix] = Pages(order, started_at)


class Partner(PartnerSimulator):
    """A partner that also tells which messages came again, and all effects at once.

    `GET /_control/tally` has the counts while it works, `GET /_control/account` everything.
    """

    def __init__(self, options: PartnerOptions) -> None:
        super().__init__(options)
        self.repeated: list[str] = []

    def routes(self) -> list[web.RouteDef]:
        """Add the two routes."""
        return [
            *super().routes(),
            web.get("/_control/tally", self._control_tally),
            web.get("/_control/account", self._control_account),
        ]

    def _accept(self, hook: Any, request: web.Request, carts: list[Item]) -> None:
        message_id = request.headers.get("webhook-id", "")
        if message_id in hook.messages:
            self.repeated.append(message_id)
        super()._accept(hook, request, carts)

    async def _control_tally(self, _request: web.Request) -> web.Response:
        carts = sum(len(hook.effects) for hook in self.hooks.values())
        messages = sum(hook.counts["messages"] for hook in self.hooks.values())
        return web.json_response({"carts": carts, "messages": messages, "repeated": len(self.repeated)})

    async def _control_account(self, _request: web.Request) -> web.Response:
        hooks = list(self.hooks.values())
        effects = [[name, *each] for name, hook in self.hooks.items() for each in hook.effects.values()]
        told = {
            "effects": effects,
            "repeated": self.repeated,
            "doubled": [pair for hook in hooks for pair in hook.doubled],
            "bad_signatures": sum(hook.counts["bad_signatures"] for hook in hooks),
            "bad_bodies": sum(hook.counts["bad_bodies"] for hook in hooks),
            "messages": sum(hook.counts["messages"] for hook in hooks),
        }
        return web.Response(body=orjson.dumps(told), content_type="application/json")


STORES: dict[str, type[CustomStores | WooCommerceStores | ShopifyStores]] = {
    "custom": CustomStores,
    "woocommerce": WooCommerceStores,
    "shopify": ShopifyStores,
}


def build(asked: argparse.Namespace) -> Simulator:
    """Build the server that was asked for."""
    if asked.server == "partner":
        return Partner(PartnerOptions((asked.secret,), keep_bodies=0, journal=asked.journal))
    kind = STORES[asked.server]
    stores = kind(shops=0) if kind is ShopifyStores else kind()
    stores.fill(asked.stores, asked.carts, datetime.now(UTC))
    return stores


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.storm_servers", description=__doc__)
    parser.add_argument("server", choices=[*STORES, "partner"])
    parser.add_argument("--stores", type=int, default=0)
    parser.add_argument("--carts", type=int, default=0, help="in each store")
    parser.add_argument("--secret", default="", help="partner only: what its messages are signed with")
    parser.add_argument("--journal", type=Path, help="partner only: a file that keeps effects")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(build(parse(sys.argv[1:])), 0))
