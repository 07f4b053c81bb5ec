"""Questions by id: quotes, their orders, their totals; a record that the store cannot load stops none of the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from backend.errors import TryLater
from backend.platforms.magento.client import Answer, StoreClient
from backend.platforms.magento.refusals import NEVER_A_RECORD
from backend.platforms.magento.search import CART_FIELDS, ORDER_FIELDS, Search, among
from backend.platforms.magento.values import Record

MOST_RECORDS = 100
MOST_QUOTES = 50  # asked about in one question for orders, which leaves room for several orders of one quote

# Makes the path and the search that ask for some ids.
Question = Callable[[Sequence[int]], tuple[str, Search]]


@dataclass(slots=True)
class Told:
    """What came back: records, and the ids that the store failed on, each with what it said."""

    records: list[Any] = field(default_factory=list)
    failed: dict[int, str] = field(default_factory=dict)
    server_time: datetime | None = None


@dataclass(frozen=True, slots=True)
class Questions:
    """Asks one store about single quotes."""

    client: StoreClient

    async def quotes(self, ids: Sequence[int]) -> Told:
        """Return these quotes, active or not; one that is gone is missing."""
        return await self._each(ids, lambda some: ("carts/search", _search("entity_id", some, CART_FIELDS)))

    async def orders(self, quote_ids: Sequence[int]) -> Told:
        """Return the orders made from these quotes."""
        told = Told()
        for begin in range(0, len(quote_ids), MOST_QUOTES):
            some = quote_ids[begin : begin + MOST_QUOTES]
            part = await self._each(some, lambda ids: ("orders", _search("quote_id", ids, ORDER_FIELDS)))
            told.records += part.records
            told.failed |= part.failed
        return told

    async def totals(self, quote_ids: Sequence[int]) -> tuple[dict[int, Record], dict[int, str]]:
        """Return the totals of these quotes by id, and the ids that the store failed on."""
        found: dict[int, Record] = {}
        failed: dict[int, str] = {}
        for number in quote_ids:
            try:
                found[number] = await self.client.totals(str(number))
            except TryLater as error:
                await self.sound_after(error)
                failed[number] = str(error)
        return found, failed

    async def sound_after(self, error: TryLater, path: str = "carts/search") -> Answer:
        """Return when only a record can have caused `error`, with the store's answer to a question without records.

        Raises `error` when the store is ill, and `FixCredentials` when it refuses us.
        """
        if error.code in NEVER_A_RECORD or error.retry_after is not None:
            raise error
        try:
            return await self.client.soundness(path)
        except TryLater:
            raise error from None

    async def _each(self, ids: Sequence[int], question: Question) -> Told:
        """Ask for all of `ids` at once, and in halves while the store fails on some of them."""
        if not ids:
            return Told()
        path, search = question(ids)
        try:
            answer = await self.client.search(path, search)
        except TryLater as error:
            await self.sound_after(error, path)
            if len(ids) == 1:
                return Told(failed={ids[0]: str(error)})
            return await self._halves(ids, question)
        if answer.total is not None and len(answer.records) < answer.total:
            if len(ids) == 1 and answer.total <= search.size:
                raise TryLater("the store answered some of the records only", code="incomplete_answer")
            if len(ids) > 1:
                return await self._halves(ids, question)
        return Told(list(answer.records), server_time=answer.server_time)

    async def _halves(self, ids: Sequence[int], question: Question) -> Told:
        half = len(ids) // 2
        first, second = await self._each(ids[:half], question), await self._each(ids[half:], question)
        moment = first.server_time or second.server_time
        return Told(first.records + second.records, first.failed | second.failed, moment)


def _search(field_name: str, ids: Sequence[int], fields: str) -> Search:
    return Search((among(field_name, ids),), MOST_RECORDS, fields, ("entity_id",))
