"""Asks a store's REST API, v2 and v3, and reads what each answer says of the rate limit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from backend.domain.buckets import Allowance
from backend.errors import BadBody, OurFault, OutboundError, TryLater
from backend.outbound import HttpRequest, HttpResponse, Sends
from backend.platforms.bigcommerce.refusals import header_number, refusal, says_not_there
from backend.platforms.bigcommerce.settings import BigCommerceCredentials, BigCommerceSettings

DEADLINE = timedelta(seconds=30)
# What the control panel calls the right to each resource, by the begin of its path.
SCOPES = {
    "/v2/orders": "Orders: read-only",
    "/v3/carts": "Carts: read-only",
    "/v3/customers": "Customers: read-only",
    "/v3/catalog": "Products: read-only",
}
_FIGURES = {
    "maximum": "x-rate-limit-requests-quota",
    "available": "x-rate-limit-requests-left",
    "window_ms": "x-rate-limit-time-window-ms",
    "reset_ms": "x-rate-limit-time-reset-ms",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """A success. `body`: parsed JSON, None for no content; `budget`: the rate limit, for people to read."""

    body: Any
    server_time: datetime | None
    budget: dict[str, float] | None


class StoreClient:
    """One store's API; only reads."""

    def __init__(
        self,
        settings: BigCommerceSettings,
        credentials: BigCommerceCredentials,
        http: Sends,
        now: Callable[[], datetime],
    ) -> None:
        self._settings = settings
        self._token = credentials.access_token
        self._http = http
        self._now = now

    async def get(self, path: str, query: Mapping[str, str] | None = None) -> Answer:
        """Return what is at `path`, which begins with ``/v2`` or ``/v3``. Raises `TryLater` or `FixCredentials`."""
        return self._read(await self._send(path, query or {}), path)

    async def find(self, path: str, query: Mapping[str, str] | None = None) -> Answer | None:
        """Return the single record at `path`, or None when the store says that it has none."""
        response = await self._send(path, query or {})
        return None if says_not_there(response) else self._read(response, path)

    async def data(self, path: str, query: Mapping[str, str]) -> list[dict[str, Any]]:
        """Return the records of a v3 list."""
        body = (await self.get(path, query)).body
        listed = body.get("data") if isinstance(body, dict) else None
        if not isinstance(listed, list):
            raise TryLater("BigCommerce's answer is not a list", code=BadBody.code)
        return [record for record in listed if isinstance(record, dict)]

    async def _send(self, path: str, query: Mapping[str, str]) -> HttpResponse:
        asked = f"?{urlencode(query)}" if query else ""
        request = HttpRequest(
            "GET",
            f"{self._settings.root}{path}{asked}",
            {"X-Auth-Token": self._token, "Accept": "application/json"},
            allow_http=self._settings.allow_http,
            deadline=DEADLINE,
        )
        try:
            return await self._http.send(request)
        except OurFault:
            raise
        except OutboundError as failed:
            raise TryLater(f"The store could not be reached: {failed}", code=failed.code) from failed

    def _read(self, response: HttpResponse, path: str) -> Answer:
        if response.status not in (200, 204):
            scope = next((scope for begin, scope in SCOPES.items() if path.startswith(begin)), "of this resource")
            raise refusal(response, scope, self._now())
        body = None
        if response.status == 200:
            try:
                body = response.json()
            except BadBody as bad:
                raise TryLater(f"BigCommerce's answer cannot be read: {bad}", code=bad.code) from bad
        return Answer(body, response.date, figures_in(response) or None)


def figures_in(response: HttpResponse) -> dict[str, float]:
    """Return the rate limit as the answer tells it, under the names that people read."""
    found = {name: header_number(response, header) for name, header in _FIGURES.items()}
    return {name: number for name, number in found.items() if number is not None}


def allowance_in(response: HttpResponse) -> Allowance | None:
    """Return the rate budget in requests that an answer tells of; None where it tells none.

    The store counts a fixed window, and begins anew with the next. A bucket of the whole quota that also refills would
    take nearly twice the quota in one window. Half at once and half as flow never takes more than the quota.
    """
    told = figures_in(response)
    if not {"maximum", "available", "window_ms"} <= told.keys() or told["window_ms"] < 1 or told["maximum"] < 2:
        return None
    half = told["maximum"] / 2
    return Allowance.read(
        {
            "maximum": half,
            "available": min(told["available"], half),
            "restored_per_second": half / (told["window_ms"] / 1000),
        }
    )
