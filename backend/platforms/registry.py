"""Platform name to adapter class, one line each."""

from __future__ import annotations

from backend.platforms.base import Platform
from backend.platforms.bigcommerce import BigCommercePlatform
from backend.platforms.custom import CustomPlatform
from backend.platforms.magento import MagentoPlatform
from backend.platforms.mock import MockPlatform
from backend.platforms.shopify import ShopifyPlatform
from backend.platforms.woocommerce import WooCommercePlatform

PLATFORMS: dict[str, type[Platform]] = {
    "bigcommerce": BigCommercePlatform,
    "custom": CustomPlatform,
    "magento": MagentoPlatform,
    "mock": MockPlatform,
    "shopify": ShopifyPlatform,
    "woocommerce": WooCommercePlatform,
}
