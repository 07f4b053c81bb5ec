"""A store that speaks the custom HTTP contract of docs/custom-platform.md, for several tenants by path prefix."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from aiohttp import web

from simulator.base import Simulator
from simulator.faults import Fault

Key = tuple[datetime, str]

RFC3339_UTC = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z")
KNOWN_PARAMETERS = frozenset({"updated_since", "limit", "cursor"})
# cursor_loop: each page names the cursor of the first one; same_page: the first page again under ever new cursors;
# empty_page: no carts, but another cursor; foreign_cursor: the next cursor is a URL on another host;
# bad_record: one record that cannot be read comes first; odd_next: `options["next_cursor"]` whatever it is.
PAGE_FAULTS = frozenset({"cursor_loop", "same_page", "empty_page", "foreign_cursor", "bad_record", "odd_next"})
TOLERANCE = timedelta(minutes=5)


class Refusal(Exception):
    """The contract's error answer."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code

    def as_response(self) -> web.Response:
        """Return the answer on the wire."""
        return web.json_response({"error": {"code": self.code, "message": str(self)}}, status=self.status)


@dataclass(slots=True)
class Tenant:
    """One store: its way of signing in, its carts, and the key (change time, id) by which it lists them.

    `auth` is bearer, header, basic or hmac. `refused`: the credentials were taken back.
    """

    name: str
    auth: str = "bearer"
    token: str = ""
    header_name: str = "X-Api-Key"
    username: str = ""
    largest_page: int = 250
    refused: bool = False
    carts: dict[str, dict[str, Any]] = field(default_factory=dict)
    keys: dict[str, Key] = field(default_factory=dict)
    _ordered: list[Key] | None = None

    def __post_init__(self) -> None:
        self.token = self.token or f"token-{self.name}"
        self.username = self.username or f"user-{self.name}"

    def put(self, cart: dict[str, Any], key: Key) -> None:
        """Store a cart, as the JSON object that is served, under the key it is listed by."""
        self.carts[key[1]] = cart
        self.keys[key[1]] = key
        self._ordered = None

    def remove(self, cart_id: str) -> None:
        """Forget a cart without a trace, as a shop's clean-up would."""
        del self.carts[cart_id], self.keys[cart_id]
        self._ordered = None

    def page(self, since: datetime, after: Key | None, limit: int) -> list[Key]:
        """Return the next `limit` keys changed at or after `since`, past the key `after`."""
        if self._ordered is None:
            self._ordered = sorted(self.keys.values())
        start = bisect_left(self._ordered, (since, ""))
        if after is not None:
            start = max(start, bisect_right(self._ordered, after))
        return self._ordered[start : start + limit]

    def admits(self, request: web.Request, now: datetime) -> None:
        """Raise `Refusal` unless the request carries this tenant's credential."""
        good = {"bearer": self._bearer, "header": self._header, "basic": self._basic, "hmac": self._signed}[self.auth]
        if self.refused or not good(request, now):
            raise Refusal(401, "unauthorized", "the credential is not accepted")

    def _bearer(self, request: web.Request, _now: datetime) -> bool:
        return request.headers.get("Authorization", "") == f"Bearer {self.token}"

    def _header(self, request: web.Request, _now: datetime) -> bool:
        return request.headers.get(self.header_name, "") == self.token

    def _basic(self, request: web.Request, _now: datetime) -> bool:
        pair = base64.b64encode(f"{self.username}:{self.token}".encode()).decode()
        return request.headers.get("Authorization", "") == f"Basic {pair}"

    def _signed(self, request: web.Request, now: datetime) -> bool:
        stamp = request.headers.get("X-Timestamp", "")
        if not (stamp.isascii() and stamp.isdigit()):
            return False
        text = f"{stamp}.{request.method}.{request.raw_path}.".encode()
        good = hmac.new(self.token.encode(), text, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(good.encode(), request.headers.get("X-Signature", "").encode()):
            return False
        if abs(now - datetime.fromtimestamp(int(stamp), UTC)) > TOLERANCE:
            raise Refusal(401, "clock_skew", "the timestamp is more than 5 minutes from this server's clock")
        return True


class CustomSimulator(Simulator):
    """Serves `GET /{tenant}/abandoned-carts`; see `Tenant` for the state, `PAGE_FAULTS` for its own faults."""

    name = "custom"

    def __init__(self, now: Callable[[], datetime] | None = None) -> None:
        super().__init__(now)
        self.tenants: dict[str, Tenant] = {}
        self._serial = 0

    def routes(self) -> list[web.RouteDef]:
        """Return the contract's one route and the control routes."""
        return [
            web.get("/{tenant}/abandoned-carts", self._list),
            web.post("/_control/tenants", self._control_tenant),
            web.get("/_control/carts", self._control_list),
            web.post("/_control/carts", self._control_put),
            web.post("/_control/complete", self._control_complete),
            web.delete("/_control/carts", self._control_remove),
        ]

    def add_tenant(self, name: str, auth: str = "bearer", **options: Any) -> Tenant:
        """Open a store under the path prefix `/{name}`."""
        tenant = Tenant(name, auth, **options)
        self.tenants[name] = tenant
        return tenant

    def add_cart(self, tenant: str, cart_id: str, updated_at: datetime, /, **fields: Any) -> str:
        """Add a cart of one line; `fields` replace any part of its JSON, readable or not."""
        total = fields.get("total", "10.00")
        line = {"id": "1", "title": "Enamel mug", "sku": "MUG-1", "qty": 1, "unit_price": total, "line_total": total}
        cart: dict[str, Any] = {
            "id": cart_id,
            "created_at": rfc3339(updated_at),
            "updated_at": rfc3339(updated_at),
            "currency": "USD",
            "total": total,
            "customer": {"email": f"{cart_id}@example.com", "first": "Ada", "last": "Moss"},
            "items": [line],
            "recovery_url": f"{self.base_url}/{tenant}/cart/{cart_id}",
        }
        self.tenants[tenant].put({**cart, **fields}, (updated_at, cart_id))
        return cart_id

    def touch(self, tenant: str, cart_id: str, at: datetime, /, **fields: Any) -> None:
        """Change a cart as a shopper would; it moves to `at` in the listing."""
        cart = self.tenants[tenant].carts[cart_id]
        if "total" in fields and "items" not in fields:
            line = {**cart["items"][0], "unit_price": fields["total"], "line_total": fields["total"]}
            fields["items"] = [line]
        self.tenants[tenant].put({**cart, "updated_at": rfc3339(at), **fields}, (at, cart_id))

    def complete(self, tenant: str, cart_id: str, at: datetime, order_ref: str = "1001") -> None:
        """Let the shopper buy."""
        self.touch(tenant, cart_id, at, completed_at=rfc3339(at), order_ref=order_ref)

    def delete(self, tenant: str, cart_id: str) -> None:
        """Remove a cart from the store."""
        self.tenants[tenant].remove(cart_id)

    async def _list(self, request: web.Request) -> web.Response:
        try:
            return self._page(request)
        except Refusal as refusal:
            return refusal.as_response()

    def _page(self, request: web.Request) -> web.Response:
        tenant = self.tenants.get(request.match_info["tenant"])
        if tenant is None:
            raise Refusal(404, "not_found", "there is no such store")
        tenant.admits(request, self.now() + self.clock_skew)
        since, limit, after = _read_query(request.query, tenant.largest_page)
        fault = self.fault_for(request.raw_path, PAGE_FAULTS)
        if fault is not None and fault.kind == "same_page":
            after = None
        keys = tenant.page(since, after, limit + 1)
        shown = keys[:limit]
        body: dict[str, Any] = {
            "carts": [tenant.carts[cart_id] for _, cart_id in shown],
            "next_cursor": _cursor(shown[-1]) if len(keys) > limit else None,
        }
        if fault is not None:
            self._spoil(body, fault, tenant.page(since, None, 1))
        return _answer(request, body)

    def _spoil(self, body: dict[str, Any], fault: Fault, window: list[Key]) -> None:
        self._serial += 1
        first = window[0] if window else (self.now(), "")
        if fault.kind == "cursor_loop":
            body["next_cursor"] = _cursor(first)
        elif fault.kind == "same_page":
            body["next_cursor"] = _cursor((first[0], f"{first[1]}#{self._serial}"))
        elif fault.kind == "empty_page":
            body["carts"] = []
            body["next_cursor"] = _cursor((first[0] - timedelta(microseconds=self._serial), first[1]))
        elif fault.kind == "foreign_cursor":
            body["next_cursor"] = "http://carts.attacker.example/abandoned-carts?cursor=1"
        elif fault.kind == "odd_next":
            body["next_cursor"] = fault.options["next_cursor"]
        else:
            body["carts"] = [{"id": "bad", "total": "a lot"}, *body["carts"]]

    async def _control_tenant(self, request: web.Request) -> web.Response:
        tenant = self.add_tenant(**await request.json())
        return web.json_response({"name": tenant.name, "auth": tenant.auth, "token": tenant.token}, status=201)

    async def _control_list(self, request: web.Request) -> web.Response:
        return web.json_response(list(self.tenants[request.query["tenant"]].carts.values()))

    async def _control_put(self, request: web.Request) -> web.Response:
        """Add carts, or change those that are there: `{tenant, carts: [{id, ...}]}`; a missing time is now."""
        asked = await request.json()
        tenant = self.tenants[asked["tenant"]]
        for fields in asked["carts"]:
            cart_id = fields["id"]
            at = datetime.fromisoformat(fields["updated_at"]) if "updated_at" in fields else self.now()
            change = self.touch if cart_id in tenant.carts else self.add_cart
            change(tenant.name, cart_id, at, **{name: value for name, value in fields.items() if name != "id"})
        return web.json_response({"carts": len(tenant.carts)}, status=201)

    async def _control_complete(self, request: web.Request) -> web.Response:
        asked = await request.json()
        self.complete(asked["tenant"], asked["id"], self.now())
        return web.Response(status=204)

    async def _control_remove(self, request: web.Request) -> web.Response:
        self.delete(request.query["tenant"], request.query["id"])
        return web.Response(status=204)


def rfc3339(moment: datetime) -> str:
    """Return a time as the contract writes it: UTC with `Z`."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _read_query(query: Mapping[str, str], largest_page: int) -> tuple[datetime, int, Key | None]:
    unknown = set(query) - KNOWN_PARAMETERS
    if unknown:
        raise Refusal(400, "unknown_parameter", f"unknown parameter {sorted(unknown)[0]}")
    since = query.get("updated_since", "")
    if not RFC3339_UTC.fullmatch(since):
        raise Refusal(400, "bad_updated_since", "updated_since is an RFC 3339 time in UTC, ending in Z")
    limit = query.get("limit", "100")
    if not (limit.isascii() and limit.isdigit() and int(limit) > 0):
        raise Refusal(400, "bad_limit", "limit is a positive number")
    after = _read_cursor(query["cursor"]) if "cursor" in query else None
    return datetime.fromisoformat(since), min(int(limit), largest_page), after


def _cursor(key: Key) -> str:
    return base64.urlsafe_b64encode(orjson.dumps([rfc3339(key[0]), key[1]])).decode()


def _read_cursor(cursor: str) -> Key:
    try:
        moment, cart_id = orjson.loads(base64.urlsafe_b64decode(cursor))
        return datetime.fromisoformat(moment), cart_id
    except (binascii.Error, ValueError, TypeError):
        raise Refusal(410, "invalid_cursor", "the cursor is not one of this store's, or too old") from None


def _answer(request: web.Request, body: dict[str, Any]) -> web.Response:
    content = orjson.dumps(body)
    etag = f'"{hashlib.blake2b(content, digest_size=8).hexdigest()}"'
    if request.headers.get("If-None-Match") == etag:
        return web.Response(status=304, headers={"ETag": etag})
    return web.Response(body=content, content_type="application/json", headers={"ETag": etag})
