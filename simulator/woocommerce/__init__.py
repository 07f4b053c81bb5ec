"""A WooCommerce host: several sites on one port, REST v3 orders, as real stores of 10.6 and 11.0 answer."""

from simulator.woocommerce.orders import Item, Order
from simulator.woocommerce.server import WooCommerceSimulator
from simulator.woocommerce.site import ApiKey, Site

__all__ = ["ApiKey", "Item", "Order", "Site", "WooCommerceSimulator"]
