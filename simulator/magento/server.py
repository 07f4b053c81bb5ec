"""The HTTP side: several stores by path prefix on one host, quotes that break their page, control routes."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from aiohttp import web

from simulator.base import Simulator
from simulator.faults import Fault
from simulator.magento import catalog, refusals
from simulator.magento.auth import Asked, authorize
from simulator.magento.printing import filtered, order_json, quote_json, totals_json
from simulator.magento.search import Criteria, find
from simulator.magento.store import CARTS, ORDERS, Break, Item, Order, Quote, Store

_REST = re.compile(r"/rest/(\w+)/V1/(.+)")
_TOTALS = re.compile(r"carts/(\d+)/totals")
_ONE = re.compile(r"carts/(\d+)")
# waf: 403 with HTML, as a firewall before the store answers; maintenance: 503 with HTML and Retry-After.
SICK = {
    "waf": (403, "Access Denied", {}),
    "maintenance": (503, "Service Temporarily Unavailable", {"Retry-After": "600"}),
}
Query = Sequence[tuple[str, str]]


class Hangs(Exception):
    """A request that is never answered."""


class MagentoSimulator(Simulator):
    """A host of Magento stores. `stores` maps the path prefix (``/s0``; empty for the root) to the store."""

    name = "magento"

    def __init__(self, now: Callable[[], datetime] | None = None) -> None:
        super().__init__(now)
        self.stores: dict[str, Store] = {}

    def add_store(self, prefix: str = "", **options: Any) -> Store:
        """Open a store below `prefix`, ``/s0`` or empty; `options` are the fields of `Store`."""
        store = Store(prefix, lambda: self.now() + self.clock_skew, **options)
        self.stores[prefix] = store
        return store

    def routes(self) -> list[web.RouteDef]:
        """Control routes, and one route for everything a store answers."""
        return [
            web.post("/_control/quotes", self._control_add),
            web.patch("/_control/quotes/{id}", self._control_change),
            web.delete("/_control/quotes/{id}", self._control_delete),
            web.route("*", "/{path:.*}", self._answer),
        ]

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        fault = self.fault_for(request.raw_path, frozenset(SICK))
        if fault is not None:
            return _sick_page(fault)
        try:
            store, path = self._store_of(request.path)
            if path == "/graphql" and request.method == "POST" and store.has_graphql:
                return web.json_response(catalog.answer(store, await request.json()))
            return web.json_response(self._rest(store, path, request))
        except Hangs:
            await asyncio.sleep(3600)
            return web.Response(status=504)
        except refusals.Refused as refused:
            query = dict(parse_qsl(urlsplit(request.raw_path).query))
            body = filtered(refused.body, query.get("fields")) if refused.status == 200 else refused.body
            return web.json_response(body, status=refused.status)

    def _store_of(self, path: str) -> tuple[Store, str]:
        for prefix in sorted(self.stores, key=len, reverse=True):
            if path.startswith(f"{prefix}/"):
                return self.stores[prefix], path.removeprefix(prefix)
        raise refusals.no_route()

    def _rest(self, store: Store, path: str, request: web.Request) -> Any:
        route = _REST.fullmatch(path)
        if route is None or request.method != "GET":
            raise refusals.no_route()
        if route[1] not in store.views:
            raise refusals.no_store()
        query = parse_qsl(urlsplit(request.raw_path).query, keep_blank_values=True)
        asked = Asked(
            request.method,
            f"{self.base_url}{request.path}",
            query,
            request.headers.get("Authorization", ""),
            int((self.now() + self.clock_skew).timestamp()),
        )
        right = ORDERS if route[2] == "orders" else CARTS
        authorize(store, asked, right)
        return filtered(_resource(store, route[2], query), dict(query).get("fields"))

    async def _control_add(self, request: web.Request) -> web.Response:
        asked = _read(await request.json())
        quote = self.stores[asked.pop("store", "")].add(**asked)
        return web.json_response({"id": quote.id}, status=201)

    async def _control_change(self, request: web.Request) -> web.Response:
        asked, number = _read(await request.json()), int(request.match_info["id"])
        store = self.stores[asked.pop("store", "")]
        if asked.pop("place", False):
            store.place(number, **asked)
        else:
            store.put(number, **asked)
        return web.json_response(quote_json(store.quotes[number]))

    async def _control_delete(self, request: web.Request) -> web.Response:
        self.stores[request.query.get("store", "")].delete(int(request.match_info["id"]))
        return web.Response(status=204)


def _resource(store: Store, path: str, query: Query) -> Any:
    if path == "carts/search":
        return _searched(store, store.quotes.values(), query, _quote)
    if path == "orders":
        return _searched(store, store.orders.values(), query, _order)
    if match := _TOTALS.fullmatch(path) or _ONE.fullmatch(path):
        quote = store.quotes.get(int(match[1]))
        if quote is None:
            raise refusals.no_entity("cartId", int(match[1]))
        shown = _quote(quote)
        return totals_json(quote) if path.endswith("/totals") else shown
    raise refusals.no_route()


def _searched(store: Store, rows: Any, query: Query, show: Callable[[Any], Any]) -> dict[str, Any]:
    if not any(name.startswith("searchCriteria") for name, _ in query):
        raise refusals.Refused(400, '"%fieldName" is required. Enter and try again.', {"fieldName": "searchCriteria"})
    criteria = Criteria() if store.drops_criteria else Criteria.read(query)
    found, total = find(rows, criteria, store.largest_page)
    items = [show(row) for row in found]
    return {"items": items, "search_criteria": criteria.as_json(), "total_count": total}


def _quote(quote: Quote) -> dict[str, Any]:
    """Load a quote; only an active one loads its products, and so only that one can break."""
    if quote.is_active:
        _break(quote.breaks)
    return quote_json(quote)


def _order(order: Order) -> dict[str, Any]:
    _break(order.breaks)
    return order_json(order)


def _break(kind: Break | None) -> None:
    if kind == "hang":
        raise Hangs
    if kind is not None:
        raise refusals.BREAKS[kind]


def _sick_page(fault: Fault) -> web.Response:
    status, text, headers = SICK[fault.kind]
    page = f"<html><head><title>{text}</title></head><body><h1>{text}</h1></body></html>"
    return web.Response(status=status, text=page, content_type="text/html", headers=headers)


def _read(asked: dict[str, Any]) -> dict[str, Any]:
    """Read a control request: times are ISO 8601 (UTC without a zone), amounts of items texts."""
    given = dict(asked)
    for name in {"at", "created_at"} & given.keys():
        moment = datetime.fromisoformat(given[name])
        given[name] = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    if "items" in given:
        given["items"] = [_item(item) for item in given["items"]]
    return given


def _item(asked: dict[str, Any]) -> Item:
    fields: dict[str, Any] = {
        name: Decimal(value) if name in {"qty", "price"} else value for name, value in asked.items()
    }
    return Item(**fields)
