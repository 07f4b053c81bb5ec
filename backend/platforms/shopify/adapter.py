"""The adapter: asks, walks the pages, reads carts again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar

import orjson
from pydantic import Field, field_validator
from shopify.utils.shop_url import sanitize_shop_domain

from backend.domain.buckets import Rate
from backend.domain.carts import CartPage, Exclusion, SeenCart, UnreadableRecord
from backend.errors import BadRecord, OurFault, OutboundError, TryLater
from backend.outbound import HttpRequest, Sends
from backend.platforms.base import Capabilities, Connection, ConnectionCheck, HeaderText, Pace, StrictModel
from backend.platforms.reading import unreadable
from backend.platforms.shopify import check, queries
from backend.platforms.shopify.answers import CursorRefused, GraphQLAnswer, QueryTooCostly, points_in, read_answer
from backend.platforms.shopify.mapping import CartReader, cart_gid, cart_number
from backend.platforms.shopify.walk import Walk

DEADLINE = timedelta(seconds=30)
LONGEST_CURSOR = 2048
# Points, until the shop's answers tell its own: the smallest budget that was seen, and the dearest query there may be.
PACE = Pace(Rate(capacity=1000, per_second=50), cost=1000, read=points_in)


class Options(StrictModel):
    """How the walk goes. `page_size`: carts per page; the cost of the query is reckoned in `queries`."""

    page_size: int = Field(default=100, ge=1, le=queries.LARGEST_PAGE)


class ShopifySettings(StrictModel):
    """One shop. `base_url` replaces scheme, host and path prefix of the Admin API, for a proxy or a simulator."""

    shop: str
    base_url: str | None = Field(default=None, pattern=r"^https?://[^?#]+$")
    allow_http: bool = False
    api_version: str = Field(default="2026-10", pattern=r"^20\d\d-(01|04|07|10)$")
    options: Options = Options()

    @field_validator("shop")
    @classmethod
    def _domain(cls, value: str) -> str:
        """Accept a shop's name, domain or URL; keep the domain."""
        domain: str | None = sanitize_shop_domain(value)
        if domain is None:
            raise ValueError("must be a shop's domain such as name.myshopify.com")
        return domain


class ShopifyCredentials(StrictModel):
    """The Admin API access token of a custom or an installed app."""

    access_token: HeaderText


@dataclass(slots=True)
class _Records:
    """What came of the records of one answer."""

    carts: list[SeenCart]
    exclusions: list[Exclusion]
    unreadable: list[UnreadableRecord]
    last_number: int | None = None


class ShopifyPlatform:
    """Abandoned checkouts of one shop, recovered ones included, in the order of their ids.

    The list can be filtered by update time but not sorted by it. By id, a checkout that changes in mid-walk keeps its
    place, and one that changes behind the walk is caught by the overlap of the next window.
    """

    name: ClassVar[str] = "shopify"
    capabilities: ClassVar[Capabilities] = Capabilities(rereads=True, pages_by="cursor", pace=PACE)
    Settings: ClassVar[type[StrictModel]] = ShopifySettings
    Credentials: ClassVar[type[StrictModel]] = ShopifyCredentials

    def __init__(self, connection: Connection, http: Sends, now: Callable[[], datetime]) -> None:
        self.settings = ShopifySettings.model_validate(dict(connection.settings))
        self._token = ShopifyCredentials.model_validate(dict(connection.credentials)).access_token
        self._http = http
        self._now = now
        base = (self.settings.base_url or f"https://{self.settings.shop}").rstrip("/")
        self._url = f"{base}/admin/api/{self.settings.api_version}/graphql.json"

    @property
    def store_id(self) -> str:
        """The shop's myshopify.com domain, which never changes, whatever address the shop shows to shoppers."""
        return self.settings.shop

    async def fetch_page(self, window_from: datetime, page_token: str | None) -> CartPage:
        """Return one page of the checkouts modified at or after `window_from`."""
        walk = Walk.at(page_token, self.settings.options.page_size)
        answer, walk, notices = await self._fetch(window_from, walk)
        nodes, end_cursor = _listed(answer)
        reader = self._reader(answer)
        records = _read_all(reader, nodes, answer.positions_of_errors("abandonedCheckouts", "nodes"))
        next_walk = end_cursor and walk.next(end_cursor, len(nodes), records.last_number)
        return CartPage(
            carts=tuple(records.carts),
            unreadable=tuple(records.unreadable),
            next_page_token=next_walk.token() if next_walk else None,
            server_time=answer.server_time,
            budget=answer.budget,
            notices=(*notices, *self._notices(answer, reader)),
        )

    async def reread(self, source_cart_ids: Sequence[str]) -> CartPage:
        """Return the present state of these checkouts; what the shop has purged is an exclusion, ``gone``.

        Each request pays for its ids in full, so many ids take several requests. When the shop asks us to wait in
        between, the page holds what was read until then; the other carts are neither in it nor called gone.
        """
        pages: list[CartPage] = []
        for start in range(0, len(source_cart_ids), queries.CARTS_PER_REREAD):
            try:
                pages.append(await self._reread(source_cart_ids[start : start + queries.CARTS_PER_REREAD]))
            except TryLater:
                if not pages:
                    raise
                pages.append(CartPage(notices=("reread_cut_short",)))
                break
        return _joined(pages)

    async def check(self) -> ConnectionCheck:
        """Say whether the shop can be polled: token, shop, scopes, version, and how many carts are waiting."""
        return await check.check_connection(self._ask, self.settings.shop, self.settings.api_version, self._now())

    async def _fetch(self, window_from: datetime, walk: Walk) -> tuple[GraphQLAnswer, Walk, tuple[str, ...]]:
        """Ask for the page at `walk`: a smaller one when it costs too much, the first when its cursor is refused."""
        notices: tuple[str, ...] = ()
        while True:
            search = queries.search_since(window_from, walk.above)
            variables = {"first": walk.first, "after": walk.after, "query": search}
            try:
                answer = await self._ask(queries.page_query(self.settings.api_version), variables)
            except QueryTooCostly:
                if walk.first == 1:
                    raise
                walk, notices = walk.halved(), (*notices, "page_halved")
            except CursorRefused:
                if walk.after is None:
                    raise
                walk, notices = walk.restarted(), (*notices, "walk_restarted")
            else:
                answer.refuse_missing_scopes()
                return answer, walk, notices

    async def _reread(self, numbers: Sequence[str]) -> CartPage:
        gids = [cart_gid(number) for number in numbers]
        answer = await self._ask(queries.reread_query(self.settings.api_version), {"ids": gids})
        answer.refuse_missing_scopes()
        nodes = answer.data.get("nodes")
        if not isinstance(nodes, list) or len(nodes) != len(numbers):
            raise TryLater("Shopify's answer lacks the carts asked for", code="bad_answer")
        failed = answer.positions_of_errors("nodes")
        gone = [i for i, node in enumerate(nodes) if not node and i not in failed]
        reader = self._reader(answer)
        there = [i for i in range(len(nodes)) if i not in gone]
        records = _read_all(reader, [nodes[i] for i in there], frozenset(there.index(i) for i in failed if i in there))
        return CartPage(
            carts=tuple(records.carts),
            exclusions=tuple(Exclusion(numbers[i], "gone") for i in gone),
            unreadable=tuple(records.unreadable),
            server_time=answer.server_time,
            budget=answer.budget,
            notices=self._notices(answer, reader),
        )

    async def _ask(self, query: str, variables: Mapping[str, Any]) -> GraphQLAnswer:
        """Post one query and return its answer. Raises `TryLater`, `FixCredentials`, or `OurFault` unchanged."""
        request = HttpRequest(
            "POST",
            self._url,
            {"X-Shopify-Access-Token": self._token, "Content-Type": "application/json", "Accept": "application/json"},
            orjson.dumps({"query": query, "variables": variables}),
            allow_http=self.settings.allow_http,
            deadline=DEADLINE,
        )
        try:
            response = await self._http.send(request)
        except OurFault:
            raise
        except OutboundError as failed:
            raise TryLater(f"The shop could not be reached: {failed}", code=failed.code) from failed
        return read_answer(response, self._now())

    def _reader(self, answer: GraphQLAnswer) -> CartReader:
        version = answer.version or self.settings.api_version
        return CartReader(self.store_id, version, answer.server_time or self._now())

    def _notices(self, answer: GraphQLAnswer, reader: CartReader) -> tuple[str, ...]:
        """Return what people should know: another version answered, lines were left out, parts were missing."""
        fell_forward = answer.version not in {None, self.settings.api_version}
        told = {
            "api_version_fell_forward": fell_forward,
            "lines_cut_short": reader.lines_were_cut,
            "partial_answer": bool(answer.errors),
        }
        return tuple(notice for notice, applies in told.items() if applies)


def _listed(answer: GraphQLAnswer) -> tuple[list[Any], str | None]:
    """Return the records of a page and where the next one begins, if there is one."""
    listed = answer.data.get("abandonedCheckouts")
    nodes = listed.get("nodes") if isinstance(listed, dict) else None
    page_info = listed.get("pageInfo") if isinstance(listed, dict) else None
    if not isinstance(nodes, list) or not isinstance(page_info, dict):
        raise TryLater("Shopify's answer lacks the list of checkouts", code="bad_answer")
    if not page_info.get("hasNextPage"):
        return nodes, None
    end_cursor = page_info.get("endCursor")
    if not isinstance(end_cursor, str) or not 0 < len(end_cursor) <= LONGEST_CURSOR:
        raise TryLater("Shopify says there is more, but not where", code="bad_answer")
    return nodes, end_cursor


def _read_all(reader: CartReader, nodes: Sequence[Any], failed: frozenset[int]) -> _Records:
    """Read the records one by one; one that cannot be read does not stop the others."""
    records = _Records([], [], [])
    for position, node in enumerate(nodes):
        number = _number(node)
        if number is not None:
            records.last_number = int(number)
        try:
            if position in failed:
                raise BadRecord("Shopify answered this record only in part", code="partly_answered")
            records.carts.append(reader.read(node))
        except BadRecord as bad:
            records.unreadable.append(unreadable(node, number, bad.code))
    return records


def _number(node: Any) -> str | None:
    try:
        return cart_number(node["id"])
    except (KeyError, TypeError, AttributeError, BadRecord):
        return None


def _joined(pages: Sequence[CartPage]) -> CartPage:
    """Return the pages of one reread as one; times and budget of the first and the last."""
    if not pages:
        return CartPage()
    return CartPage(
        carts=tuple(cart for page in pages for cart in page.carts),
        exclusions=tuple(exclusion for page in pages for exclusion in page.exclusions),
        unreadable=tuple(record for page in pages for record in page.unreadable),
        server_time=pages[0].server_time,
        budget=next((page.budget for page in reversed(pages) if page.budget), None),
        notices=tuple(dict.fromkeys(notice for page in pages for notice in page.notices)),
    )
