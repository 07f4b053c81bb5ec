"""BigCommerce: incomplete orders of REST v2 lead to the carts of REST v3."""

from backend.platforms.bigcommerce.adapter import BigCommercePlatform

__all__ = ["BigCommercePlatform"]
