"""Asks a store: signed searches over REST, public product details over GraphQL."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote, urlencode

import orjson

from backend.errors import BadBody, OurFault, OutboundError, TryLater
from backend.outbound import HttpRequest, HttpResponse, Sends
from backend.platforms.magento.refusals import message_of, refusal, unsent
from backend.platforms.magento.search import CART_FIELDS, Search, nothing
from backend.platforms.magento.settings import MagentoCredentials, MagentoSettings
from backend.platforms.magento.signing import authorization

# Extensions slow searches down badly; less than 30 s would give up on working stores.
DEADLINE = timedelta(seconds=40)


@dataclass(frozen=True, slots=True)
class Answer:
    """One found page. `total`: how many match the whole search, as the store says; None when it does not."""

    records: list[Any]
    total: int | None
    server_time: datetime | None


class StoreClient:
    """One store's REST and GraphQL."""

    def __init__(
        self,
        settings: MagentoSettings,
        credentials: MagentoCredentials,
        http: Sends,
        now: Callable[[], datetime],
    ) -> None:
        self._settings = settings
        self._credentials = credentials
        self._http = http
        self._now = now

    async def search(self, path: str, search: Search, deadline: timedelta = DEADLINE) -> Answer:
        """Return what `search` finds at ``carts/search`` or ``orders``. Raises `TryLater` or `FixCredentials`."""
        response = await self._get(path, search.pairs(), deadline)
        body = _object(response)
        records, total = body.get("items"), body.get("total_count")
        total = total if isinstance(total, int) and not isinstance(total, bool) and total >= 0 else None
        if records is None and total == 0:  # what the field filter makes of an empty list
            records = []
        if not isinstance(records, list):
            raise TryLater(message_of(body) or "the store's answer is not a list", code="no_list")
        return Answer(records, total, response.date)

    async def soundness(self, path: str = "carts/search") -> Answer:
        """Return what the store says to a search that no record matches: its own trouble shows, a record's does not."""
        return await self.search(path, Search((nothing(),), 1, CART_FIELDS))

    async def totals(self, quote_id: str) -> dict[str, Any]:
        """Return a quote's totals. Raises `TryLater` or `FixCredentials`."""
        return _object(await self._get(f"carts/{quote_id}/totals", [], DEADLINE))

    async def graphql(self, query: str, variables: Mapping[str, Any]) -> dict[str, Any]:
        """Return the data of a public GraphQL query; no credential is sent. Raises `TryLater` or `FixCredentials`."""
        view = self._settings.options.store_view
        headers = {"Accept": "application/json"} | ({} if view == "all" else {"Store": view})
        body = orjson.dumps({"query": query, "variables": variables})
        url, http = f"{self._settings.base_url}/graphql", self._settings.allow_http
        answer = _object(await self._send(HttpRequest("POST", url, headers, body, allow_http=http, deadline=DEADLINE)))
        data = answer.get("data")
        if not isinstance(data, dict):
            raise TryLater("the store's GraphQL answers no data", code="no_data")
        return data

    async def _get(self, path: str, query: Sequence[tuple[str, str]], deadline: timedelta) -> HttpResponse:
        url = f"{self._settings.base_url}/rest/{self._settings.options.store_view}/V1/{path}"
        headers = {
            "Accept": "application/json",
            "Authorization": authorization(self._credentials, url, query, self._now()),
        }
        asked = f"{url}?{urlencode(query, quote_via=quote)}" if query else url
        return await self._send(
            HttpRequest("GET", asked, headers, allow_http=self._settings.allow_http, deadline=deadline)
        )

    async def _send(self, request: HttpRequest) -> HttpResponse:
        try:
            response = await self._http.send(request)
        except OurFault:
            raise
        except OutboundError as error:
            raise unsent(error) from error
        if response.status != 200:
            raise refusal(response, self._now(), signed=self._credentials.signs)
        return response


def _object(response: HttpResponse) -> dict[str, Any]:
    """Return the object in a 200 answer; a page of HTML or PHP's own words are none."""
    try:
        body = response.json()
    except BadBody as error:
        raise TryLater("the store's answer is not JSON", code=error.code) from error
    if not isinstance(body, dict):
        raise TryLater("the store's answer is not an object", code=BadBody.code)
    return body
