"""The Magento adapter reads quotes and orders as carts, signs in, and says what is missing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

from backend.domain.carts import Answer, Exclusion, SourceStatus
from backend.errors import FixCredentials, PlatformError, TryLater
from backend.platforms.magento.refusals import message_of
from backend.platforms.magento.settings import MagentoCredentials, MagentoSettings
from backend.platforms.magento.signing import signature_base
from simulator.magento import Item
from simulator.magento.store import CARTS, ORDERS
from tests.platforms.magento_kit import HOUR, MINUTE, NOW, Shop, running_shop, set_aside

CUSTOMER = {"id": 5, "email": " Ann@Example.COM ", "firstname": "Ann", "lastname": "Lee"}


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    async with running_shop() as running:
        yield running


# --- carts ---


async def test_a_quote_is_an_open_cart(shop: Shop) -> None:
    items = [Item(qty=Decimal("1.5"), price=Decimal("10.10")), Item("CAP-2", "Cap", Decimal(2), Decimal("7.25"))]
    quote = shop.store.add(at=NOW - MINUTE, items=items, created_at=NOW - HOUR)
    cart = await shop.cart()
    assert (cart.source_cart_id, cart.status, cart.currency) == (str(quote.id), SourceStatus.OPEN, "USD")
    assert (cart.total, cart.subtotal, cart.discount) == (Decimal("29.65"), Decimal("29.65"), None)
    assert [(line.sku, line.quantity, line.unit_price, line.line_total) for line in cart.lines] == [
        ("MUG-1", Decimal("1.5"), Decimal("10.1"), Decimal("15.15")),
        ("CAP-2", Decimal(2), Decimal("7.25"), Decimal("14.50")),
    ]
    assert (cart.created_at, cart.updated_at) == (NOW - HOUR, NOW - MINUTE)


async def test_lines_are_converted_from_the_base_currency(shop: Shop) -> None:
    shop.store.add(total="10.00", currency="EUR", base_to_quote_rate=Decimal("0.92"))
    cart = await shop.cart()
    assert (cart.currency, cart.total, cart.lines[0].unit_price) == ("EUR", Decimal("9.2"), Decimal("9.2"))


async def test_totals_are_asked_for_where_that_is_wanted(shop: Shop) -> None:
    shop.store.add(total="10.00", discount=Decimal("2.50"), tax=Decimal("0.75"), coupons=["TEN"])
    cart = await shop.cart(ask_totals=True)
    assert (cart.total, cart.subtotal, cart.discount, cart.tax, cart.coupons) == (
        Decimal("8.25"), Decimal(10), Decimal("2.5"), Decimal("0.75"), ("TEN",),
    )  # fmt: skip


async def test_totals_that_the_store_fails_on_set_one_quote_aside(shop: Shop) -> None:
    bad, good = shop.store.add(total="1.00"), shop.store.add(total="2.00")
    shop.simulator.inject("status", status=500, match=f"/carts/{bad.id}/totals")
    page = await shop.page(ask_totals=True)
    assert ([cart.source_cart_id for cart in page.carts], set_aside([page])) == (
        [str(good.id)],
        [(str(bad.id), "store_cannot_total_it")],
    )


async def test_a_configurables_part_beside_it_is_no_line(shop: Shop) -> None:
    shop.store.add(items=[Item("TEE-L", "Tee", price=Decimal(20)), Item("TEE-L", "Tee L", price=Decimal(0))])
    assert [line.title for line in (await shop.cart()).lines] == ["Tee"]


async def test_a_gift_at_no_price_is_a_line(shop: Shop) -> None:
    shop.store.add(items=[Item(), Item("GIFT", "Gift", price=Decimal(0))])
    assert len((await shop.cart()).lines) == 2


async def test_a_customer_is_known_by_the_account(shop: Shop) -> None:
    shop.store.add(customer=CUSTOMER, billing={"telephone": "(02) 9374 4000", "country_id": "AU"})
    person = (await shop.cart()).shopper
    assert (person.id, person.email, person.first_name, person.is_guest) == ("5", "ann@example.com", "Ann", False)
    assert (person.phone, person.country) == ("+61293744000", "AU")


async def test_a_guest_is_known_by_what_was_typed(shop: Shop) -> None:
    shop.store.add(shipping={"email": "g@example.com", "firstname": "Gus", "telephone": "+61293744000"})
    person = (await shop.cart()).shopper
    assert (person.id, person.email, person.first_name, person.is_guest) == (None, "g@example.com", "Gus", True)


async def test_a_guest_who_typed_nothing_is_no_one(shop: Shop) -> None:
    shop.store.add()
    person = (await shop.cart()).shopper
    assert (person.email, person.phone, person.is_contactable) == (None, None, False)


@pytest.mark.parametrize(("subscribed", "answer"), [(True, Answer.YES), (False, Answer.NO), (None, Answer.UNKNOWN)])
async def test_a_newsletter_subscription_is_a_consent(shop: Shop, subscribed: bool | None, answer: Answer) -> None:
    shop.store.add(customer={**CUSTOMER, "extension_attributes": {"is_subscribed": subscribed}})
    assert (await shop.cart()).consent.email is answer


async def test_a_quote_without_lines_is_no_cart(shop: Shop) -> None:
    quote = shop.store.add(items=[])
    assert (await shop.page()).exclusions == (Exclusion(str(quote.id), "empty"),)


async def test_what_would_be_personal_and_is_not_used_is_not_asked_for(shop: Shop) -> None:
    shop.store.add()
    await shop.page()
    (asked,) = shop.asked()
    assert [word for word in ("street", "dob", "taxvat", "remote_ip") if word in asked["fields"]] == []


# --- links and images ---


@pytest.mark.parametrize(
    ("template", "link"),
    [
        (None, None),
        ("{store}/checkout/cart", "<store>/checkout/cart"),
        ("{store}/reclaim?quote_id={quote_id}&s={store_id}", "<store>/reclaim?quote_id=1&s=3"),
        ("https://pwa.example/cart/{quote_id}", "https://pwa.example/cart/1"),
    ],
)
async def test_the_recovery_link_is_made_of_the_template(shop: Shop, template: str | None, link: str | None) -> None:
    shop.store.add(store_id=3)
    wanted = None if link is None else link.replace("<store>", f"{shop.simulator.base_url}/s0")
    assert (await shop.cart(recovery_url=template)).recovery_url == wanted


@pytest.mark.parametrize("template", ["/checkout", "javascript:alert(1)", "{store}/{email}", "{store}/{quote_id", "{"])
def test_a_template_that_makes_no_link_is_refused(template: str) -> None:
    with pytest.raises(ValidationError):
        MagentoSettings.model_validate({"base_url": "https://a.example", "options": {"recovery_url": template}})


async def test_images_and_links_come_over_graphql(shop: Shop) -> None:
    image = {"url": "https://cdn.example/mug.jpg", "label": "Mug"}
    shop.store.products["MUG-1"] = {"url_key": "enamel-mug", "url_suffix": ".html", "thumbnail": image}
    shop.store.add(items=[Item(), Item("CAP,2", "Cap")])
    mug, cap = (await shop.cart()).lines
    assert (mug.image_url, mug.url) == (image["url"], f"{shop.simulator.base_url}/s0/enamel-mug.html")
    assert (cap.image_url, cap.url) == (None, None)


async def test_each_product_is_asked_for_once_in_a_poll(shop: Shop) -> None:
    for number in range(9):
        shop.store.add(at=NOW - MINUTE * number)
    platform = shop.platform(page_size=3)
    token = None
    for _ in range(3):
        token = (await platform.fetch_page(NOW - HOUR, token)).next_page_token
    assert len(shop.asked("/graphql")) == 1


async def test_no_credential_goes_with_a_question_to_graphql(shop: Shop) -> None:
    shop.store.add()
    await shop.page()
    headers = [seen.headers for seen in shop.simulator.requests if seen.path.endswith("/graphql")]
    assert ["Authorization" in each for each in headers] == [False]


async def test_a_store_without_graphql_is_polled_all_the_same(shop: Shop) -> None:
    shop.store.has_graphql = False
    shop.store.add()
    page = await shop.page()
    assert (len(page.carts), page.notices) == (1, ("product_details_missing",))


# --- purchases ---


async def test_a_bought_cart_is_as_its_order_shows_it(shop: Shop) -> None:
    quote = shop.store.add(
        at=NOW - HOUR, total="10.00", customer=CUSTOMER, discount=Decimal(1), currency="EUR", coupons=["TEN"],
        base_to_quote_rate=Decimal("0.5"),
    )  # fmt: skip
    shop.store.place(quote.id, at=NOW - MINUTE)
    cart = await shop.cart()
    assert (cart.status, cart.completed_at, cart.order_ref) == (SourceStatus.COMPLETED, NOW - MINUTE, "000000001")
    assert (cart.total, cart.currency, cart.discount, cart.coupons) == (Decimal(4), "EUR", Decimal(1), ("TEN",))
    assert (len(cart.lines), cart.shopper.email, cart.recovery_url) == (1, "ann@example.com", None)


@pytest.mark.parametrize(
    ("state", "is_active", "seen"),
    [
        ("new", False, "completed"),
        ("pending_payment", False, "completed"),
        ("closed", False, "completed"),
        ("canceled", False, "order_canceled"),
        ("pending_payment", True, "open"),
        ("canceled", True, "open"),
        ("processing", True, "completed"),
    ],
)
async def test_an_orders_state_tells_a_purchase(shop: Shop, state: str, is_active: bool, seen: str) -> None:
    quote = shop.store.add()
    shop.store.place(quote.id, state=state)
    shop.store.put(quote.id, is_active=is_active)
    page = await shop.page()
    assert [cart.status.value for cart in page.carts] + [out.reason for out in page.exclusions] == [seen]


async def test_a_reserved_order_number_is_no_purchase(shop: Shop) -> None:
    shop.store.add(reserved_order_id="000000009")
    assert (await shop.cart()).status is SourceStatus.OPEN


async def test_a_quote_merged_at_login_is_closed_and_not_bought(shop: Shop) -> None:
    guest, theirs = shop.store.add(), shop.store.add(customer=CUSTOMER, items=[])
    shop.store.merge(guest.id, theirs.id)
    page = await shop.page()
    assert page.exclusions == (Exclusion(str(guest.id), "closed_without_order"),)
    assert [(cart.source_cart_id, len(cart.lines)) for cart in page.carts] == [(str(theirs.id), 1)]


async def test_orders_are_asked_for_only_where_they_can_tell_something(shop: Shop) -> None:
    shop.store.add()
    await shop.page()
    assert shop.asked("/orders") == []


async def test_a_purchase_is_seen_when_a_cart_is_read_again(shop: Shop) -> None:
    quote = shop.store.add()
    shop.store.place(quote.id)
    (cart,) = (await shop.platform().reread([str(quote.id)])).carts
    assert cart.status is SourceStatus.COMPLETED


async def test_ids_that_magento_never_gives_are_gone(shop: Shop) -> None:
    page = await shop.platform().reread(["abc", "0", "99999999999999"])
    assert {out.reason for out in page.exclusions} == {"gone"}


# --- signing in ---


def test_the_signed_text_is_that_of_the_standard() -> None:
    pairs = [("b5", "=%3D"), ("a3", "a"), ("c@", ""), ("a2", "r b"), ("c2", ""), ("a3", "2 q")]
    pairs += [("oauth_consumer_key", "9djdj82h48djs9d2"), ("oauth_token", "kkk9d7dh3k39sjv7")]
    pairs += [("oauth_signature_method", "HMAC-SHA1"), ("oauth_timestamp", "137131201"), ("oauth_nonce", "7d8f3e4a")]
    assert signature_base("POST", "http://example.com/request", pairs) == (
        "POST&http%3A%2F%2Fexample.com%2Frequest&a2%3Dr%2520b%26a3%3D2%2520q%26a3%3Da%26b5%3D%253D%25253D%26c%2540%3D%26"
        "c2%3D%26oauth_consumer_key%3D9djdj82h48djs9d2%26oauth_nonce%3D7d8f3e4a%26oauth_signature_method%3DHMAC-SHA1%26"
        "oauth_timestamp%3D137131201%26oauth_token%3Dkkk9d7dh3k39sjv7"
    )  # the example of RFC 5849, section 3.4.1.1


async def test_a_token_alone_is_taken_where_the_store_allows_it(shop: Shop) -> None:
    shop.store.bearer_allowed = True
    shop.store.add()
    token = {"access_token": shop.store.integrations[0].access_token}
    page = await shop.platform(credentials=token).fetch_page(NOW - HOUR, None)
    assert len(page.carts) == 1


async def test_a_token_alone_that_is_refused_says_what_to_allow(shop: Shop) -> None:
    token = {"access_token": shop.store.integrations[0].access_token}
    with pytest.raises(FixCredentials) as caught:
        await shop.platform(credentials=token).fetch_page(NOW - HOUR, None)
    assert (caught.value.code, "standalone Bearer tokens" in caught.value.remedy) == ("rights_missing", True)


@pytest.mark.parametrize("left_out", ["consumer_key", "consumer_secret", "access_token_secret", "access_token"])
def test_some_of_the_four_values_are_not_enough(left_out: str) -> None:
    four = dict.fromkeys(("consumer_key", "consumer_secret", "access_token_secret", "access_token"), "x")
    del four[left_out]
    with pytest.raises(ValidationError):
        MagentoCredentials.model_validate(four)


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"consumer_key": "x" * 32}, "consumer_key_refused"),
        ({"access_token": "x" * 32}, "access_token_refused"),
        ({"access_token": "short"}, "access_token_refused"),
        ({"consumer_secret": "x"}, "signature_refused"),
        ({"access_token_secret": "x"}, "signature_refused"),
    ],
)
async def test_a_wrong_value_is_named(shop: Shop, wrong: dict[str, str], code: str) -> None:
    known = shop.store.integrations[0]
    names = ("consumer_key", "consumer_secret", "access_token", "access_token_secret")
    given = {name: getattr(known, name) for name in names} | wrong
    with pytest.raises(FixCredentials) as caught:
        await shop.platform(credentials=given).fetch_page(NOW - HOUR, None)
    assert caught.value.code == code


async def test_a_clock_too_far_ahead_for_a_signature_is_tried_later(shop: Shop) -> None:
    shop.simulator.clock_skew = timedelta(minutes=-11)
    with pytest.raises(TryLater) as caught:
        await shop.page()
    assert caught.value.code == "clock_apart"


# --- refusals ---


async def refusal(shop: Shop, status: int, body: str = "", **headers: str) -> PlatformError:
    shop.simulator.inject("status", status=status, body=body, headers=headers, times=9)
    with pytest.raises(PlatformError) as caught:
        await shop.page()
    return caught.value


@pytest.mark.parametrize(
    ("status", "body", "kind", "code"),
    [
        (401, '{"message":"The consumer isn\'t authorized"}', FixCredentials, "consumer_key_refused"),
        (403, "<html>Access Denied</html>", FixCredentials, "refused_before_magento"),
        (402, "", FixCredentials, "store_locked"),
        (404, '{"message":"Request does not match any route."}', FixCredentials, "rest_api_not_found"),
        (404, "<html>not here</html>", FixCredentials, "rest_api_not_found"),
        (302, "", FixCredentials, "store_moved"),
        (400, '{"message":"Column not found"}', TryLater, "question_refused"),
        (500, "", TryLater, "store_ill"),
        (503, "", TryLater, "store_busy"),
        (429, "", TryLater, "throttled"),
        (418, "", TryLater, "unexpected_status"),
        (401, '{"message":"The nonce is already being used"}', TryLater, "nonce_used"),
    ],
)
async def test_a_refusal_says_what_to_do(shop: Shop, status: int, body: str, kind: type, code: str) -> None:
    refused = await refusal(shop, status, body)
    assert (type(refused), refused.code) == (kind, code)


@pytest.mark.parametrize(
    ("parameters", "text"),
    [({"resources": "Magento_Cart::manage"}, "no %1, Magento_Cart::manage"), (["a"], "no a, %resources"), (None, None)],
)
def test_a_messages_parameters_are_filled_in(parameters: Any, text: str | None) -> None:
    said = message_of({"message": "no %1, %resources", "parameters": parameters})
    assert said == (text or "no %1, %resources")


async def test_an_unknown_store_view_is_named(shop: Shop) -> None:
    with pytest.raises(FixCredentials) as caught:
        await shop.page(store_view="nope")
    assert "store_view" in caught.value.remedy


async def test_a_maintenance_page_names_its_time(shop: Shop) -> None:
    shop.simulator.inject("maintenance")
    with pytest.raises(TryLater) as caught:
        await shop.page()
    assert caught.value.retry_after == timedelta(minutes=10)


# --- check ---


@pytest.mark.parametrize(("right", "name"), [(CARTS, "carts"), (ORDERS, "orders")])
async def test_a_check_names_the_right_that_is_missing(shop: Shop, right: str, name: str) -> None:
    shop.store.integrations[0].rights -= {right}
    check = await shop.platform().check()
    (wrong,) = [finding for finding in check.findings if not finding.ok]
    assert (wrong.name, right in wrong.detail, right in wrong.remedy) == (name, True, True)


async def test_a_check_says_how_many_carts_wait(shop: Shop) -> None:
    shop.store.add(at=NOW - HOUR)
    shop.store.add(at=NOW - timedelta(days=2))
    shop.store.add(at=NOW - timedelta(days=2), is_active=False)
    details = {finding.name: finding.detail for finding in (await shop.platform().check()).findings}
    assert details["waiting_carts"] == "Open carts by look-back: 1 day: 1, 3 days: 2, 7 days: 2, 30 days: 2."


async def test_a_quote_that_breaks_its_page_does_not_fail_the_check(shop: Shop) -> None:
    shop.store.add(at=NOW - HOUR, breaks="500")
    assert (await shop.platform().check()).ok


async def test_a_check_says_when_graphql_is_missing(shop: Shop) -> None:
    shop.store.has_graphql = False
    details = {finding.name: finding.detail for finding in (await shop.platform().check()).findings}
    assert "left out" in details["product_details"]


async def test_a_clock_that_is_off_is_named_with_its_remedy(shop: Shop) -> None:
    shop.simulator.clock_skew = timedelta(minutes=7)
    check = await shop.platform().check()
    assert [(finding.name, bool(finding.remedy)) for finding in check.findings if not finding.ok] == [("clock", True)]


# --- settings ---


@pytest.mark.parametrize(
    "url", ["http://a.example", "ftp://a.example", "https://a.example?x=1", "https://u:p@a.example"]
)
def test_a_base_url_that_cannot_be_used_is_refused(url: str) -> None:
    with pytest.raises(ValidationError):
        MagentoSettings.model_validate({"base_url": url})


@pytest.mark.parametrize("url", ["https://A.example/shop/", "https://a.example:443/shop"])
def test_one_store_has_one_base_url_however_it_is_spelt(url: str) -> None:
    assert MagentoSettings.model_validate({"base_url": url}).base_url == "https://a.example/shop"
