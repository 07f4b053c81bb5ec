"""The HTTP side: who may ask, in which version, at what cost, and what each trouble looks like."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime
from typing import Any

import orjson
from aiohttp import web

from simulator.base import Simulator
from simulator.faults import Fault
from simulator.shopify.cost import SINGLE_QUERY_LIMIT, objects_in
from simulator.shopify.engine import Call, Refused, requested_cost, run
from simulator.shopify.prerender import Prerendered, PrerenderOrder
from simulator.shopify.schema import VERSIONS
from simulator.shopify.shop import Shop

OWN_FAULTS = frozenset({"throttled", "graphql_error", "access_denied", "null_records"})
_STATES = {
    "frozen": (402, "Unavailable Shop"),
    "locked": (423, "Locked"),
    "unapproved": (403, "[API] This action requires merchant approval for read_orders scope."),
}
_BAD_TOKEN = "[API] Invalid API key or access token (unrecognized login or wrong password)"


class ShopifySimulator(Simulator):
    """Several shops on one host.

    Faults of its own, besides the generic ones of `simulator.faults`: throttled (`seconds` to wait), graphql_error
    (`options`: message, code), access_denied (`options`: scope), null_records (`options`: positions whose `customer`
    fails while being read).
    """

    name = "shopify"

    def __init__(self, shops: int = 1, now: Callable[[], datetime] | None = None) -> None:
        super().__init__(now)
        self.shops: dict[str, Shop] = {}
        self.prerendered: dict[str, Prerendered] = {}
        for index in range(shops):
            self.add_shop(f"s{index}")

    def add_shop(self, prefix: str, **options: Any) -> Shop:
        """Open a shop under ``/{prefix}``; `options` are fields of `Shop`."""
        self.shops[prefix] = Shop(prefix, self.now, **options)
        return self.shops[prefix]

    def shop(self, index: int = 0) -> Shop:
        """Return the shop ``s{index}``."""
        return self.shops[f"s{index}"]

    def prerender(self, prefix: str, order: PrerenderOrder) -> None:
        """Answer this shop's queries from pages rendered now, without GraphQL, cost or search."""
        self.prerendered[prefix] = Prerendered(order, self.now())

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/{prefix}/admin/api/{version}/graphql.json", self._graphql),
            web.get("/_control/shops", self._list_shops),
            web.post("/_control/shops", self._open_shop),
            web.post("/_control/shops/{prefix}/{action}", self._control),
        ]

    async def _graphql(self, request: web.Request) -> web.Response:
        shop = self.shops.get(request.match_info["prefix"])
        version = _served(request.match_info["version"], shop)
        if shop is None or version is None:
            return _answer(404, {"errors": "Not Found"})
        if shop.state != "active":
            status, message = _STATES[shop.state]
            return _answer(status, {"errors": message}, version)
        if request.headers.get("X-Shopify-Access-Token") != shop.token:
            return _answer(401, {"errors": _BAD_TOKEN}, version)
        if request.content_type != "application/json":
            return _answer(400, {"errors": {"content_type": "Expected application/json"}}, version)
        return self._asked(shop, version, await request.read(), self.fault_for(request.raw_path, OWN_FAULTS))

    def _asked(self, shop: Shop, version: str, body: bytes, fault: Fault | None) -> web.Response:
        try:
            asked = orjson.loads(body)
            query, variables = asked["query"], asked.get("variables") or {}
        except (ValueError, KeyError, TypeError, AttributeError):
            return _answer(400, {"errors": {"query": "Required parameter missing or invalid"}}, version)
        pages = self.prerendered.get(shop.prefix)
        if pages is not None and fault is None and (found := pages.answer(variables)) is not None:
            return _answer(200, found, version)
        try:
            cost = requested_cost(version, query, variables)
            return self._paid(Call(shop, version, variables=variables), asked, cost, fault)
        except Refused as refused:
            return _answer(200, {"errors": refused.errors}, version)

    def _paid(self, call: Call, asked: dict[str, Any], cost: int, fault: Fault | None) -> web.Response:
        """Answer a valid query if its cost is within the limit and in the bucket."""
        bucket, version = call.shop.bucket, call.version
        bucket.settle(self.now())
        if cost > SINGLE_QUERY_LIMIT:
            return _answer(200, {"errors": [_too_costly(cost)]}, version)
        status = bucket.status()
        if fault is not None and fault.kind == "throttled":
            status = {**status, "currentlyAvailable": 0, "restoreRate": cost / max(fault.seconds, 0.001)}
        if cost > status["currentlyAvailable"]:
            throttled = {"message": "Throttled", "extensions": {"code": "THROTTLED", "documentation": _LIMITS_PAGE}}
            return _answer(200, {"errors": [throttled], **_cost(cost, None, status)}, version)
        if fault is not None and fault.kind in {"graphql_error", "access_denied"}:
            return _answer(200, {"errors": [_asked_error(fault)], **_cost(cost, 1, status)}, version)
        if fault is not None:
            call.null_records = frozenset(fault.options.get("positions", [0]))
        answer = run(call, asked["query"], asked.get("operationName"))
        actual = min(cost, objects_in(answer["data"]))
        bucket.available -= actual
        return _answer(200, {**answer, **_cost(cost, actual, bucket.status())}, version)

    async def _list_shops(self, _request: web.Request) -> web.Response:
        return web.json_response([shop.as_json() for shop in self.shops.values()])

    async def _open_shop(self, request: web.Request) -> web.Response:
        return web.json_response(self.add_shop(**await request.json()).as_json(), status=201)

    async def _control(self, request: web.Request) -> web.Response:
        """Do in another process what the shop's methods do in this one; times are ISO 8601."""
        prefix, action = request.match_info["prefix"], request.match_info["action"]
        options = await request.json() if request.can_read_body else {}
        for name in {"updated_at", "created_at", "at", "newest"} & options.keys():
            options[name] = datetime.fromisoformat(options[name])
        shop = self.shops[prefix]
        if action == "prerender":
            self.prerender(prefix, PrerenderOrder(**options))
            return web.json_response({"carts": options["carts"]})
        if action == "carts":
            return web.json_response([shop.add_cart(**options) for _ in range(options.pop("count", 1))], status=201)
        if action in {"touch", "complete", "close", "delete", "revoke"}:
            getattr(shop, action)(**options)
            return web.json_response(shop.as_json())
        return web.json_response({"error": f"no such action: {action}"}, status=404)


_LIMITS_PAGE = "https://shopify.dev/api/usage/rate-limits"


def _served(asked: str, shop: Shop | None) -> str | None:
    """Return the version that answers: a retired one is served by the oldest, an unknown one by none."""
    if shop is not None and shop.serves_version is not None:
        return shop.serves_version
    if asked in VERSIONS:
        return asked
    year, _, month = asked.partition("-")
    known = year.isdigit() and month in {"01", "04", "07", "10"} and "2019-04" <= asked < VERSIONS[0]
    return VERSIONS[0] if known else None


def _answer(status: int, body: dict[str, Any] | bytes, version: str | None = None) -> web.Response:
    headers = {"X-Shopify-API-Version": version} if version else {}
    content = body if isinstance(body, bytes) else orjson.dumps(body)
    return web.Response(status=status, body=content, content_type="application/json", headers=headers)


def _cost(requested: int, actual: int | None, status: dict[str, float]) -> dict[str, Any]:
    cost = {"requestedQueryCost": requested, "actualQueryCost": actual, "throttleStatus": status}
    return {"extensions": {"cost": cost}}


def _too_costly(cost: int) -> dict[str, Any]:
    return {
        "message": f"Query cost is {math.ceil(cost)}, which exceeds the single query max cost limit (1000).",
        "extensions": {"code": "MAX_COST_EXCEEDED", "cost": cost, "maxCost": SINGLE_QUERY_LIMIT},
    }


def _asked_error(fault: Fault) -> dict[str, Any]:
    if fault.kind == "access_denied":
        scope = fault.options.get("scope", "read_orders")
        return {
            "message": f"Access denied for abandonedCheckouts field. Required access: `{scope}` access scope.",
            "extensions": {"code": "ACCESS_DENIED", "requiredAccess": f"`{scope}` access scope."},
            "path": ["abandonedCheckouts"],
        }
    code = fault.options.get("code", "INTERNAL_SERVER_ERROR")
    return {"message": fault.options.get("message", "Internal error."), "extensions": {"code": code}}
