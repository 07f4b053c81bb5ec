"""What carts refer to: customers, product pictures and the products of orders, asked once per poll and many at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from backend.errors import FixCredentials, TryLater
from backend.platforms.bigcommerce.client import StoreClient
from backend.platforms.bigcommerce.orders import Json, order_number
from backend.platforms.bigcommerce.refusals import SCOPE_MISSING
from backend.platforms.reading import text_or_none

AT_ONCE = 50  # ids in one question, which keeps its address short
MOST_LINES = 250
PICTURE_ONLY = {"include": "primary_image", "include_fields": "id"}


class Lookups:
    """The records of one store that its carts name by id."""

    def __init__(self, client: StoreClient) -> None:
        self._client = client
        self._customers: dict[str, Json] = {}
        self._images: dict[str, str] = {}
        self.may_see_products = True

    async def customers(self, wanted: Iterable[str]) -> Mapping[str, Json]:
        """Return customers by id, as far as the store still has them."""
        for ids in _batches(wanted, self._customers):
            found = await self._client.data("/v3/customers", {"id:in": ",".join(ids), "limit": str(MOST_LINES)})
            self._customers |= {number: {} for number in ids} | {str(one.get("id")): one for one in found}
        return self._customers

    async def images(self, wanted: Iterable[str]) -> Mapping[str, str]:
        """Return addresses of product pictures by product id; none at all where the token may not see products."""
        for ids in _batches(wanted, self._images) if self.may_see_products else ():
            query = {"id:in": ",".join(ids), "limit": str(MOST_LINES)} | PICTURE_ONLY
            try:
                found = await self._client.data("/v3/catalog/products", query)
            except FixCredentials as refused:
                if refused.code != SCOPE_MISSING:
                    raise
                self.may_see_products = False
                break
            self._images |= dict.fromkeys(ids, "") | {str(one.get("id")): _picture(one) for one in found}
        return {number: url for number, url in self._images.items() if url}

    async def products_of(self, order: Json) -> list[Json]:
        """Return the products of an order that does not hold them itself."""
        query = {"page": "1", "limit": str(MOST_LINES)}
        body = (await self._client.get(f"/v2/orders/{order_number(order)}/products", query)).body
        if body is None:
            return []
        if not isinstance(body, list):
            raise TryLater("BigCommerce's answer is not a list of products", code="bad_body")
        return [product for product in body if isinstance(product, dict)]


def _batches(wanted: Iterable[str], known: Mapping[str, Any]) -> list[list[str]]:
    missing = sorted(set(wanted) - known.keys())
    return [missing[start : start + AT_ONCE] for start in range(0, len(missing), AT_ONCE)]


def _picture(product: Json) -> str:
    image = product.get("primary_image")
    url = text_or_none(image.get("url_standard")) if isinstance(image, dict) else None
    return url if url is not None and url.startswith(("https://", "http://")) else ""
