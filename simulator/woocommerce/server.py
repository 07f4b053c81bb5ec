"""The HTTP side: several sites by path prefix on one host, sick sites on request, control routes."""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import fields
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from aiohttp import web

from simulator.base import Simulator
from simulator.faults import Fault
from simulator.woocommerce import listing, refusals
from simulator.woocommerce.auth import Asked, authenticate
from simulator.woocommerce.orders import Item, Order
from simulator.woocommerce.site import Site

API = "/wp-json/wc/v3/"
# php_warning: 200 with text before the JSON; php_fatal and database_down: 500; maintenance: 503 with Retry-After.
SICK = frozenset({"php_warning", "php_fatal", "database_down", "maintenance"})
WARNING = (
    '<br />\n<b>Warning</b>:  Undefined array key "x" in <b>/srv/www/wp-content/plugins/other/other.php</b>'
    " on line <b>12</b><br />\n"
)
SICK_PAGES = {
    "php_fatal": (500, "There has been a critical error on this website."),
    "database_down": (500, "Error establishing a database connection"),
    "maintenance": (503, "Briefly unavailable for scheduled maintenance. Check back in a minute."),
}
HEADERS = {
    "X-Robots-Tag": "noindex",
    "X-Content-Type-Options": "nosniff",
    "Access-Control-Expose-Headers": "X-WP-Total, X-WP-TotalPages, Link",
    "Vary": "Origin",
}


class WooCommerceSimulator(Simulator):
    """A host of WooCommerce sites. `sites` maps the path prefix (``/s0``; empty for the root) to the site."""

    name = "woocommerce"

    def __init__(self, now: Any = None) -> None:
        super().__init__(now)
        self.sites: dict[str, Site] = {}

    def add_site(self, prefix: str = "", **options: Any) -> Site:
        """Open a site below `prefix`, ``/s0`` or empty; `options` are the fields of `Site`."""
        site = Site(prefix, lambda: self.now() + self.clock_skew, **options)
        self.sites[prefix] = site
        return site

    def home_url(self, site: Site) -> str:
        """Return the site's home URL, where it is served unless it was given another."""
        site.served_at = f"{self.base_url}{site.prefix}"
        return site.home

    @asynccontextmanager
    async def running_tls(self, context: ssl.SSLContext, host: str = "localhost") -> AsyncIterator[str]:
        """Serve over TLS on a free loopback port; yields the base URL with `host` in it."""
        runner = web.AppRunner(self.app(), access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
            self.base_url = f"https://{host}:{runner.addresses[0][1]}"
            yield self.base_url
        finally:
            await runner.cleanup()

    def routes(self) -> list[web.RouteDef]:
        """Control routes, and one route for everything a site answers."""
        return [
            web.post("/_control/sites", self._control_site),
            web.post("/_control/orders", self._control_add),
            web.patch("/_control/orders/{id}", self._control_change),
            web.delete("/_control/orders/{id}", self._control_delete),
            web.route("*", "/{path:.*}", self._answer),
        ]

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        fault = self.fault_for(request.raw_path, SICK)
        if fault is not None and fault.kind in SICK_PAGES:
            return _sick_page(fault)
        try:
            site, path = self._site_of(urlsplit(request.raw_path).path)
            response = self._api(site, path, request, await request.read())
        except refusals.Refused as refused:
            response = web.json_response(refused.body, status=refused.status)
        response.headers.update(HEADERS)
        if fault is not None:
            response.body = WARNING.encode() + (response.body if isinstance(response.body, bytes) else b"")
        return response

    def _site_of(self, path: str) -> tuple[Site, str]:
        """Return the site with the longest prefix of `path`, and the path below it."""
        for prefix in sorted(self.sites, key=len, reverse=True):
            if path == prefix or path.startswith(f"{prefix}/"):
                site = self.sites[prefix]
                self.home_url(site)
                return site, path.removeprefix(prefix)
        raise refusals.no_route()

    def _api(self, site: Site, path: str, request: web.Request, body: bytes) -> web.Response:
        site.tick()
        query = parse_qsl(urlsplit(request.raw_path).query, keep_blank_values=True)
        route = path.removeprefix("/index.php")
        ids = route.removeprefix(f"{API}orders/")
        one = route.startswith(f"{API}orders/") and ids.isdigit()
        known = request.method in ({"GET", "HEAD", "PUT"} if one else {"GET", "HEAD"})
        if site.woocommerce_missing or not (one or route == f"{API}orders") or not known:
            raise refusals.no_route()
        is_ssl = (request.secure or site.tls_terminated) and site.sees_tls
        asked = Asked(
            request.method,
            path,
            query,
            request.headers.get("Authorization", ""),
            is_ssl,
            int((self.now() + self.clock_skew).timestamp()),
        )
        authenticate(site, asked)
        given = listing.arguments(query)
        if one:
            return _one(site, int(ids), given, body if request.method == "PUT" else None)
        return _many(site, path, query, given)

    def _controlled(self, asked: dict[str, Any] | web.Request) -> Site:
        prefix = asked.query.get("site", "") if isinstance(asked, web.Request) else str(asked.pop("site", ""))
        return self.sites[prefix]

    async def _control_site(self, request: web.Request) -> web.Response:
        site = self.add_site(**await request.json())
        return web.json_response({"prefix": site.prefix, "home_url": self.home_url(site)}, status=201)

    async def _control_add(self, request: web.Request) -> web.Response:
        asked = await request.json()
        if "items" in asked:
            asked["items"] = [Item(**{**item, "total": Decimal(item["total"])}) for item in asked["items"]]
        order = self._controlled(asked).add(**_with_times(asked))
        return web.json_response({"id": order.id}, status=201)

    async def _control_change(self, request: web.Request) -> web.Response:
        asked = await request.json()
        site, order_id = self._controlled(asked), int(request.match_info["id"])
        changes = _with_times(asked)
        status = changes.pop("status", None)
        if status is not None:
            site.move(order_id, str(status), at=changes.get("at"))
        if changes.keys() - {"at"}:
            site.put(order_id, **changes)
        return web.json_response(site.printer().order(site.orders[order_id]))

    async def _control_delete(self, request: web.Request) -> web.Response:
        self._controlled(request).delete(int(request.match_info["id"]))
        return web.Response(status=204)


def _one(site: Site, order_id: int, given: listing.Given, body: bytes | None) -> web.Response:
    if order_id not in site.orders:
        raise refusals.invalid_id()
    if body is not None:
        known = {field.name for field in fields(Order)}
        site.put(order_id, **{name: value for name, value in json.loads(body or b"{}").items() if name in known})
    return web.json_response(_printed(site, given, site.orders[order_id]))


def _many(site: Site, path: str, query: list[tuple[str, str]], given: listing.Given) -> web.Response:
    page = listing.listing(site, given)
    response = web.json_response([_printed(site, given, order) for order in page.orders])
    response.headers["X-WP-Total"] = str(page.total)
    response.headers["X-WP-TotalPages"] = str(page.pages)
    links = [(page.page - 1, "prev")] if page.page > 1 else []
    links += [(page.page + 1, "next")] if page.page < page.pages else []
    for number, relation in links:
        response.headers.add("Link", f'<{_link(site.home + path, query, given, number)}>; rel="{relation}"')
    return response


def _link(url: str, query: list[tuple[str, str]], given: listing.Given, page: int) -> str:
    """The trap of real stores: signature and nonce repeated, ``status`` rewritten, defaults added."""
    kept = [(name, value) for name, value in query if name.partition("[")[0] not in {"status", "page"}]
    statuses = listing.words(given, "status")
    kept += [(f"status[{at}]", status) for at, status in enumerate(["any"] if statuses is None else statuses)]
    return f"{url}?{urlencode([*kept, ('dp', '2'), ('context', 'view'), ('page', str(page))])}"


def _printed(site: Site, given: listing.Given, order: Order) -> dict[str, Any]:
    decimals = given.get("dp")
    printed = site.printer(int(decimals) if isinstance(decimals, str) else 2).order(order)
    wanted = listing.words(given, "_fields")
    return printed if wanted is None else {name: value for name, value in printed.items() if name in wanted}


def _sick_page(fault: Fault) -> web.Response:
    status, text = SICK_PAGES[fault.kind]
    headers = {"Retry-After": "600"} if fault.kind == "maintenance" else {}
    page = f"<!DOCTYPE html>\n<html dir='ltr'><body id=\"error-page\"><h1>{text}</h1></body></html>"
    return web.Response(status=status, text=page, content_type="text/html", charset="utf-8", headers=headers)


def _with_times(asked: dict[str, Any]) -> dict[str, Any]:
    """Read the times of a control request; a text without a zone is UTC."""
    names = {"at", "created_at", "paid_at", "completed_at"}
    return {name: _time(value) if name in names and value else value for name, value in asked.items()}


def _time(value: str) -> datetime:
    moment = datetime.fromisoformat(value)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
