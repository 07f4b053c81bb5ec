"""The WooCommerce adapter: orders asked by modified time, read as carts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, ClassVar

from backend.domain.carts import CartPage, Exclusion, SeenCart, UnreadableRecord
from backend.errors import BadRecord, BodyTooLarge, PlatformError, TryLater
from backend.outbound import Sends
from backend.platforms.base import Capabilities, Connection, ConnectionCheck, Finding, StrictModel
from backend.platforms.reading import refuse_future, unreadable
from backend.platforms.woocommerce.client import Answer, StoreClient
from backend.platforms.woocommerce.orders import OrderReader, is_mailed_by_store, modified_at, order_id, utc_offset
from backend.platforms.woocommerce.refusals import UnknownStatuses, too_old
from backend.platforms.woocommerce.settings import WooCommerceCredentials, WooCommerceSettings
from backend.platforms.woocommerce.walk import Stamp, Walk

# Asked besides the open ones: they tell that a cart was bought, or was cancelled by the store's own timer.
ALWAYS_ASKED = ("processing", "completed", "on-hold", "cancelled")
# An order that waits may have become anything; all are named, because `any` leaves out drafts and the trash.
ANYTHING = ("pending", "failed", "checkout-draft", *ALWAYS_ASKED, "refunded", "trash")
MAX_REREAD = 100
LONGEST_ID = 40  # of what keeps the walk's place; a store's own ids have up to twenty digits
CLOCK_TOLERANCE = timedelta(minutes=5)


@dataclass(slots=True)
class _Sorted:
    """The records of one answer, sorted by what they are."""

    carts: list[SeenCart] = field(default_factory=list)
    exclusions: list[Exclusion] = field(default_factory=list)
    unreadable: list[UnreadableRecord] = field(default_factory=list)
    notices: set[str] = field(default_factory=set)

    def page(self, answer: Answer, unknown: Iterable[str], token: str | None = None) -> CartPage:
        notices = self.notices | {f"unknown_status_dropped:{status}" for status in unknown}
        return CartPage(
            tuple(self.carts),
            tuple(self.exclusions),
            tuple(self.unreadable),
            next_page_token=token,
            server_time=answer.server_time,
            notices=tuple(sorted(notices)),
        )


class WooCommercePlatform:
    """Reads the orders of one WooCommerce store as carts (REST v3, WooCommerce 5.9 and newer).

    Page tokens are keys in time (`walk`); what an order counts as is told in `orders`; refusals in `refusals`.
    """

    name: ClassVar[str] = "woocommerce"
    capabilities: ClassVar[Capabilities] = Capabilities(rereads=True, pages_by="key")
    Settings: ClassVar[type[StrictModel]] = WooCommerceSettings
    Credentials: ClassVar[type[StrictModel]] = WooCommerceCredentials

    def __init__(self, connection: Connection, http: Sends, now: Callable[[], datetime]) -> None:
        settings = WooCommerceSettings.model_validate(dict(connection.settings))
        credentials = WooCommerceCredentials.model_validate(dict(connection.credentials))
        self._options = settings.options
        self._store_id = settings.base_url.partition("://")[2]
        self._client = StoreClient(settings, credentials, http, now)
        self._reader = OrderReader(self._store_id, settings.options)
        self._now = now
        self._unknown: frozenset[str] = frozenset()

    @property
    def store_id(self) -> str:
        """Host and path of the site's home URL."""
        return self._store_id

    async def fetch_page(self, window_from: datetime, page_token: str | None) -> CartPage:
        """Return one page of the orders modified at or after `window_from`; see `Platform.fetch_page`."""
        walk = Walk.begin(window_from, self._options.page_size) if page_token is None else Walk.read(page_token)
        self._unknown |= walk.unknown
        walk, answer = await self._ask_page(walk)
        walk = replace(walk, unknown=self._unknown)
        stamps = [self._stamp(order, answer) for order in answer.orders]
        if walk.lost_its_place(stamps):
            return _Sorted().page(answer, self._unknown, walk.again().token)
        ahead = walk.after(stamps, answer.total)
        if stamps and ahead is not None and all(walk.is_before(stamp) for stamp in stamps):
            raise too_old()
        found = _Sorted()
        for order, stamp in zip(answer.orders, stamps, strict=True):
            if walk.is_before(stamp):
                found.notices.add("modified_after_ignored")
            elif not walk.knows(stamp):
                self._sort(order, answer, found)
        return found.page(answer, self._unknown, None if ahead is None else ahead.token)

    async def reread(self, source_cart_ids: Sequence[str]) -> CartPage:
        """Return these orders as they are now, whatever became of them; see `Platform.reread`.

        The posts table leaves ``date_modified`` as it was when lines or contact change, so `updated_at` may be old
        while the content is new.
        """
        wanted = [source_id for source_id in source_cart_ids if source_id.isascii() and source_id.isdigit()]
        answer = await self._ask_for(wanted, ANYTHING + self._options.statuses)
        orders = _by_id(answer.orders, wanted)
        missing = [source_id for source_id in wanted if source_id not in orders]
        if missing:
            # A status of the store's own (shipped, for one) is in `any` and in no list of ours.
            orders |= _by_id((await self._ask_for(missing, ("any",))).orders, missing)
        found = _Sorted()
        for order in orders.values():
            self._sort(order, answer, found)
        found.exclusions += [Exclusion(gone, "gone") for gone in source_cart_ids if gone not in orders]
        return found.page(answer, self._unknown)

    async def check(self) -> ConnectionCheck:
        """Ask for orders of tomorrow: shows key, rights, statuses and clock, and whether the filter works."""
        tomorrow = Walk.begin(self._now() + timedelta(days=1), 1)
        try:
            answer = await self._asked(partial(self._question, tomorrow))
        except PlatformError as error:
            remedy = error.remedy or "Try again in a few minutes; if it stays so, ask the store's host."
            return ConnectionCheck((Finding("orders", ok=False, detail=str(error), remedy=remedy),), None)
        findings = [Finding("orders", ok=True, detail="the key may list orders"), self._clock(answer)]
        stamps = [self._stamp(order, answer) for order in answer.orders]
        if any(tomorrow.is_before(stamp) for stamp in stamps):
            findings.append(Finding("modified_after", ok=False, detail=str(too_old()), remedy=too_old().remedy))
        for status in sorted(self._unknown):
            detail = f"the store has no status {status}, it is left out"
            findings.append(Finding(f"status {status}", ok=True, detail=detail))
        return ConnectionCheck(tuple(findings), self._store_id)

    async def _ask_page(self, walk: Walk) -> tuple[Walk, Answer]:
        """Ask for the walk's page, in smaller ones while orders are too large to fit."""
        while True:
            try:
                return walk, await self._asked(partial(self._question, walk))
            except TryLater as error:
                if error.code != BodyTooLarge.code or walk.size == 1:
                    raise
                walk = walk.smaller()

    async def _ask_for(self, ids: Sequence[str], statuses: Sequence[str]) -> Answer:
        """Ask for single orders, in two halves while they are too large to fit.

        Raises `TryLater` when the store holds some back: an order left out of the answer counts as gone.
        """
        if not ids:
            return Answer([], 0, None)
        try:
            answer = await self._asked(
                lambda: {"include": ",".join(ids), "status": self._statuses(statuses), "per_page": str(MAX_REREAD)}
            )
        except TryLater as error:
            if error.code != BodyTooLarge.code or len(ids) == 1:
                raise
            half = len(ids) // 2
            first, second = await self._ask_for(ids[:half], statuses), await self._ask_for(ids[half:], statuses)
            return Answer(first.orders + second.orders, None, first.server_time)
        if len(answer.orders) < (answer.total or 0):
            raise TryLater("the store answered some of the orders only", code="incomplete_answer")
        return answer

    async def _asked(self, question: Callable[[], dict[str, str]]) -> Answer:
        """Ask; one status unknown to the store refuses the whole question, so ask again without it."""
        while True:
            try:
                return await self._client.orders(question())
            except UnknownStatuses as refused:
                self._unknown |= refused.statuses

    def _question(self, walk: Walk) -> dict[str, str]:
        question = {
            "status": self._statuses(self._options.statuses + ALWAYS_ASKED),
            "modified_after": walk.modified_after,
            "dates_are_gmt": "true",
            "orderby": "modified",
            "order": "asc",
            "per_page": str(walk.asks),
        }
        return question | ({"offset": str(walk.offset)} if walk.offset else {})

    def _statuses(self, wanted: Iterable[str]) -> str:
        known = [status for status in dict.fromkeys(wanted) if status not in self._unknown]
        if not known:  # an empty list would ask for everything on one storage and for nothing on the other
            raise TryLater("the store refuses every status", code="question_refused")
        return ",".join(known)

    def _stamp(self, order: Any, answer: Answer) -> Stamp:
        if not isinstance(order, dict):
            return Stamp("", None)
        try:
            moment = modified_at(order)
            refuse_future(moment, answer.server_time or self._now())
        except BadRecord:
            return Stamp(str(order.get("id"))[:LONGEST_ID], None)
        return Stamp(str(order.get("id"))[:LONGEST_ID], moment, utc_offset(order))

    def _sort(self, order: Any, answer: Answer, found: _Sorted) -> None:
        """Put one record where it belongs; one that cannot be read stops none of the others."""
        source_id = str(order["id"]) if isinstance(order, dict) and "id" in order else None
        try:
            if not isinstance(order, dict):
                raise BadRecord("the record is no order", code="bad_shape")
            refuse_future(modified_at(order), answer.server_time or self._now())
            seen = self._reader.read(order)
        except BadRecord as error:
            found.unreadable.append(unreadable(order, source_id, error.code))
            return
        if isinstance(seen, Exclusion):
            found.exclusions.append(seen)
        else:
            found.carts.append(seen)
        if is_mailed_by_store(order):
            found.notices.add("store_sends_its_own_recovery_mail")

    def _clock(self, answer: Answer) -> Finding:
        if answer.server_time is None:
            return Finding("clock", ok=True, detail="the store does not tell its time")
        off = abs(answer.server_time - self._now())
        detail = f"the store's clock differs from ours by {int(off.total_seconds())} s"
        if off <= CLOCK_TOLERANCE:
            return Finding("clock", ok=True, detail=detail)
        return Finding("clock", ok=False, detail=detail, remedy="Set the clock of the store's server (NTP).")


def _by_id(orders: Iterable[Any], wanted: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return those of `orders` that were asked for."""
    readable = [order for order in orders if isinstance(order, dict) and isinstance(order.get("id"), int)]
    return {order_id(order): order for order in readable if order_id(order) in wanted}
