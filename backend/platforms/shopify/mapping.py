"""From a checkout as Shopify answers it to the normal form. Direct code: this runs for every cart of every poll."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from backend.domain.carts import Answer, Consent, Line, SeenCart, Shopper, SourceStatus
from backend.domain.money import to_decimal
from backend.errors import BadRecord
from backend.platforms.reading import email_or_none, phone_or_none, refuse_future, text_or_none, utc_time

# A refusal is something the shopper said: whoever never ticked the box (NOT_SUBSCRIBED) is unknown, and the receiver
# decides by its own law. REDACTED and INVALID addresses cannot be written to, whatever the shopper once said.
ANSWERS: Mapping[str, Answer] = {
    "SUBSCRIBED": Answer.YES,
    "UNSUBSCRIBED": Answer.NO,
    "REDACTED": Answer.NO,
    "INVALID": Answer.NO,
}
NO_VARIANT = "Default Title"  # what Shopify calls the only variant of a product without variants
_NOTHING: Mapping[str, Any] = {}
LONGEST_NUMBER = 20  # digits of an id, which is a number of 64 bits
# What direct code raises on a record of another shape.
WRONG_SHAPE = (KeyError, TypeError, AttributeError, ValueError, IndexError)


class CartReader:
    """Reads the checkouts of one answer. `answered_at` is the store's own clock, aware UTC."""

    def __init__(self, store_id: str, version: str, answered_at: datetime) -> None:
        self._store_id = store_id
        self._raw_version = f"shopify/{version}"
        self._answered_at = answered_at
        self.lines_were_cut = False

    def read(self, node: Mapping[str, Any]) -> SeenCart:
        """Return the cart. Raises `BadRecord` for a record that is not what Shopify documents."""
        try:
            return self._read(node)
        except WRONG_SHAPE as wrong:
            raise BadRecord(f"unexpected shape ({type(wrong).__name__})", code="unexpected_shape") from wrong

    def _read(self, node: Mapping[str, Any]) -> SeenCart:
        updated_at = utc_time(node["updatedAt"])
        refuse_future(updated_at, self._answered_at)
        completed, tax = node["completedAt"], node["totalTaxSet"]
        total = node["totalPriceSet"]["presentmentMoney"]
        lines = node["lineItems"]
        if lines["pageInfo"]["hasNextPage"]:
            self.lines_were_cut = True
        shopper, consent = _person(node)
        return SeenCart(
            source_cart_id=cart_number(node["id"]),
            store_id=self._store_id,
            status=SourceStatus.OPEN if completed is None else SourceStatus.COMPLETED,
            created_at=utc_time(node["createdAt"]),
            updated_at=updated_at,
            currency=_currency(total["currencyCode"]),
            total=to_decimal(total["amount"]),
            lines=tuple([_line(line) for line in lines["nodes"]]),
            shopper=shopper,
            consent=consent,
            completed_at=None if completed is None else utc_time(completed),
            subtotal=_amount(node["subtotalPriceSet"]),
            discount=_amount(node["totalDiscountSet"]),
            tax=None if tax is None else _amount(tax),
            coupons=_coupons(node["discountCodes"]),
            recovery_url=text_or_none(node["abandonedCheckoutUrl"]),
            raw_version=self._raw_version,
        )


def cart_number(gid: str) -> str:
    """Return the number at the end of ``gid://shopify/AbandonedCheckout/123``."""
    number = gid.rpartition("/")[2]
    if not number.isdecimal() or len(number) > LONGEST_NUMBER:
        raise BadRecord("the id has no number", code="bad_id")
    return number


def cart_gid(number: str) -> str:
    """Return the global id of a cart number."""
    return f"gid://shopify/AbandonedCheckout/{number}"


def _currency(code: str) -> str:
    if len(code) != 3 or not code.isascii() or not code.isalpha():
        raise BadRecord("not a currency", code="bad_currency")
    return code.upper()


def _amount(bag: Mapping[str, Any]) -> Decimal:
    return to_decimal(bag["presentmentMoney"]["amount"])


def _line(line: Mapping[str, Any]) -> Line:
    """Read one line; product and variant are null for deleted and custom items."""
    image, product, variant = line["image"], line["product"], line["variant"]
    sku, kind = text_or_none(line["sku"]), text_or_none(line["variantTitle"])
    return Line(
        id=_tail(line["id"]),
        title=text_or_none(line["title"]) or sku or "",
        quantity=to_decimal(line["quantity"]),
        unit_price=_amount(line["discountedUnitPriceSet"]),
        line_total=_amount(line["discountedTotalPriceSet"]),
        product_id=_tail(product["id"]) if product else None,
        variant_id=_tail(variant["id"]) if variant else None,
        sku=sku,
        variant=None if kind == NO_VARIANT else kind,
        image_url=text_or_none(image["url"]) if image else None,
    )


def _coupons(codes: Any) -> tuple[str, ...]:
    if not isinstance(codes, list) or not all(isinstance(code, str) for code in codes):
        raise BadRecord("discount codes are a list of texts", code="unexpected_shape")
    return tuple(codes)


def _person(node: Mapping[str, Any]) -> tuple[Shopper, Consent]:
    """Read who the shopper is: the customer first, then what the addresses know."""
    customer = node["customer"] or _NOTHING
    email = customer.get("defaultEmailAddress") or _NOTHING
    phone = customer.get("defaultPhoneNumber") or _NOTHING
    shipping, billing = node["shippingAddress"] or _NOTHING, node["billingAddress"] or _NOTHING
    country = text_or_none(shipping.get("countryCodeV2")) or text_or_none(billing.get("countryCodeV2"))
    number = (
        phone_or_none(phone.get("phoneNumber"), country)
        or phone_or_none(shipping.get("phone"), country)
        or phone_or_none(billing.get("phone"), text_or_none(billing.get("countryCodeV2")) or country)
    )
    first, last = _name(customer, shipping, billing)
    shopper = Shopper(
        id=_tail(customer["id"]) if customer else None,
        email=email_or_none(email.get("emailAddress")),
        phone=number,
        first_name=first,
        last_name=last,
        locale=text_or_none(customer.get("locale")),
        country=country,
        is_guest=not customer,
    )
    return shopper, _consent(email, phone)


def _name(*sources: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Return first and last name of the first source that has either: never half of one person, half of another."""
    for source in sources:
        first, last = text_or_none(source.get("firstName")), text_or_none(source.get("lastName"))
        if first or last:
            return first, last
    return None, None


def _consent(email: Mapping[str, Any], phone: Mapping[str, Any]) -> Consent:
    """Read the marketing consents; `at` is when the e-mail's was given, else the phone's."""
    if not email and not phone:
        return Consent()
    sms = phone.get("smsMarketingConsent") or _NOTHING
    at = email.get("marketingUpdatedAt") or sms.get("updatedAt") or phone.get("marketingUpdatedAt")
    return Consent(
        email=ANSWERS.get(email.get("marketingState", ""), Answer.UNKNOWN),
        sms=ANSWERS.get(sms.get("state") or phone.get("marketingState", ""), Answer.UNKNOWN),
        source="shopify",
        at=None if at is None else utc_time(at),
    )


def _tail(gid: str) -> str:
    """Return what stands behind the last slash of a global id, without its query."""
    tail = gid[gid.rfind("/") + 1 :]
    if "\x00" in tail:
        raise BadRecord("an id holds what no table can", code="bad_id")
    return tail.partition("?")[0] if "?" in tail else tail
