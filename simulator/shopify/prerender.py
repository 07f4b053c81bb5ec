"""Pages rendered once to bytes, for benchmarks: a cursor looks one up, and no GraphQL is executed.

The page's shape comes from one real execution of the caller's own query, so it holds exactly what was asked for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from simulator.shopify.checkouts import shown
from simulator.shopify.engine import Call, run
from simulator.shopify.shop import FIRST_NUMBER, Shop

ABOVE = re.compile(r"\bid:>([0-9]+)")
STAND_IN = 777_000_777
STAND_IN_TIME = datetime(2001, 1, 1, tzinfo=UTC)
# No shop has so much: what is measured here is what the asker costs, not how long it waits for its budget.
PLENTY = {"maximumAvailable": 10_000_000.0, "currentlyAvailable": 10_000_000, "restoreRate": 1_000_000.0}
COST = {"requestedQueryCost": 735, "actualQueryCost": 500, "throttleStatus": PLENTY}


@dataclass(frozen=True, slots=True)
class PrerenderOrder:
    """What to render: how many carts, in pages of how many, for which query (it lists `nodes` and `pageInfo`)."""

    query: str
    carts: int
    page_size: int = 100
    lines: int = 3
    newest: datetime | None = None  # the last cart's `updatedAt`; the others lie a second apart before it
    version: str = "2026-10"


class Prerendered:
    """The pages of one shop, by cursor, and single checkouts by their number."""

    def __init__(self, order: PrerenderOrder, now: datetime) -> None:
        self._template = _template(order, now)
        newest = order.newest or now - timedelta(hours=2)
        self._oldest = newest - timedelta(seconds=order.carts - 1)
        self.carts = order.carts
        self.pages = dict(self._pages(order.page_size))

    def answer(self, variables: dict[str, Any]) -> bytes | None:
        """Return the body for these variables; None for a cursor that no page has."""
        if isinstance(ids := variables.get("ids"), list):
            numbers = [int(gid.rpartition("/")[2]) for gid in ids]
            return b'{"data":{"nodes":[' + b",".join(map(self._one, numbers)) + b"]}," + _EXTENSIONS
        after = variables.get("after")
        if after is None and (above := ABOVE.search(variables.get("query") or "")):  # a deep walk's next list
            after = f"page-{int(above[1]) - FIRST_NUMBER + 1}"
        return self.pages.get(after)

    def _one(self, number: int) -> bytes:
        index = number - FIRST_NUMBER
        if not 0 <= index < self.carts:
            return b"null"
        at = shown(self._oldest + timedelta(seconds=index)) or ""
        text = self._template.replace(str(STAND_IN), str(number)).replace(shown(STAND_IN_TIME) or "", at)
        return text.encode()

    def _pages(self, size: int) -> list[tuple[str | None, bytes]]:
        starts = range(0, max(self.carts, 1), size)
        return [(f"page-{start}" if start else None, self._page(start, size)) for start in starts]

    def _page(self, start: int, size: int) -> bytes:
        end = min(start + size, self.carts)
        nodes = b",".join(self._one(FIRST_NUMBER + index) for index in range(start, end))
        info = {"hasNextPage": end < self.carts, "endCursor": f"page-{end}" if end else None}
        page_info = orjson.dumps({"pageInfo": info})[1:]
        return b'{"data":{"abandonedCheckouts":{"nodes":[' + nodes + b"]," + page_info + b"}," + _EXTENSIONS


_EXTENSIONS = orjson.dumps({"extensions": {"cost": COST}})[1:]


def _template(order: PrerenderOrder, now: datetime) -> str:
    """Execute the query once on a shop of one stand-in cart and return that cart's JSON."""
    shop = Shop("prerender", lambda: STAND_IN_TIME)
    shop.add_cart(
        number=STAND_IN,
        updated_at=STAND_IN_TIME,
        email=f"shopper{STAND_IN}@example.com",
        phone="+12025550123",
        total="149.85",
        tax="9.80",
        discount="5.00",
        discount_codes=("WELCOME5",),
        lines=order.lines,
    )
    search = f"updated_at:>='{shown(STAND_IN_TIME)}'"
    call = Call(shop, order.version, variables={"first": 1, "after": None, "query": search})
    listed = run(call, order.query, None)["data"]["abandonedCheckouts"]
    return orjson.dumps(listed["nodes"][0]).decode()
