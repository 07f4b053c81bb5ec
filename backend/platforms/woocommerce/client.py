"""Asks a store for orders: signed over http, Basic over https; answers are a list of orders or an error."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from woocommerce.oauth import OAuth

from backend.errors import BadBody, OurFault, OutboundError, TryLater
from backend.outbound import HttpRequest, HttpResponse, Sends
from backend.platforms.woocommerce.refusals import Question, refusal
from backend.platforms.woocommerce.settings import WooCommerceCredentials, WooCommerceSettings

# PHP hosts take seconds for a page of orders; less than 20 s would give up on working stores.
DEADLINE = timedelta(seconds=40)
NUMBER = re.compile(r"[0-9]{1,18}")
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# Only what is read: the rest of an order (addresses of devices, notes, keys) never leaves the store.
FIELDS = (
    "id,number,status,created_via,currency,date_created_gmt,date_modified,date_modified_gmt,date_paid_gmt,date_completed_gmt,"
    "total,total_tax,discount_total,discount_tax,customer_id,billing,line_items,coupon_lines,meta_data,"
    "payment_url,needs_payment"
)


@dataclass(frozen=True, slots=True)
class Answer:
    """One list of orders. `total`: how many match, as the store says; None when it does not."""

    orders: list[Any]
    total: int | None
    server_time: datetime | None


class StoreClient:
    """One store's ``GET orders``."""

    def __init__(
        self,
        settings: WooCommerceSettings,
        credentials: WooCommerceCredentials,
        http: Sends,
        now: Callable[[], datetime],
    ) -> None:
        self._settings = settings
        self._credentials = credentials
        self._http = http
        self._now = now

    async def orders(self, query: Mapping[str, str]) -> Answer:
        """Return the orders that `query` asks for.

        Raises `TryLater`, `FixCredentials`, or `UnknownStatuses` when the store does not know some of ``status``.
        """
        try:
            response = await self._http.send(self._request(query))
        except OurFault:
            raise
        except OutboundError as error:
            raise TryLater(str(error), code=error.code) from error
        if response.status != 200:
            over_tls = self._settings.base_url.startswith("https://")
            raise refusal(response, Question(query.get("status", "").split(","), over_tls, self._now()))
        return Answer(_listed(response), _number(response.headers.get("x-wp-total")), response.date)

    def _request(self, query: Mapping[str, str]) -> HttpRequest:
        """Return the request; every call signs anew, since a store refuses a signature it has seen."""
        asked = urlencode({**query, "_fields": FIELDS})
        url = f"{self._settings.base_url}/wp-json/wc/v3/orders?{asked}"
        headers = {"Accept": "application/json"}
        if url.startswith("https://"):
            headers["Authorization"] = self._basic()
        else:
            url = self._signed(url)
        return HttpRequest("GET", url, headers, allow_http=self._settings.allow_http, deadline=DEADLINE)

    def _basic(self) -> str:
        pair = f"{self._credentials.consumer_key}:{self._credentials.consumer_secret}"
        return f"Basic {base64.b64encode(pair.encode()).decode()}"

    def _signed(self, url: str) -> str:
        """Return `url` with OAuth 1.0a parameters, each parameter once; this very text is what is sent."""
        signer = OAuth(
            url=url,
            consumer_key=self._credentials.consumer_key,
            consumer_secret=self._credentials.consumer_secret,
            version="wc/v3",
            method="GET",
            oauth_timestamp=int(self._now().timestamp()),
        )
        return str(signer.get_oauth_url())


def _listed(response: HttpResponse) -> list[Any]:
    """Return the list in a 200 answer; warnings of PHP before it, or a page of HTML, are no list."""
    if response.body.startswith(BYTE_ORDER_MARK):  # some themes put one before everything
        response = replace(response, body=response.body[len(BYTE_ORDER_MARK) :])
    try:
        orders = response.json()
    except BadBody as error:
        raise TryLater("the store's answer is not JSON", code=error.code) from error
    if not isinstance(orders, list):
        raise TryLater("the store's answer is not a list of orders", code=BadBody.code)
    return orders


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and NUMBER.fullmatch(text) else None
