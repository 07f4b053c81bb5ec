"""Shopify: abandoned checkouts through the Admin GraphQL API."""

from __future__ import annotations

from backend.platforms.shopify.adapter import ShopifyPlatform
from backend.platforms.shopify.queries import page_query

__all__ = ["ShopifyPlatform", "page_query"]
