"""WooCommerce: orders of REST v3 that are carts, on hosts of every kind."""

from backend.platforms.woocommerce.adapter import WooCommercePlatform

__all__ = ["WooCommercePlatform"]
