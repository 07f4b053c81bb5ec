"""One abandoned checkout, as state and as the GraphQL node that is answered for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

CENT = Decimal("0.01")
SHOP_RATE = Decimal("0.90")  # what one unit of another currency is worth in the shop's own
SMS_CONSENT_STATES = {"NOT_SUBSCRIBED": "NEVER_SUBSCRIBED"}


@dataclass(frozen=True, slots=True)
class CartSpec:
    """What a test or the demo says of a checkout; the rest of the node is made up from its number.

    `currency` is the shopper's own; the shop's amounts are derived when it differs. `lines` is how many lines the
    total is spread over, `titles` what they are called. `customer` false gives ``customer: null``, as for draft orders
    and app-made checkouts.
    """

    email: str | None = "a@example.com"
    phone: str | None = None
    total: str = "10.00"
    discount: str = "0.00"
    tax: str | None = None
    currency: str = "USD"
    lines: int = 1
    customer: bool = True
    address: bool = True
    address_phone: str | None = None
    country: str = "US"
    locale: str = "en"
    email_state: str = "SUBSCRIBED"
    sms_state: str = "NOT_SUBSCRIBED"
    discount_codes: tuple[str, ...] = ()
    first_name: str = "Ada"
    last_name: str = "Okafor"
    titles: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The shopper's whole name."""
        return f"{self.first_name} {self.last_name}"


@dataclass(slots=True)
class Checkout:
    """One checkout. Times are aware UTC and keep their fractions, although answers show whole seconds."""

    number: int
    spec: CartSpec
    created_at: datetime
    updated_at: datetime
    domain: str
    shop_currency: str
    completed_at: datetime | None = None
    closed: bool = False
    _node: dict[str, Any] | None = field(default=None, repr=False)

    @property
    def gid(self) -> str:
        """The checkout's global id."""
        return f"gid://shopify/AbandonedCheckout/{self.number}"

    def changed(self) -> None:
        """Forget the rendered node after a change of state."""
        self._node = None

    def node(self) -> dict[str, Any]:
        """Return the node with every scalar field of the schema; line items as a plain list."""
        if self._node is None:
            self._node = _node(self)
        return self._node


def shown(moment: datetime | None) -> str | None:
    """Return a time as Shopify prints it: UTC, whole seconds, ``Z``."""
    return None if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _node(checkout: Checkout) -> dict[str, Any]:
    spec, number = checkout.spec, checkout.number
    total, discount = Decimal(spec.total), Decimal(spec.discount)
    tax = None if spec.tax is None else Decimal(spec.tax)
    subtotal = total - (tax or 0)
    address = _address(checkout) if spec.address else None
    return {
        "__typename": "AbandonedCheckout",
        "id": checkout.gid,
        "name": f"#{number}",
        "abandonedCheckoutUrl": f"https://{checkout.domain}/60000000001/checkouts/ac/Z2NwLXVzLWVhc3QxOjAx{number}"
        f"/recover?key=0f1e2d3c4b5a69788796a5b4c3d2e1f0&locale={spec.locale}",
        "createdAt": shown(checkout.created_at),
        "updatedAt": shown(checkout.updated_at),
        "completedAt": shown(checkout.completed_at),
        "customer": _customer(checkout) if spec.customer else None,
        "billingAddress": address,
        "shippingAddress": address,
        "discountCodes": list(spec.discount_codes),
        "note": "",
        "customAttributes": [],
        "taxesIncluded": False,
        "defaultCursor": "",
        "subtotalPriceSet": _bag(checkout, subtotal),
        "totalPriceSet": _bag(checkout, total),
        "totalDiscountSet": _bag(checkout, discount),
        "totalLineItemsPriceSet": _bag(checkout, subtotal + discount),
        "totalTaxSet": None if tax is None else _bag(checkout, tax),
        "totalDutiesSet": None,
        "lineItems": _lines(checkout, subtotal),
    }


def _bag(checkout: Checkout, amount: Decimal) -> dict[str, Any]:
    """Return a money bag: the shopper's amount, and the shop's at a fixed made-up rate."""
    own = amount if checkout.spec.currency == checkout.shop_currency else (amount * SHOP_RATE).quantize(CENT)
    return {
        "shopMoney": {"amount": str(own), "currencyCode": checkout.shop_currency},
        "presentmentMoney": {"amount": str(amount), "currencyCode": checkout.spec.currency},
    }


def _lines(checkout: Checkout, subtotal: Decimal) -> list[dict[str, Any]]:
    count = checkout.spec.lines
    if count == 0:
        return []
    each = (subtotal / count).quantize(CENT)
    shares = [each] * (count - 1) + [subtotal - each * (count - 1)]
    return [_line(checkout, index, share) for index, share in enumerate(shares)]


def _line(checkout: Checkout, index: int, amount: Decimal) -> dict[str, Any]:
    price, product, titles = _bag(checkout, amount), 7_000_000_000_000 + index, checkout.spec.titles
    return {
        "__typename": "AbandonedCheckoutLineItem",
        "id": f"gid://shopify/AbandonedCheckoutLineItem/{checkout.number}{index:03d}",
        "title": titles[index] if index < len(titles) else f"Everyday Merino Crew Sweater {index + 1}",
        "variantTitle": "Medium / Charcoal",
        "sku": f"EMC-{index + 1:03d}-M-CHA",
        "quantity": 1,
        "customAttributes": [],
        "image": {
            "id": f"gid://shopify/ImageSource/{product + 500}",
            "altText": None,
            "url": f"https://cdn.shopify.com/s/files/1/0600/0000/0001/files/merino-crew-{index + 1}.jpg?v=1760000000",
        },
        "product": {"__typename": "Product", "id": f"gid://shopify/Product/{product}", "title": "Merino Crew"},
        "variant": {
            "__typename": "ProductVariant",
            "id": f"gid://shopify/ProductVariant/{product + 40_000_000_000_000}",
            "title": "Medium / Charcoal",
            "sku": f"EMC-{index + 1:03d}-M-CHA",
        },
        "originalUnitPriceSet": price,
        "originalTotalPriceSet": price,
        "discountedUnitPriceSet": price,
        "discountedTotalPriceSet": price,
    }


def _customer(checkout: Checkout) -> dict[str, Any]:
    spec, at = checkout.spec, shown(checkout.created_at)
    email = spec.email and {
        "emailAddress": spec.email,
        "marketingState": spec.email_state,
        "marketingOptInLevel": "SINGLE_OPT_IN",
        "marketingUpdatedAt": at,
        "validFormat": True,
    }
    phone = spec.phone and {
        "phoneNumber": spec.phone,
        "marketingState": spec.sms_state,
        "marketingUpdatedAt": at,
        "smsMarketingConsent": {
            "state": SMS_CONSENT_STATES.get(spec.sms_state, spec.sms_state),
            "updatedAt": at,
        },
    }
    return {
        "__typename": "Customer",
        "id": f"gid://shopify/Customer/{5_000_000_000_000 + checkout.number}",
        "firstName": spec.first_name,
        "lastName": spec.last_name,
        "displayName": spec.name,
        "email": spec.email,
        "phone": spec.phone,
        "locale": spec.locale,
        "numberOfOrders": "0",
        "tags": [],
        "defaultEmailAddress": email or None,
        "defaultPhoneNumber": phone or None,
    }


def _address(checkout: Checkout) -> dict[str, Any]:
    spec = checkout.spec
    return {
        "__typename": "MailingAddress",
        "id": f"gid://shopify/MailingAddress/{9_000_000_000_000 + checkout.number}?model_name=Address",
        "firstName": spec.first_name,
        "lastName": spec.last_name,
        "name": spec.name,
        "address1": "12 Harbour Street",
        "city": "Portsmouth",
        "province": None,
        "zip": "00210",
        "country": None,
        "countryCode": spec.country,
        "countryCodeV2": spec.country,
        "phone": spec.address_phone,
    }
