"""What made-up carts are made of. Nobody here exists: example.com and the 555-01xx numbers are reserved for fiction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

Flavour = Literal["shopify", "woocommerce", "custom"]


@dataclass(frozen=True, slots=True)
class Product:
    """Something on sale; `price` in the currency of the store that sells it."""

    sku: str
    title: str
    price: Decimal
    variants: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Shop:
    """One flavour's store: `raw_version` as the real platform's adapter would write it, `checkout` a link's start."""

    currency: str
    locale: str
    country: str
    raw_version: str
    site: str
    checkout: str
    products: tuple[Product, ...]


def _product(sku: str, title: str, price: str, *variants: str) -> Product:
    return Product(sku, title, Decimal(price), variants)


SHOPS: Mapping[Flavour, Shop] = {
    "shopify": Shop(
        currency="USD",
        locale="en-US",
        country="US",
        raw_version="mock/shopify",
        site="https://harbor-supply.example.com",
        checkout="/checkouts/recover/",
        products=(
            _product("HS-JKT-01", "Waxed Field Jacket", "159.99", "S / Olive", "M / Olive", "L / Navy"),
            _product("HS-BOOT-02", "Leather Chukka Boots", "149.99", "8", "9", "10"),
            _product("HS-BAG-03", "Canvas Weekender Bag", "119.00", "Sand", "Charcoal"),
            _product("HS-TEE-04", "Heavyweight Cotton T-Shirt", "28.00", "S", "M", "L", "XL"),
            _product("HS-MUG-05", "Enamel Camp Mug", "16.50"),
            _product("HS-SOC-06", "Merino Hiking Socks", "19.95", "M", "L"),
            _product("HS-LMP-07", "Rechargeable Lantern", "64.00"),
            _product("HS-BLK-08", "Wool Throw Blanket", "98.00", "Heather Grey", "Rust"),
        ),
    ),
    "woocommerce": Shop(
        currency="TRY",
        locale="tr-TR",
        country="TR",
        raw_version="mock/woocommerce",
        site="https://cini-atolyesi.example.com",
        checkout="/checkout/order-pay/",
        products=(
            _product("CA-KLM-01", "El Dokuma Kilim 80x150", "3499.90", "Bordo", "Lacivert"),
            _product("CA-CNI-02", "İznik Çini Tabak 25 cm", "1250.00"),
            _product("CA-PST-03", "Pamuklu Peştemal", "349.90", "Turkuaz", "Kum"),
            _product("CA-CEZ-04", "Bronz Cezve, 3 Kişilik", "689.00"),
            _product("CA-KHV-05", "Türk Kahvesi 500 g", "329.50"),
            _product("CA-SBN-06", "Gül Sabunu, 6 Adet", "219.90"),
            _product("CA-LMB-07", "Mozaik Gece Feneri", "1890.00", "Mavi", "Amber"),
        ),
    ),
    "custom": Shop(
        currency="INR",
        locale="en-IN",
        country="IN",
        raw_version="mock/custom",
        site="https://bazaar-lane.example.com",
        checkout="/cart/restore/",
        products=(
            _product("BL-KRT-01", "Block Print Cotton Kurta", "1499.00", "S", "M", "L"),
            _product("BL-SAR-02", "Chanderi Silk Saree", "6899.00", "Rose", "Teal"),
            _product("BL-JUT-03", "Handmade Leather Juttis", "1799.00", "6", "7", "8"),
            _product("BL-TEA-04", "Assam Loose Leaf Tea 250 g", "449.00"),
            _product("BL-BRS-05", "Brass Diya, Set of 4", "899.00"),
            _product("BL-BED-06", "Jaipuri Double Bedsheet", "1299.00", "Indigo", "Marigold"),
            _product("BL-SPC-07", "Masala Dabba with Spices", "1150.00"),
        ),
    ),
}

PEOPLE: tuple[tuple[str, str], ...] = (
    ("Ayşe", "Öztürk"),
    ("Mehmet", "Kaya"),
    ("Elif", "Demir"),
    ("Burak", "Şahin"),
    ("Zeynep", "Çelik"),
    ("Emre", "Arslan"),
    ("Emily", "Carter"),
    ("James", "Walker"),
    ("Olivia", "Bennett"),
    ("Daniel", "Hughes"),
    ("Sophie", "Turner"),
    ("Michael", "Reed"),
    ("Priya", "Sharma"),
    ("Rahul", "Verma"),
    ("Ananya", "Iyer"),
    ("Arjun", "Patel"),
    ("Kavya", "Nair"),
    ("Rohan", "Mehta"),
)
AREA_CODES = ("202", "312", "415", "503", "617", "718")
# The three carts of the printed sample, 459.97 together: cart id, person, and the one product in it.
SAMPLE_LINES: tuple[tuple[str, tuple[str, str], Product], ...] = (
    ("cart_123", ("Emily", "Carter"), _product("HS-JKT-01", "Waxed Field Jacket", "159.99", "M / Olive")),
    ("cart_124", ("Ayşe", "Öztürk"), _product("HS-BOOT-02", "Leather Chukka Boots", "149.99", "9")),
    ("cart_125", ("Priya", "Sharma"), _product("HS-SPK-09", "Waterproof Travel Speaker", "149.99")),
)
