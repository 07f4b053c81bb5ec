"""The BigCommerce adapter: unfinished orders lead to carts, orders of any kind tell what was bought."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, ClassVar

from backend.domain.buckets import Rate
from backend.domain.carts import CartPage, Exclusion, SeenCart, UnreadableRecord
from backend.errors import BadBody, BadRecord, BodyTooLarge, TryLater
from backend.outbound import Sends
from backend.platforms.base import Capabilities, Connection, ConnectionCheck, Pace, StrictModel
from backend.platforms.bigcommerce import check
from backend.platforms.bigcommerce.carts import Found, products_without_image, read_open
from backend.platforms.bigcommerce.client import Answer, StoreClient, allowance_in
from backend.platforms.bigcommerce.lookups import Lookups
from backend.platforms.bigcommerce.orders import (
    Fate,
    Json,
    Verdict,
    is_cart_id,
    judged,
    lines_within,
    modified_at,
    order_number,
    read_bought,
)
from backend.platforms.bigcommerce.people import customer_number
from backend.platforms.bigcommerce.settings import BigCommerceCredentials, BigCommerceSettings
from backend.platforms.bigcommerce.walk import WITH_LINES, Stamp, Walk
from backend.platforms.reading import refuse_future, unreadable

# The smallest quota there is, 150 requests in 30 s, halved as `allowance_in` tells; answers name the store's own.
PACE = Pace(Rate(capacity=75, per_second=2.5), read=allowance_in)
# Each open order of the overlap costs a request for its cart with every poll, so it is no longer than it has to be.
OVERLAP = timedelta(minutes=3)
CART_QUERY = {"include": "line_items.physical_items.options,line_items.digital_items.options"}
ORDERS_OF_A_CART = 50
MOST_EMPTY = 20  # pages of orders in a row that lead to nothing
CUT_SHORT = "page_cut_short"


@dataclass(slots=True)
class _Sorted:
    """What came of the records of one page. `open` are carts whose shopper is still to be filled in."""

    open: list[Found] = field(default_factory=list)
    carts: list[SeenCart] = field(default_factory=list)
    exclusions: list[Exclusion] = field(default_factory=list)
    unreadable: list[UnreadableRecord] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        """Whether nothing came of any record yet."""
        return not (self.open or self.carts or self.exclusions or self.unreadable)

    def quarantine(self, record: Any, cart_id: str | None, bad: BadRecord) -> None:
        """Put a record aside that cannot be read."""
        self.unreadable.append(unreadable(record, cart_id, bad.code))


class BigCommercePlatform:
    """Reads the carts of one BigCommerce store.

    There is no list of carts. The poll finds those whose shopper reached the payment page; any other cart comes in
    through `reread`, by its id, once a webhook has named it. Neither gives a recovery link: BigCommerce's links work
    once, so one is made when the shopper asks for it.
    """

    name: ClassVar[str] = "bigcommerce"
    capabilities: ClassVar[Capabilities] = Capabilities(rereads=True, pages_by="key", pace=PACE, overlap=OVERLAP)
    Settings: ClassVar[type[StrictModel]] = BigCommerceSettings
    Credentials: ClassVar[type[StrictModel]] = BigCommerceCredentials

    def __init__(self, connection: Connection, http: Sends, now: Callable[[], datetime]) -> None:
        self.settings = BigCommerceSettings.model_validate(dict(connection.settings))
        credentials = BigCommerceCredentials.model_validate(dict(connection.credentials))
        self._client = StoreClient(self.settings, credentials, http, now)
        self._lookups = Lookups(self._client)
        self._now = now

    @property
    def store_id(self) -> str:
        """The store hash, which never changes, whatever domain the store shows to shoppers."""
        return self.settings.store_hash

    async def fetch_page(self, window_from: datetime, page_token: str | None) -> CartPage:
        """Return one page of the carts whose orders were modified at or after `window_from`."""
        size = self.settings.options.page_size
        walk = Walk.begin(window_from, size) if page_token is None else Walk.read(page_token)
        found, ahead, answer = await self._read(walk, window_from)
        first = answer
        for _ in range(MOST_EMPTY):  # orders that lead to nothing new make no page
            if ahead is None or not found.is_empty:
                break
            try:
                found, ahead, answer = await self._read(ahead, window_from)
            except TryLater:
                found.notices.append(CUT_SHORT)
                break
        return await self._page(found, answer, first.server_time, None if ahead is None else ahead.token)

    async def reread(self, source_cart_ids: Sequence[str]) -> CartPage:
        """Return these carts as they are now, whether a poll ever found them or not; see `Platform.reread`.

        Each takes two requests. When the store asks us to wait in between, the page holds what was read until then;
        the other carts are neither in it nor called gone.
        """
        found, answer = _Sorted(), Answer(None, None, None)
        server_time: datetime | None = None
        for cart_id in source_cart_ids:
            if not is_cart_id(cart_id):
                found.exclusions.append(Exclusion(cart_id, "gone"))
                continue
            try:
                answer = await self._reread(cart_id, found)
            except TryLater:
                if found.is_empty:
                    raise
                found.notices.append("reread_cut_short")
                break
            server_time = server_time or answer.server_time
        return await self._page(found, answer, server_time, None)

    async def check(self) -> ConnectionCheck:
        """Say whether the store can be polled: token, store, each scope by name, and how many carts are waiting."""
        return await check.check_connection(self._client, self.store_id, self._now())

    async def _read(self, walk: Walk, window_from: datetime) -> tuple[_Sorted, Walk | None, Answer]:
        """Ask for the walk's orders and sort them; return the next question too, None when the window is drained."""
        found = _Sorted()
        walk, answer, orders = await self._ask_page(walk)
        ahead = await self._sorted(walk, orders, answer, found)
        if ahead is None and walk.part == "incomplete":
            ahead = Walk.begin(window_from, self.settings.options.page_size, "all")
        return found, ahead, answer

    async def _ask_page(self, walk: Walk) -> tuple[Walk, Answer, list[Any]]:
        """Ask for the walk's orders, in smaller pages while they are too large to fit."""
        while True:
            try:
                answer = await self._client.get("/v2/orders", walk.question)
            except TryLater as error:
                if error.code != BodyTooLarge.code or walk.size == 1:
                    raise
                walk = walk.smaller()
            else:
                return walk, answer, _listed(answer)

    async def _sorted(self, walk: Walk, orders: Sequence[Any], answer: Answer, found: _Sorted) -> Walk | None:
        """Sort a page's orders by what they are and return the next question.

        When the store asks us to wait in between, that is for the orders from there on.
        """
        stamps = [self._stamp(order, answer) for order in orders]
        for done, (order, stamp) in enumerate(zip(orders, stamps, strict=True)):
            if walk.skips(stamp) or (walk.part == "all" and _is_incomplete(order)):
                continue
            try:
                await self._sort(order, answer.server_time, found)
            except TryLater:
                if found.is_empty:
                    raise
                found.notices.append(CUT_SHORT)
                return walk.cut_after(stamps, done)
        return walk.after(stamps)

    async def _sort(self, order: Any, server_time: datetime | None, found: _Sorted) -> None:
        """Put one order where it belongs; one that cannot be read stops none of the others."""
        cart_id = _cart_id(order)
        try:
            if not isinstance(order, dict):
                raise BadRecord("the record is no order", code="bad_shape")
            refuse_future(modified_at(order), server_time or self._now())
            verdict = judged(order)
            if verdict.fate is Fate.CLOSED:
                found.exclusions.append(verdict.exclusion)
            elif verdict.fate is Fate.BOUGHT:
                found.carts.append(await self._bought(order))
            else:
                await self._find(verdict.cart_id, order, found)
        except BadRecord as bad:
            found.quarantine(order, cart_id, bad)

    async def _bought(self, order: Json) -> SeenCart:
        products = lines_within(order)
        if products is None:
            products = await self._lookups.products_of(order)
        return read_bought(order, products, self.store_id)

    async def _find(self, cart_id: str, order: Json, found: _Sorted) -> None:
        """Ask for an open cart; one that is gone was emptied, given up, or is just being paid for."""
        answer = await self._client.find(f"/v3/carts/{cart_id}", CART_QUERY)
        if answer is None:
            found.exclusions.append(Exclusion(cart_id, "gone"))
            return
        cart = answer.body.get("data") if isinstance(answer.body, dict) else None
        if not isinstance(cart, dict) or str(cart.get("id")).lower() != cart_id:
            raise TryLater("BigCommerce's answer is not the cart asked for", code=BadBody.code)
        found.open.append(Found(cart, order))

    async def _reread(self, cart_id: str, found: _Sorted) -> Answer:
        """Read one cart again, its orders first: what they say was bought outweighs a cart that is still there."""
        query = {"cart_id": cart_id, "sort": "date_modified:asc", "limit": str(ORDERS_OF_A_CART)} | WITH_LINES
        answer = await self._client.get("/v2/orders", query)
        verdicts: dict[Fate, tuple[Verdict, Json]] = {}
        for order in _listed(answer):
            try:
                if isinstance(order, dict) and (verdict := judged(order)).cart_id == cart_id:
                    verdicts[verdict.fate] = (verdict, order)
            except BadRecord as bad:
                found.quarantine(order, cart_id, bad)
        unfinished, closed = verdicts.get(Fate.UNFINISHED), verdicts.get(Fate.CLOSED)
        if bought := verdicts.get(Fate.BOUGHT):
            await self._sort(bought[1], answer.server_time, found)
        elif closed and not unfinished:
            found.exclusions.append(closed[0].exclusion)
        else:
            await self._find(cart_id, unfinished[1] if unfinished else {}, found)
        return answer

    async def _page(self, found: _Sorted, answer: Answer, server_time: datetime | None, token: str | None) -> CartPage:
        """Fill in who the open carts are of, and return the page. `answer` tells the budget."""
        numbers = [customer_number(one.order) or customer_number(one.cart) for one in found.open]
        customers = await self._lookups.customers(number for number in numbers if number)
        missing = [products_without_image(one.cart) for one in found.open]
        images = await self._lookups.images(product for products in missing for product in products)
        for one, number in zip(found.open, numbers, strict=True):
            try:
                seen = read_open(Found(one.cart, one.order, customers.get(number or "", {})), images, self.store_id)
                refuse_future(seen.updated_at, server_time or self._now())
                found.carts.append(seen)
            except BadRecord as bad:
                found.quarantine(one.cart, str(one.cart["id"]).lower(), bad)
        notices = [*found.notices, *([] if self._lookups.may_see_products else ["products_not_readable"])]
        return CartPage(
            tuple(found.carts),
            tuple(found.exclusions),
            tuple(found.unreadable),
            next_page_token=token,
            server_time=server_time,
            budget=answer.budget,
            notices=tuple(notices),
        )

    def _stamp(self, order: Any, answer: Answer) -> Stamp:
        if not isinstance(order, dict):
            return Stamp(0, None)
        try:
            number = order_number(order)
        except BadRecord:
            number = 0
        try:
            at = modified_at(order)
            refuse_future(at, answer.server_time or self._now())
        except BadRecord:
            return Stamp(number, None)
        return Stamp(number, at)


def _listed(answer: Answer) -> list[Any]:
    """Return the orders of an answer; v2 has no content at all where it has no orders."""
    if answer.body is None:
        return []
    if not isinstance(answer.body, list):
        raise TryLater("BigCommerce's answer is not a list of orders", code=BadBody.code)
    return answer.body


def _is_incomplete(order: Any) -> bool:
    """Whether the walk through the incomplete orders is where this one belongs."""
    return isinstance(order, dict) and order.get("status_id") == 0


def _cart_id(order: Any) -> str | None:
    """Return what an order that may be unreadable says of its cart."""
    cart_id = order.get("cart_id") if isinstance(order, dict) else None
    return cart_id.lower() if isinstance(cart_id, str) and is_cart_id(cart_id.lower()) else None
