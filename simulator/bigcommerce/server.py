"""The HTTP side: token, scopes and quota before every answer, v2's and v3's own forms of error."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from aiohttp import web

from simulator.base import Simulator
from simulator.bigcommerce.listing import BadField, listed
from simulator.bigcommerce.printing import cart_json, customer_json, order_json, product_json
from simulator.bigcommerce.records import Customer, Item
from simulator.bigcommerce.store import Quota, Store

SICK = frozenset({"throttled", "overloaded", "suspended", "locked"})
TYPE = "https://developer.bigcommerce.com/api-docs/getting-started/api-status-codes"
# Any of the scopes lets the resource be read.
READ_SCOPES: Mapping[str, frozenset[str]] = {
    "orders": frozenset({"store_v2_orders", "store_v2_orders_read_only"}),
    "carts": frozenset({"store_cart", "store_cart_read_only"}),
    "customers": frozenset({"store_v2_customers", "store_v2_customers_read_only"}),
    "catalog": frozenset({"store_v2_products", "store_v2_products_read_only"}),
}
WRITE_SCOPES = frozenset({"store_cart"})


class Refused(Exception):
    """A request that is answered with an error."""

    def __init__(self, status: int, title: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(title)
        self.status = status
        self.title = title
        self.headers = dict(headers or {})

    def response(self, version: str) -> web.Response:
        """Return the error in the form of its version: a list of messages in v2, an object with a title in v3."""
        old = [{"status": self.status, "message": self.title}]
        new = {"status": self.status, "title": self.title, "type": TYPE, "errors": {}}
        return web.json_response(old if version == "v2" else new, status=self.status, headers=self.headers)


class BigCommerceSimulator(Simulator):
    """The API of several stores. `stores` maps the hash to the store."""

    name = "bigcommerce"

    def __init__(self, now: Callable[[], datetime] | None = None) -> None:
        super().__init__(now)
        self.stores: dict[str, Store] = {}

    def add_store(self, store_hash: str = "s0", **options: Any) -> Store:
        """Open a store; `options` are the fields of `Store`."""
        store = Store(store_hash, lambda: self.now() + self.clock_skew, **options)
        self.stores[store_hash] = store
        return store

    def routes(self) -> list[web.RouteDef]:
        """Control routes, the storefront's redirect URLs, and one route for all of the API."""
        return [
            web.post("/_control/stores", self._control_store),
            web.post("/_control/stores/{hash}/carts", self._control_add),
            web.patch("/_control/stores/{hash}/carts/{id}", self._control_change),
            web.delete("/_control/stores/{hash}/carts/{id}", self._control_delete),
            web.get("/storefront/{hash}/cart.php", self._follow),
            web.route("*", r"/stores/{hash}/{version:v[23]}/{path:.*}", self._answer),
        ]

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        version, store = request.match_info["version"], self.stores.get(request.match_info["hash"])
        try:
            if store is None:
                raise Refused(404, "The requested resource was not found.")
            self._refuse_sick(request, store)
            _authorise(request, store)
            now = store.clock()
            if not store.quota.take(now):
                wait = int(store.quota.headers(now)["X-Rate-Limit-Time-Reset-Ms"]) // 1000 + 1
                raise Refused(429, "Too many requests", {"X-Retry-After": str(wait)})
            response = self._resource(request, store, await request.read())
        except Refused as refused:
            response = refused.response(version)
            if refused.title == "overloaded":
                return response
        if store is not None:
            for name, value in store.quota.headers(store.clock()).items():
                response.headers.setdefault(name, value)
        return response

    def _refuse_sick(self, request: web.Request, store: Store) -> None:
        fault = self.fault_for(request.raw_path, SICK)
        if fault is None:
            return
        if fault.kind == "throttled":
            told = {
                "X-Retry-After": f"{fault.seconds:g}",
                "X-Rate-Limit-Requests-Left": "0",
                "X-Rate-Limit-Time-Reset-Ms": str(int(fault.seconds * 1000)),
            }
            raise Refused(429, "Too many requests", told)
        if fault.kind == "overloaded":  # the platform, not the store: nothing tells how long to wait
            raise Refused(429, "overloaded")
        if fault.kind == "suspended":
            raise Refused(503, "The store is down for maintenance or suspended.")
        raise Refused(423, f"The store {store.hash} is locked.")

    def _resource(self, request: web.Request, store: Store, body: bytes) -> web.Response:
        version, parts = request.match_info["version"], request.match_info["path"].strip("/").split("/")
        query, method = request.query, request.method
        if (version, parts[0]) == ("v2", "orders") and method == "GET":
            return self._orders(store, parts[1:], query)
        if (version, parts[0]) == ("v3", "carts"):
            return self._carts(store, method, parts[1:], query, body)
        if (version, parts) == ("v3", ["customers"]) and method == "GET":
            found = _chosen(store.customers, query)
            return _collection([customer_json(store.customers[number]) for number in found], query)
        if (version, parts) == ("v3", ["catalog", "products"]) and method == "GET":
            found = _chosen(store.images, query)
            return _collection([_product(number, store.images[number]) for number in found], query)
        raise Refused(404, "The requested resource was not found.")

    def _orders(self, store: Store, parts: list[str], query: Mapping[str, str]) -> web.Response:
        api = f"{self.base_url}/stores/{store.hash}"
        if not parts:
            wants_lines = "consignments.line_items" in query.get("include", "").split(",")
            embeds = wants_lines and store.embeds_lines and query.get("consignment_structure") == "object"
            try:
                found = listed(store, query)
            except BadField as field:
                raise Refused(400, f"The field '{field}' is invalid.") from field
            return _v2([order_json(order, api, with_lines=embeds) for order in found])
        order = store.orders.get(int(parts[0])) if parts[0].isdigit() else None
        if order is None or parts[1:] not in ([], ["products"]):
            raise Refused(404, "The requested resource was not found.")
        if parts[1:] == ["products"]:
            return _v2([product_json(order, at, item) for at, item in enumerate(order.items, 1)])
        return web.json_response(order_json(order, api))

    def _carts(
        self, store: Store, method: str, parts: list[str], query: Mapping[str, str], body: bytes
    ) -> web.Response:
        if not parts:
            if method != "POST":  # there is no list of carts
                raise Refused(405, "Method Not Allowed")
            return web.json_response({"data": cart_json(_posted(store, body)), "meta": {}}, status=201)
        cart = store.live_cart(parts[0])
        if cart is None:
            raise Refused(404, "Cart not found.")
        if (method, parts[1:]) == ("GET", []):
            includes = frozenset(query.get("include", "").split(","))
            return web.json_response({"data": cart_json(cart, includes), "meta": {}})
        if (method, parts[1:]) == ("DELETE", []):
            store.empty(cart.id)
            return web.Response(status=204)
        if (method, parts[1:]) == ("POST", ["redirect_urls"]):
            if not cart.made_by_api:  # which status it is nobody wrote down
                raise Refused(422, "Redirect URLs can only be made for carts of the management API.")
            return web.json_response({"data": self._links(store, cart.id), "meta": {}}, status=201)
        raise Refused(405, "Method Not Allowed")

    def _links(self, store: Store, cart_id: str) -> dict[str, str]:
        """Return fresh redirect URLs; each works once."""
        urls = {}
        for name in ("cart_url", "checkout_url", "embedded_checkout_url"):
            token = uuid.uuid4().hex
            store.links[token] = cart_id
            urls[name] = f"{self.base_url}/storefront/{store.hash}/cart.php?action={name}&id={cart_id}&token={token}"
        return urls

    async def _follow(self, request: web.Request) -> web.Response:
        store = self.stores[request.match_info["hash"]]
        cart_id = store.links.pop(request.query.get("token", ""), None)
        if cart_id is None or store.live_cart(cart_id) is None:
            return web.Response(status=404, text="<html><body>This link is no longer valid.</body></html>")
        return web.Response(status=302, headers={"Location": f"/storefront/{store.hash}/checkout?cart={cart_id}"})

    async def _control_store(self, request: web.Request) -> web.Response:
        asked = await request.json()
        if "scopes" in asked:
            asked["scopes"] = frozenset(asked["scopes"])
        if "quota" in asked:
            asked["quota"] = Quota(asked["quota"])
        store = self.add_store(asked.pop("hash"), **asked)
        return web.json_response({"hash": store.hash, "token": store.token}, status=201)

    async def _control_add(self, request: web.Request) -> web.Response:
        store, asked = self.stores[request.match_info["hash"]], await request.json()
        customer = asked.pop("customer", None)
        if customer is not None:
            store.customers[customer["id"]] = Customer(**customer)
            asked["customer_id"] = customer["id"]
        cart = store.abandon(**_with_time(asked))
        return web.json_response({"id": cart.id}, status=201)

    async def _control_change(self, request: web.Request) -> web.Response:
        """Change what a cart costs (``total``), or let it be bought (``complete``)."""
        store, asked = self.stores[request.match_info["hash"]], _with_time(await request.json())
        cart_id, at = request.match_info["id"], asked.get("at") or store.now()
        if asked.get("complete"):
            store.complete(cart_id, at)
        else:
            store.touch(cart_id, at, asked["total"])
        return web.Response(status=204)

    async def _control_delete(self, request: web.Request) -> web.Response:
        self.stores[request.match_info["hash"]].delete(request.match_info["id"])
        return web.Response(status=204)


def _authorise(request: web.Request, store: Store) -> None:
    if request.headers.get("X-Auth-Token") != store.token:
        raise Refused(401, "The access token was not found or is no longer valid.")
    resource = request.match_info["path"].partition("/")[0]
    needed = WRITE_SCOPES if request.method != "GET" else READ_SCOPES.get(resource, frozenset())
    if needed and not needed & store.scopes:
        raise Refused(403, "You don't have a required scope to access the endpoint")


def _v2(records: list[dict[str, Any]]) -> web.Response:
    """Answer a list as v2 does: nothing at all where there is nothing."""
    return web.json_response(records) if records else web.Response(status=204)


def _chosen(records: Mapping[int, Any], query: Mapping[str, str]) -> list[int]:
    wanted = query.get("id:in")
    if wanted is None:
        return sorted(records)
    return [number for number in sorted(records) if str(number) in wanted.split(",")]


def _collection(records: list[dict[str, Any]], query: Mapping[str, str]) -> web.Response:
    limit, page = int(query.get("limit", "50")), int(query.get("page", "1"))
    shown = records[(page - 1) * limit : page * limit]
    pagination = {
        "total": len(records),
        "count": len(shown),
        "per_page": limit,
        "current_page": page,
        "total_pages": -(-len(records) // limit),
        "links": {"current": f"?page={page}&limit={limit}"},
    }
    return web.json_response({"data": shown, "meta": {"pagination": pagination}})


def _product(number: int, image: str) -> dict[str, Any]:
    return {"id": number, "primary_image": {"url_standard": image} if image else None}


def _posted(store: Store, body: bytes) -> Any:
    asked = json.loads(body or b"{}")
    items = [
        Item(product_id=line["product_id"], quantity=line["quantity"], variant_id=line.get("variant_id", 1))
        for line in asked.get("line_items", [])
    ]
    if not items:
        raise Refused(422, "The cart has no items.")
    return store.add_cart(items=items, customer_id=asked.get("customer_id", 0), made_by_api=True)


def _with_time(asked: dict[str, Any]) -> dict[str, Any]:
    """Read the time of a control request; a text without a zone is UTC."""
    if "at" in asked:
        moment = datetime.fromisoformat(asked["at"])
        asked["at"] = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    if "discount" in asked:
        asked["discount"] = Decimal(asked["discount"])
    return asked
