"""The texts we ask Shopify with, and why they fit its limits.

What a query costs is checked before it is run, against 1,000 points; scalars cost nothing, an object 1. A connection
grows more slowly than its `first`: figures published for real shops fit 2 + 2 ln(first) x the node's cost. With that,
in the newest version:

    one line        node, image, product, variant, two money bags of two objects      8
    lines of a cart 2 + 2 ln(50) x 8                                                   64.6
    one cart        node, customer, e-mail, phone, SMS consent, two addresses,
                    four money bags of two objects, its lines                          79.6
    a page of 100   2 + 2 ln(100) x 79.6                                               735
    a page of 250   2 + 2 ln(250) x 79.6                                               881

Ids asked for one by one are not discounted: 12 carts x 79.6 = 955. A shop that counts otherwise refuses with
``MAX_COST_EXCEEDED``, and the adapter halves its page. The shopper's own currency alone is asked for: the shop's
money would cost another object per amount.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import lru_cache

LARGEST_PAGE = 250
LINES = 50
CARTS_PER_REREAD = 12
DEEPEST_LIST = 25_000  # Shopify pages no list deeper than this
SMS_CONSENT_SINCE = "2026-10"  # before that, the phone number itself says whether it may be written to
LOOKBACK_DAYS = (1, 3, 7, 30)

_CART = """
fragment Money on MoneyBag { presentmentMoney { amount currencyCode } }
fragment Place on MailingAddress { firstName lastName phone countryCodeV2 }
fragment Cart on AbandonedCheckout {
  id createdAt updatedAt completedAt abandonedCheckoutUrl discountCodes
  totalPriceSet { ...Money }
  subtotalPriceSet { ...Money }
  totalDiscountSet { ...Money }
  totalTaxSet { ...Money }
  customer {
    id firstName lastName locale
    defaultEmailAddress { emailAddress marketingState marketingUpdatedAt }
    defaultPhoneNumber { phoneNumber %(sms)s }
  }
  shippingAddress { ...Place }
  billingAddress { ...Place }
  lineItems(first: %(lines)d) {
    nodes {
      id title variantTitle sku quantity
      image { url }
      product { id }
      variant { id }
      discountedUnitPriceSet { ...Money }
      discountedTotalPriceSet { ...Money }
    }
    pageInfo { hasNextPage }
  }
}
"""

_PAGE = """
query Carts($first: Int!, $after: String, $query: String!) {
  abandonedCheckouts(first: $first, after: $after, query: $query, sortKey: ID) {
    nodes { ...Cart }
    pageInfo { hasNextPage endCursor }
  }
}
"""

_REREAD = """
query Again($ids: [ID!]!) {
  nodes(ids: $ids) { ...Cart }
}
"""


@lru_cache(maxsize=16)
def page_query(version: str) -> str:
    """Return the query for one page of carts, as `version` understands it."""
    return _PAGE + _cart(version)


@lru_cache(maxsize=16)
def reread_query(version: str) -> str:
    """Return the query for single carts by id."""
    return _REREAD + _cart(version)


def check_query(now: datetime) -> tuple[str, dict[str, str]]:
    """Return the query of a connection check and its variables, one search per look-back."""
    names = [f"last{days}" for days in LOOKBACK_DAYS]
    declared = ", ".join(f"${name}: String!" for name in names)
    counts = " ".join(f"{name}: abandonedCheckoutsCount(query: ${name}) {{ count precision }}" for name in names)
    text = (
        f"query Check({declared}) {{ shop {{ id name myshopifyDomain currencyCode }}"
        f" currentAppInstallation {{ accessScopes {{ handle }} }} {counts} }}"
    )
    since = [now - timedelta(days=days) for days in LOOKBACK_DAYS]
    searches = [f"{search_since(moment)} recovery_state:not_recovered" for moment in since]
    return text, dict(zip(names, searches, strict=True))


def search_since(window_from: datetime, above: int | None = None) -> str:
    """Return the search for carts modified at or after `window_from` (aware UTC), recovered ones included.

    The time is quoted: unquoted ones count by the day. `>=`, because `>` means different things in different versions.
    `above` leaves out the ids up to it.
    """
    search = f"updated_at:>='{window_from.strftime('%Y-%m-%dT%H:%M:%SZ')}'"
    return search if above is None else f"{search} id:>{above}"


def _cart(version: str) -> str:
    has_consent = version >= SMS_CONSENT_SINCE
    sms = "smsMarketingConsent { state updatedAt }" if has_consent else "marketingState marketingUpdatedAt"
    return _CART % {"sms": sms, "lines": LINES}
