"""A Magento host: several stores on one port, REST V1 quotes and orders, GraphQL products, as 2.4 answers."""

from simulator.magento.server import MagentoSimulator
from simulator.magento.store import Integration, Item, Order, Quote, Store

__all__ = ["Integration", "Item", "MagentoSimulator", "Order", "Quote", "Store"]
