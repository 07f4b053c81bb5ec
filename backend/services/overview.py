"""OverviewService: the read-only lists and details that people look at, and what their states mean in plain words."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from backend.clock import Clock
from backend.db import Database, Transaction
from backend.domain.payload import amounts
from backend.domain.work import Tally
from backend.errors import BadInput, NotFound
from backend.services.reports import CycleFacts, cycle_report
from backend.services.state_words import delivery_in_words, mask_email, mask_phone, outcome_in_words
from backend.store.cycles import CycleStore
from backend.store.listings import CartFilter, DeliveryFilter, Found, ListingStore, Place
from backend.store.overview import OverviewStore

MOST = 200  # rows of one page, and of a detail's inner lists
ANSWER_SHOWN = 2_000  # characters of a partner's answer

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Paging:
    """How much of a list to return, and where to go on. Raises `BadInput` for a place that is not ours."""

    limit: int = 50
    after: str | None = None

    @property
    def place(self) -> Place | None:
        """The place named by `after`."""
        return read_place(self.after) if self.after else None


@dataclass(frozen=True, slots=True)
class Listed:
    """One page of a list; `next` is the `after` of the page that follows, or None."""

    items: list[Row]
    next: str | None


def write_place(at: datetime, row_id: str) -> str:
    """Return a place as the opaque text that callers hand back."""
    return base64.urlsafe_b64encode(f"{at.astimezone(UTC).isoformat()}~{row_id}".encode()).decode().rstrip("=")


def read_place(text: str) -> Place:
    """Return the place that `write_place` wrote. Raises `BadInput`."""
    try:
        plain = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True).decode("ascii")
        moment, tilde, row_id = plain.partition("~")
        at = datetime.fromisoformat(moment)
    except (binascii.Error, ValueError):
        raise _not_a_place() from None
    if not tilde or not row_id or at.utcoffset() != timedelta(0):
        raise _not_a_place()
    return Place(at, row_id)


def _not_a_place() -> BadInput:
    return BadInput("this is not a place in the list", field="query.after", remedy="hand back `next` as it came")


class OverviewService:
    """Reads for routers and pages; changes nothing."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def carts(self, only: frozenset[str] | None, wanted: CartFilter, paging: Paging) -> Listed:
        """Return carts of the companies in `only`, None for all of them, most lately changed first."""
        async with self._database.seeing(only) as tx:
            rows = await OverviewStore(tx, only).carts(wanted, paging.limit + 1, paging.place)
        return _page([cart_row(row) for row in rows], paging, "updated_at")

    async def carts_of(self, company_id: str, wanted: CartFilter, paging: Paging) -> Listed:
        """Return carts of one company, most lately changed first. Raises `NotFound`."""
        async with self._database.reading(company_id) as tx:
            rows = await (await _of(tx, company_id)).carts(wanted, paging.limit + 1, paging.place)
        return _page([cart_row(row) for row in rows], paging, "updated_at")

    async def cart(self, company_id: str, cart_id: str) -> Row:
        """Return one cart with its items, events and the gate's decisions. Raises `NotFound`."""
        async with self._database.reading(company_id) as tx:
            store = await _of(tx, company_id)
            row = await store.cart(cart_id)
            if row is None:
                raise NotFound(f"there is no cart {cart_id} in this company")
            return {
                **cart_row(row),
                "customer": _customer(row),
                "items": [_item(line, row["currency"]) for line in await store.items(cart_id)],
                "events": await store.events(cart_id, MOST),
                "decisions": await store.decisions("cart_id", cart_id, MOST),
            }

    async def deliveries(self, only: frozenset[str] | None, wanted: DeliveryFilter, paging: Paging) -> Listed:
        """Return deliveries of the companies in `only`, None for all of them, newest first."""
        async with self._database.seeing(only) as tx:
            rows = await OverviewStore(tx, only).deliveries(wanted, paging.limit + 1, paging.place)
        return _page([self._delivery(row) for row in rows], paging, "created_at")

    async def deliveries_of(self, company_id: str, wanted: DeliveryFilter, paging: Paging) -> Listed:
        """Return deliveries of one company, newest first. Raises `NotFound`."""
        async with self._database.reading(company_id) as tx:
            rows = await (await _of(tx, company_id)).deliveries(wanted, paging.limit + 1, paging.place)
        return _page([self._delivery(row) for row in rows], paging, "created_at")

    async def delivery(self, company_id: str, delivery_id: str) -> Row:
        """Return one delivery with its attempts and carts. Raises `NotFound`."""
        async with self._database.reading(company_id) as tx:
            store = await _of(tx, company_id)
            row = await store.delivery(delivery_id)
            if row is None:
                raise NotFound(f"there is no delivery {delivery_id} in this company")
            return {
                **self._delivery(row),
                "attempt_list": [_attempt(attempt) for attempt in await store.attempts(delivery_id)],
                "carts": [_held(cart) for cart in await store.decisions("delivery_id", delivery_id, MOST)],
            }

    def _delivery(self, row: Found) -> Row:
        due, held = row["next_attempt_at"], row["destination_held_until"]
        next_try = max(due, held) if due is not None and held is not None else due
        return {**row, "next_try_at": next_try, "in_words": delivery_in_words(row, self._clock.now())}

    async def runs(self, company_id: str, integration_id: str | None, outcome: str | None, paging: Paging) -> Listed:
        """Return polls that changed or failed something, newest first."""
        async with self._database.reading(company_id) as tx:
            rows = await (await _of(tx, company_id)).runs(integration_id, outcome, paging.limit + 1, paging.place)
        return _page([dict(row) for row in rows], paging, "started_at")

    async def quarantine(
        self, company_id: str, integration_id: str | None, is_open: bool | None, paging: Paging
    ) -> Listed:
        """Return records that could not be read, without their content, the ones seen last first."""
        async with self._database.reading(company_id) as tx:
            store = await _of(tx, company_id)
            rows = await store.quarantine(integration_id, is_open, paging.limit + 1, paging.place)
        return _page([dict(row) for row in rows], paging, "last_seen_at")

    async def cycles(self, only: frozenset[str] | None, kind: str | None, paging: Paging) -> Listed:
        """Return poll cycles with the sums of what they caused at the companies in `only`, newest first."""
        async with self._database.seeing(only) as tx:
            rows = await OverviewStore(tx, only).cycles(kind, paging.limit + 1, paging.place)
            counted = await CycleStore(tx).counts([row["id"] for row in rows], only) if rows else []
        page = _page([dict(row) for row in rows], paging, "started_at")
        return Listed(_with_sums(page.items, counted), page.next)

    async def cycle(self, only: frozenset[str] | None, cycle_id: str) -> Row:
        """Return one poll cycle with its sums at the companies in `only`. Raises `NotFound`."""
        async with self._database.seeing(only) as tx:
            row = await OverviewStore(tx, only).cycle(cycle_id)
            if row is None:
                raise NotFound(f"there is no poll cycle {cycle_id}; cycles are kept for 30 days")
            return _with_sums([row], await CycleStore(tx).counts([cycle_id], only))[0]

    async def console(self, only: frozenset[str] | None) -> Row:
        """Return what the console shows of the companies in `only`: counts, stores and destinations with states."""
        async with self._database.seeing(only) as tx:
            store = OverviewStore(tx, only)
            by_destination = await store.delivery_states()
            return {
                "counts": await store.counts(),
                "cart_states": await store.cart_states(),
                "integrations": [dict(row) for row in await store.integrations(MOST)],
                "destinations": [
                    {**row, "deliveries": by_destination.get((row["company_id"], row["id"]), {})}
                    for row in await store.destinations(MOST)
                ],
            }


async def _of(tx: Transaction, company_id: str) -> ListingStore:
    """Return the company's store. Raises `NotFound` when there is no such company."""
    store = ListingStore(tx, company_id)
    if not await store.has_company():
        raise NotFound(f"there is no company {company_id}")
    return store


def _page(rows: list[Row], paging: Paging, at: str) -> Listed:
    """Cut a list that was read one row too far, which tells whether there is more."""
    items = rows[: paging.limit]
    is_last = len(rows) <= paging.limit
    return Listed(items, None if is_last else write_place(items[-1][at], items[-1]["id"]))


def cart_row(row: Found) -> Row:
    """Return a cart for a list: amounts with minor units, contact masked, no recovery link."""
    currency = row["currency"]
    money = [amounts(name, row[name], currency) for name in ("total", "subtotal", "discount", "tax")]
    link = row["recovery_url"]
    return {
        **{name: value for name, value in row.items() if name not in {"total", "subtotal", "discount", "tax"}},
        **{name: value for part in money for name, value in part.items()},
        "recovery_host": host_of(link),
        "is_contactable": bool(row["email"] or row["phone"]),
        "email_masked": mask_email(row["email"]),
        "phone_masked": mask_phone(row["phone"]),
    }


def host_of(link: str | None) -> str | None:
    """Return the host of a recovery link; the link itself is a secret of its shopper."""
    try:
        return urlsplit(link).hostname if link else None
    except ValueError:
        return None


def _customer(row: Found) -> Row | None:
    if row["customer_id"] is None or row["consent_email"] is None:
        return None
    names = ("email", "phone", "first_name", "last_name", "locale", "country", "consent_email", "consent_sms")
    return {"id": row["customer_id"], **{name: row[name] for name in names}}


def _item(line: Found, currency: str) -> Row:
    priced = amounts("unit_price", line["unit_price"], currency) | amounts("line_total", line["line_total"], currency)
    return {**line, **priced}


def _held(row: Found) -> Row:
    return {**row, **amounts("total", row["total"], row["currency"])}


def _attempt(row: Found) -> Row:
    answer = row["answer"]
    shown = None if answer is None else bytes(answer).decode("utf-8", "replace").replace("\0", "")[:ANSWER_SHOWN]
    return {**row, "answer": shown, "in_words": outcome_in_words(row["outcome"], row["status"])}


def _with_sums(rows: Sequence[Found], counted: Sequence[tuple[str, str, Tally]]) -> list[Row]:
    """Return each cycle's report over all companies and workers."""
    tallies: dict[str, list[Tally]] = {}
    for cycle_id, _company, tally in counted:
        tallies.setdefault(cycle_id, []).append(tally)
    return [_report(row, tallies.get(row["id"], [])) for row in rows]


def _report(row: Found, tallies: Sequence[Tally]) -> Row:
    facts = CycleFacts(row["id"], row["kind"], row["started_at"], row["finished_at"])
    report = cycle_report(facts, tallies)
    # What only the run itself knew is not kept with the cycle; the runs list has each store's poll.
    for name in ("integrations", "waiting", "held_elsewhere"):
        del report[name]
    return report | {"interval_seconds": row["interval_seconds"]}
