"""BigCommerce's REST API, v2 orders and v3 carts, customers and products, of several stores on one port."""

from simulator.bigcommerce.records import Cart, Customer, Item, Order
from simulator.bigcommerce.server import BigCommerceSimulator
from simulator.bigcommerce.store import ALL_SCOPES, Store

__all__ = ["ALL_SCOPES", "BigCommerceSimulator", "Cart", "Customer", "Item", "Order", "Store"]
