"""Who a cart is of: what the payment page took down, then what the cart and the customer's account know."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from backend.domain.carts import Answer, Consent, Shopper
from backend.platforms.reading import email_or_none, phone_or_none, text_or_none

CUSTOMER_CONSENT = "accepts_product_review_abandoned_cart_emails"
_NOTHING: Mapping[str, Any] = {}


def customer_number(record: Mapping[str, Any]) -> str | None:
    """Return the customer's id of an order or a cart as text; None for a guest, whose id is 0."""
    number = record.get("customer_id")
    return str(number) if isinstance(number, int) and not isinstance(number, bool) and number > 0 else None


def read_person(
    order: Mapping[str, Any], cart: Mapping[str, Any], customer: Mapping[str, Any]
) -> tuple[Shopper, Consent]:
    """Return shopper and consent; each of the three may be empty."""
    billing = order.get("billing_address")
    billing = billing if isinstance(billing, dict) else _NOTHING
    country = text_or_none(billing.get("country_iso2"))
    number = customer_number(order) or customer_number(cart)
    first, last = _name(billing, customer)
    shopper = Shopper(
        id=number,
        email=email_or_none(billing.get("email"))
        or email_or_none(cart.get("email"))
        or email_or_none(customer.get("email")),
        phone=phone_or_none(billing.get("phone"), country) or phone_or_none(customer.get("phone"), country),
        first_name=first,
        last_name=last,
        locale=text_or_none(cart.get("locale")) or text_or_none(order.get("customer_locale")),
        country=country,
        is_guest=number is None,
    )
    return shopper, _consent(order, customer)


def _name(*sources: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Return first and last name of the first source that has either: never half of one person, half of another."""
    for source in sources:
        first, last = text_or_none(source.get("first_name")), text_or_none(source.get("last_name"))
        if first or last:
            return first, last
    return None, None


def _consent(order: Mapping[str, Any], customer: Mapping[str, Any]) -> Consent:
    """Read the consent to e-mail. The account's word is about mails of just this kind, and outweighs a tick.

    An account that says no may never have been asked, but BigCommerce itself sends it no such mail. An opt-in box that
    was not ticked says nothing.
    """
    said = customer.get(CUSTOMER_CONSENT)
    if isinstance(said, bool):
        return Consent(email=Answer.YES if said else Answer.NO, source="bigcommerce:customer")
    if order.get("is_email_opt_in") is True:
        return Consent(email=Answer.YES, source="bigcommerce:checkout")
    return Consent()
