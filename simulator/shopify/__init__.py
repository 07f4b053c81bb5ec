"""Shopify's Admin GraphQL API as far as abandoned checkouts go: several shops on one host, one prefix each."""

from simulator.shopify.checkouts import CartSpec, Checkout
from simulator.shopify.server import ShopifySimulator
from simulator.shopify.shop import Shop

__all__ = ["CartSpec", "Checkout", "Shop", "ShopifySimulator"]
