"""The Magento adapter: quotes asked by update time, read as carts; a quote that breaks its page is left out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, ClassVar

import orjson

from backend.domain.carts import CartPage, Exclusion, SeenCart, UnreadableRecord
from backend.errors import BadRecord, DeadlinePassed, TryLater
from backend.outbound import Sends
from backend.platforms.base import Capabilities, Connection, ConnectionCheck, StrictModel
from backend.platforms.magento.check import check_connection
from backend.platforms.magento.client import Answer, StoreClient
from backend.platforms.magento.details import MISSING, ProductDetails
from backend.platforms.magento.orders import by_quote
from backend.platforms.magento.questions import Questions
from backend.platforms.magento.quotes import Known, QuoteReader, is_active, needs_orders, updated_at, visible_items
from backend.platforms.magento.refusals import NEVER_A_RECORD, filter_ignored
from backend.platforms.magento.search import Group, Search, among
from backend.platforms.magento.settings import MagentoCredentials, MagentoSettings
from backend.platforms.magento.values import id_or_none
from backend.platforms.magento.walk import Stamp, Walk
from backend.platforms.reading import refuse_future, text_or_none, unreadable

HUNT_DEADLINE = timedelta(seconds=10)  # one quote, where a page has 40 s
MOST_SLOW = 6  # of the hunt's questions in one call; the hunt goes on in the next
CANNOT_LOAD, NO_ORDER, NO_TOTALS = "store_cannot_load_it", "store_cannot_load_its_order", "store_cannot_total_it"


@dataclass(slots=True)
class _Sorted:
    """The records of one answer, sorted by what they are."""

    carts: list[SeenCart] = field(default_factory=list)
    exclusions: list[Exclusion] = field(default_factory=list)
    unreadable: list[UnreadableRecord] = field(default_factory=list)
    notices: set[str] = field(default_factory=set)

    def page(self, server_time: datetime | None, token: str | None = None) -> CartPage:
        return CartPage(
            tuple(self.carts),
            tuple(self.exclusions),
            tuple(self.unreadable),
            next_page_token=token,
            server_time=server_time,
            notices=tuple(sorted(self.notices)),
        )


class MagentoPlatform:
    """Reads the quotes of one Magento 2 or Adobe Commerce store as carts.

    Page tokens are keys (`walk`); what a quote counts as is told in `quotes`, a purchase in `orders`, refusals in
    `refusals`.
    """

    name: ClassVar[str] = "magento"
    capabilities: ClassVar[Capabilities] = Capabilities(rereads=True, pages_by="key")
    Settings: ClassVar[type[StrictModel]] = MagentoSettings
    Credentials: ClassVar[type[StrictModel]] = MagentoCredentials

    def __init__(self, connection: Connection, http: Sends, now: Callable[[], datetime]) -> None:
        settings = MagentoSettings.model_validate(dict(connection.settings))
        credentials = MagentoCredentials.model_validate(dict(connection.credentials))
        self._options = settings.options
        self._store_id = settings.base_url.partition("://")[2]
        self._client = StoreClient(settings, credentials, http, now)
        self._questions = Questions(self._client)
        self._details = ProductDetails(self._client, settings.base_url)
        self._reader = QuoteReader(self._store_id, settings)
        self._now = now

    @property
    def store_id(self) -> str:
        """Host, port where unusual, and path of the store's base URL."""
        return self._store_id

    async def fetch_page(self, window_from: datetime, page_token: str | None) -> CartPage:
        """Return one page of the quotes updated at or after `window_from`; see `Platform.fetch_page`.

        A page that the store fails on, though it is sound, comes back empty and leads on to a smaller one.
        """
        walk = Walk.begin(window_from, self._options.page_size) if page_token is None else Walk.read(page_token)
        if walk.hunt is not None:
            return await self._hunt(walk)
        try:
            answer = await self._client.search("carts/search", self._search(walk))
        except TryLater as error:
            sound = await self._questions.sound_after(error)
            ahead = walk.smaller() if walk.size > 1 else walk.hunting()
            return CartPage(next_page_token=ahead.token, server_time=sound.server_time)
        return await self._page(walk, answer)

    async def reread(self, source_cart_ids: Sequence[str]) -> CartPage:
        """Return these quotes as they are now, whatever became of them; see `Platform.reread`."""
        wanted = [number for each in source_cart_ids if (number := id_or_none(each)) is not None]
        told = await self._questions.quotes(wanted)
        quotes = {number: each for each in told.records if (number := _number(each)) in wanted}
        found = _Sorted()
        await self._sort(list(quotes.values()), told.server_time or self._now(), found)
        found.unreadable += [_failed(number, CANNOT_LOAD, said) for number, said in told.failed.items()]
        here = {str(number) for number in (*quotes, *told.failed)}
        found.exclusions += [Exclusion(gone, "gone") for gone in source_cart_ids if gone not in here]
        return found.page(told.server_time)

    async def check(self) -> ConnectionCheck:
        """Ask for quotes, orders and product details, and name what is missing."""
        return await check_connection(self._client, self._options, self._now(), self._store_id)

    def _search(self, walk: Walk, *more: Group) -> Search:
        stores = (among("store_id", self._options.store_ids),) if self._options.store_ids else ()
        return walk.search(*stores, *more)

    async def _page(self, walk: Walk, answer: Answer) -> CartPage:
        """Return the carts of a page, and where the walk goes on."""
        stamps = [self._stamp(record) for record in answer.records]
        late = [walk.is_before(stamp) for stamp in stamps]
        if stamps and all(late) and (answer.total is None or answer.total > len(stamps)):
            raise filter_ignored()
        ahead = walk.after(stamps, answer.total)
        found = _Sorted()
        if any(late):
            found.notices.add("filter_ignored")
        kept = [record for record, before in zip(answer.records, late, strict=True) if not before]
        await self._sort(kept, answer.server_time or self._now(), found)
        return found.page(answer.server_time, None if ahead is None else ahead.token)

    async def _hunt(self, walk: Walk) -> CartPage:
        """Find the quote that breaks a page of one, by halves of the range of ids, and leave it out from here on.

        A store that falls ill on the way sends the hunt astray, so the last answer is for that one id, and counts
        only from a sound store.
        """
        low, high = walk.hunt or (0, 0)
        slow, told = 0, None
        while low < high and slow < MOST_SLOW:
            middle = (low + high) // 2
            try:
                told = (await self._ids(walk, low, middle, HUNT_DEADLINE)).server_time
                low = middle + 1
            except TryLater as error:
                if error.code in NEVER_A_RECORD:
                    raise
                slow += error.code == DeadlinePassed.code
                high = middle
        if low < high:
            return CartPage(next_page_token=walk.hunting(low, high).token, server_time=told)
        try:
            answer = await self._ids(walk, low, low)
        except TryLater as error:
            sound = await self._questions.sound_after(error)
            token, record = walk.without(low).token, _failed(low, CANNOT_LOAD, str(error))
            return CartPage(unreadable=(record,), next_page_token=token, server_time=sound.server_time)
        return CartPage(next_page_token=walk.without(None).token, server_time=answer.server_time)

    async def _ids(self, walk: Walk, low: int, high: int, deadline: timedelta | None = None) -> Answer:
        """Ask the walk's question of the ids from `low` to `high` alone."""
        bounds = ((("entity_id", "gteq", str(low)),), (("entity_id", "lteq", str(high)),))
        search = self._search(walk, *bounds)
        if deadline is None:
            return await self._client.search("carts/search", search)
        return await self._client.search("carts/search", search, deadline)

    def _stamp(self, quote: Any) -> Stamp:
        if not isinstance(quote, dict):
            return Stamp(None, None)
        try:
            return Stamp(_number(quote), updated_at(quote))
        except BadRecord:
            return Stamp(_number(quote), None)

    async def _sort(self, quotes: Sequence[Any], server_time: datetime, found: _Sorted) -> None:
        """Put each record where it belongs; one that cannot be read stops none of the others."""
        readable: list[dict[str, Any]] = []
        for quote in quotes:
            try:
                if not isinstance(quote, dict):
                    raise BadRecord("the record is no quote", code="bad_shape")
                refuse_future(updated_at(quote), server_time)
                is_active(quote), visible_items(quote)
                readable.append(quote)
            except BadRecord as error:
                found.unreadable.append(unreadable(quote, _named(quote), error.code))
        known = await self._learn(readable, found)
        failed = {record.source_cart_id for record in found.unreadable}
        for quote in readable:
            if _named(quote) not in failed:
                self._read(quote, known, found)

    def _read(self, quote: dict[str, Any], known: Known, found: _Sorted) -> None:
        try:
            seen = self._reader.read(quote, known)
        except BadRecord as error:
            found.unreadable.append(unreadable(quote, _named(quote), error.code))
            return
        if isinstance(seen, Exclusion):
            found.exclusions.append(seen)
        else:
            found.carts.append(seen)

    async def _learn(self, quotes: Sequence[dict[str, Any]], found: _Sorted) -> Known:
        """Ask what these quotes do not say themselves; those that the store fails on are set aside."""
        told = await self._questions.orders(list(_numbers(quote for quote in quotes if needs_orders(quote))))
        found.unreadable += [_failed(number, NO_ORDER, said) for number, said in told.failed.items()]
        open_ones = [quote for quote in quotes if is_active(quote) and visible_items(quote)]
        totals: dict[int, dict[str, Any]] = {}
        if self._options.ask_totals:
            totals, failed = await self._questions.totals(list(_numbers(open_ones)))
            found.unreadable += [_failed(number, NO_TOTALS, said) for number, said in failed.items()]
        skus = (text_or_none(item.get("sku")) for quote in open_ones for item in visible_items(quote))
        products = await self._details.learn(sku for sku in skus if sku) if self._options.product_details else {}
        if self._details.is_off:
            found.notices.add(MISSING)
        return Known(by_quote(told.records), totals, products)


def _number(quote: Any) -> int | None:
    return id_or_none(quote.get("id")) if isinstance(quote, dict) else None


def _named(quote: Any) -> str | None:
    number = _number(quote)
    return None if number is None else str(number)


def _numbers(quotes: Iterable[Any]) -> Iterable[int]:
    return (number for quote in quotes if (number := _number(quote)) is not None)


def _failed(number: int, reason: str, said: str) -> UnreadableRecord:
    """Return the quarantine form of a quote that the store itself cannot load."""
    return UnreadableRecord(str(number), reason, orjson.dumps({"id": number, "said": said}))
