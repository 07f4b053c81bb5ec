"""What a quote does not hold: images and links of its products, asked over GraphQL by sku."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from backend.errors import PlatformError
from backend.platforms.magento.client import StoreClient
from backend.platforms.magento.values import inner
from backend.platforms.reading import text_or_none

MOST_SKUS = 50  # in one query: the store loads each of them
MISSING = "product_details_missing"
QUERY = (
    "query($skus:[String!]!,$size:Int!){products(filter:{sku:{in:$skus}},pageSize:$size)"
    "{items{sku url_key url_suffix thumbnail{url}}}}"
)


@dataclass(frozen=True, slots=True)
class Product:
    """Where a product can be seen."""

    image_url: str | None = None
    url: str | None = None


@dataclass(slots=True)
class ProductDetails:
    """The products that a poll has met, each asked once; one that the store does not show stays without details.

    They never stop a poll: when the store does not answer, the poll goes on without and says so.
    """

    client: StoreClient
    base_url: str
    known: dict[str, Product] = field(default_factory=dict)
    is_off: bool = False

    async def learn(self, skus: Iterable[str]) -> Mapping[str, Product]:
        """Return what is known of products, after asking for those of `skus` that are new."""
        new = sorted(set(skus) - self.known.keys())
        for begin in range(0, len(new), MOST_SKUS):
            if self.is_off:
                break
            await self._ask(new[begin : begin + MOST_SKUS])
        return self.known

    async def _ask(self, skus: list[str]) -> None:
        try:
            data = await self.client.graphql(QUERY, {"skus": skus, "size": len(skus)})
        except PlatformError as error:
            if error.code == "throttled":
                raise
            self.is_off = True
            return
        self.known |= dict.fromkeys(skus, Product())
        items = inner(data, "products").get("items")
        for item in items if isinstance(items, list) else []:
            sku = text_or_none(item.get("sku")) if isinstance(item, dict) else None
            if sku in self.known:
                self.known[sku] = self._product(item)

    def _product(self, item: dict[str, Any]) -> Product:
        key, suffix = text_or_none(item.get("url_key")), text_or_none(item.get("url_suffix")) or ""
        image = text_or_none(inner(item, "thumbnail").get("url"))
        image = image if image is not None and image.startswith(("https://", "http://")) else None
        return Product(image, None if key is None else f"{self.base_url}/{key}{suffix}")
