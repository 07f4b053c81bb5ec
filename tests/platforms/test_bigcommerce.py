"""BigCommerce: which orders lead to carts, what a cart says, and who it is of."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

from backend.domain.carts import Answer, SourceStatus
from backend.errors import FixCredentials, TryLater
from backend.platforms.bigcommerce.orders import moment
from backend.platforms.bigcommerce.settings import BigCommerceSettings
from simulator.bigcommerce import ALL_SCOPES, Customer, Item
from tests.platforms.bigcommerce_kit import HOUR, MINUTE, NOW, Shop, ids, running_shop

BILLING = {"first_name": "Ada", "last_name": "Byron", "phone": "(512) 555-0182", "country_iso2": "US"}


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    async with running_shop() as running:
        yield running


# --- settings ---


@pytest.mark.parametrize(
    "told",
    [
        "abc123",
        " ABC123 ",
        "https://api.bigcommerce.com/stores/abc123/v3/",
        "https://api.bigcommerce.com/stores/abc123",
        "https://store-abc123.mybigcommerce.com/manage",
    ],
)
def test_the_store_hash_is_found_in_what_people_copy(told: str) -> None:
    assert BigCommerceSettings.model_validate({"store_hash": told}).store_hash == "abc123"


@pytest.mark.parametrize("told", ["", "shop.example.com", "abc/../def", "https://example.com", "a" * 300])
def test_what_is_no_store_hash_is_refused(told: str) -> None:
    with pytest.raises(ValidationError):
        BigCommerceSettings.model_validate({"store_hash": told})


def test_the_api_of_bigcommerce_is_asked_unless_told_otherwise() -> None:
    settings = BigCommerceSettings.model_validate({"store_hash": "abc123"})
    assert settings.root == "https://api.bigcommerce.com/stores/abc123"


# --- which orders lead to carts ---


async def test_an_incomplete_order_leads_to_its_cart(shop: Shop) -> None:
    cart = shop.store.abandon(at=NOW - MINUTE, total="40.00")
    seen = await shop.cart()
    assert (seen.source_cart_id, seen.status, seen.total) == (cart.id, SourceStatus.OPEN, Decimal(40))


async def test_the_incomplete_orders_are_asked_for_by_status(shop: Shop) -> None:
    shop.store.abandon(at=NOW - MINUTE)
    await shop.page()
    first = shop.queries()[0]
    assert (first["status_id"], first["sort"], first["limit"]) == ("0", "date_modified:asc", "50")


async def test_the_cart_counts_where_it_changed_since_the_payment_page(shop: Shop) -> None:
    cart = shop.store.abandon(at=NOW - MINUTE, total="40.00")
    cart.items = [Item(price=Decimal("55.50"), id="1")]
    assert (await shop.cart()).total == Decimal("55.50")


async def test_the_shopper_was_last_there_at_the_payment_page(shop: Shop) -> None:
    cart = shop.store.add_cart(at=NOW - 9 * HOUR)
    shop.store.reach_payment(cart.id, at=NOW - MINUTE)
    assert (await shop.cart()).updated_at == NOW - MINUTE


async def test_a_cart_that_was_emptied_is_excluded(shop: Shop) -> None:
    cart = shop.store.abandon(at=NOW - MINUTE)
    shop.store.empty(cart.id)
    assert await shop.excluded() == {cart.id: "gone"}


async def test_a_404_of_something_in_between_does_not_make_a_cart_gone(shop: Shop) -> None:
    shop.store.abandon(at=NOW - MINUTE)
    shop.simulator.inject("html", status=404, match="/v3/carts/")
    with pytest.raises(FixCredentials):
        await shop.page()


async def test_a_pending_order_leads_to_its_cart_too(shop: Shop) -> None:
    cart = shop.store.abandon(at=NOW - HOUR)
    order = shop.store.order_of(cart.id)
    assert order is not None
    shop.store.change_order(order.id, at=NOW - MINUTE, status_id=1)
    assert (await shop.cart()).status is SourceStatus.OPEN


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"status_id": 4}, "refunded"),
        ({"status_id": 5}, "order_cancelled"),
        ({"status_id": 6}, "order_declined"),
        ({"source": "manual"}, "made_by_hand"),
    ],
    ids=["refunded", "cancelled", "declined", "by_hand"],
)
async def test_an_order_that_is_no_shoppers_cart_is_excluded(shop: Shop, changes: dict[str, Any], reason: str) -> None:
    cart = shop.store.abandon(at=NOW - HOUR)
    order = shop.store.order_of(cart.id)
    assert order is not None
    shop.store.change_order(order.id, at=NOW - MINUTE, **changes)
    assert await shop.excluded() == {cart.id: reason}


async def test_an_order_without_a_cart_is_excluded(shop: Shop) -> None:
    cart = shop.store.abandon(at=NOW - MINUTE)
    order = shop.store.order_of(cart.id)
    assert order is not None
    order.cart_id = ""
    assert await shop.excluded() == {f"order-{order.id}": "no_cart"}


async def test_a_cart_id_that_is_none_is_never_put_into_a_path(shop: Shop) -> None:
    cart = shop.store.abandon(at=NOW - MINUTE)
    order = shop.store.order_of(cart.id)
    assert order is not None
    order.cart_id = "../../other/v3/carts/x"
    page = await shop.page()
    assert ([record.reason for record in page.unreadable], shop.asked("carts")) == (["bad_id"], [])


# --- what was bought ---


@pytest.mark.parametrize("status_id", [2, 3, 7, 8, 9, 10, 11, 12, 13, 14])
async def test_a_placed_order_is_a_purchase_of_its_cart(shop: Shop, status_id: int) -> None:
    cart = shop.store.abandon(at=NOW - HOUR, total="40.00")
    order = shop.store.complete(cart.id, NOW - MINUTE, status_id)
    seen = await shop.cart()
    assert (seen.source_cart_id, seen.status, seen.completed_at, seen.order_ref) == (
        cart.id,
        SourceStatus.COMPLETED,
        NOW - MINUTE,
        str(order.id),
    )


async def test_a_purchase_costs_no_request_of_its_own(shop: Shop) -> None:
    for _ in range(5):
        shop.store.complete(shop.store.abandon(at=NOW - HOUR).id, NOW - MINUTE)
    pages = await shop.walk()
    assert (len(ids(pages)), shop.asked()) == (5, ["/v2/orders", "/v2/orders"])


@pytest.mark.parametrize("embeds", [True, False])
async def test_a_purchase_has_its_lines_wherever_the_store_keeps_them(shop: Shop, embeds: bool) -> None:
    shop.store.embeds_lines = embeds
    items = [Item(name="Mug", price=Decimal(7), quantity=2), Item(name="E-book", price=Decimal(3), kind="digital")]
    shop.store.complete(shop.store.abandon(at=NOW - HOUR, items=items).id, NOW - MINUTE)
    lines = (await shop.cart()).lines
    assert [(line.title, line.quantity, line.line_total) for line in lines] == [
        ("Mug", Decimal(2), Decimal(14)),
        ("E-book", Decimal(1), Decimal(3)),
    ]


async def test_a_purchase_between_the_two_walks_of_a_window_is_seen(shop: Shop) -> None:
    cart = shop.store.abandon(at=NOW - 2 * MINUTE)
    first = await shop.page()
    shop.store.complete(cart.id, NOW - MINUTE)
    second = await shop.platform().fetch_page(NOW - HOUR, first.next_page_token)
    assert [seen.status for page in (first, second) for seen in page.carts] == [
        SourceStatus.OPEN,
        SourceStatus.COMPLETED,
    ]


async def test_amounts_are_in_the_currency_that_is_paid_in(shop: Shop) -> None:
    order = shop.store.complete(shop.store.abandon(at=NOW - HOUR, currency="EUR").id, NOW - MINUTE)
    order.display_currency = "USD"
    assert (await shop.cart()).currency == "EUR"


# --- what a cart says ---


async def test_lines_of_every_kind_are_read(shop: Shop) -> None:
    items = [
        Item(name="Mug", price=Decimal("7.25"), quantity=2, sku="MUG", options={"Size": "L", "Colour": "red"}),
        Item(name="E-book", price=Decimal(3), kind="digital", options={"Format": "EPUB"}),
        Item(name="Engraving", price=Decimal(5), quantity=3, kind="custom"),
        Item(name="Gift", price=Decimal(50), kind="giftcertificate"),
    ]
    shop.store.abandon(at=NOW - MINUTE, items=items)
    lines = (await shop.cart()).lines
    assert [(line.title, line.quantity, line.unit_price, line.line_total, line.variant) for line in lines] == [
        ("Mug", Decimal(2), Decimal("7.25"), Decimal("14.5"), "Size: L, Colour: red"),
        ("E-book", Decimal(1), Decimal(3), Decimal(3), "Format: EPUB"),
        ("Engraving", Decimal(3), Decimal(5), Decimal(15), None),
        ("Gift", Decimal(1), Decimal(50), Decimal(50), None),
    ]


async def test_the_free_parts_of_a_bundle_are_no_lines(shop: Shop) -> None:
    items = [Item(name="Set", id="set"), Item(name="Part", price=Decimal(0), parent_id="set")]
    shop.store.abandon(at=NOW - MINUTE, items=items)
    assert [line.title for line in (await shop.cart()).lines] == ["Set"]


async def test_coupons_and_discounts_are_told(shop: Shop) -> None:
    shop.store.abandon(at=NOW - MINUTE, total="100.00", coupons={"TEN": Decimal(10)}, discount=Decimal(5))
    seen = await shop.cart()
    assert (seen.total, seen.subtotal, seen.discount, seen.coupons) == (
        Decimal(85),
        Decimal(100),
        Decimal(15),
        ("TEN",),
    )


async def test_no_recovery_link_is_made_before_the_shopper_asks_for_it(shop: Shop) -> None:
    shop.store.abandon(at=NOW - MINUTE)
    assert ((await shop.cart()).recovery_url, {seen.method for seen in shop.simulator.requests}) == (None, {"GET"})


@pytest.mark.parametrize("text", ["Wed, 05 Dec 2018 20:16:55 +0000", "Wed, 05 Dec 2018 15:16:55 -0500"])
def test_a_date_of_the_older_api_is_read_as_utc(text: str) -> None:
    assert moment(text) == datetime(2018, 12, 5, 20, 16, 55, tzinfo=UTC)


# --- pictures ---


async def test_a_line_without_a_picture_gets_its_products(shop: Shop) -> None:
    shop.store.images = {77: "https://cdn.example.com/77.png"}
    shop.store.abandon(at=NOW - MINUTE, items=[Item(image_url="")])
    assert (await shop.cart()).lines[0].image_url == "https://cdn.example.com/77.png"


async def test_products_of_a_page_are_asked_for_at_once_and_only_once(shop: Shop) -> None:
    for product in (5, 6, 5):
        shop.store.abandon(at=NOW - MINUTE, items=[Item(image_url="", product_id=product)])
    await shop.walk()
    asked = [query["id:in"] for query in shop.queries() if "id:in" in query]
    assert asked == ["5,6"]


async def test_a_token_that_may_not_see_products_still_shows_carts(shop: Shop) -> None:
    shop.store.scopes = ALL_SCOPES - {"store_v2_products"}
    shop.store.abandon(at=NOW - MINUTE, items=[Item(image_url="")])
    page = await shop.page()
    assert (len(page.carts), page.notices) == (1, ("products_not_readable",))


# --- who it is of ---


async def test_a_guest_is_who_the_payment_page_took_down(shop: Shop) -> None:
    shop.store.abandon(at=NOW - MINUTE, email="Ada@Example.com", billing=BILLING)
    who = (await shop.cart()).shopper
    assert (who.email, who.phone, who.first_name, who.last_name, who.country, who.is_guest) == (
        "ada@example.com",
        "+15125550182",
        "Ada",
        "Byron",
        "US",
        True,
    )


async def test_a_customer_is_known_by_the_account(shop: Shop) -> None:
    shop.store.customers[9] = Customer(9, "ada@example.com", "Ada", "Byron", "+15125550182")
    shop.store.abandon(at=NOW - MINUTE, customer_id=9)
    who = (await shop.cart()).shopper
    assert (who.id, who.email, who.phone, who.first_name, who.is_guest) == (
        "9",
        "ada@example.com",
        "+15125550182",
        "Ada",
        False,
    )


async def test_customers_of_a_page_are_asked_for_at_once(shop: Shop) -> None:
    for number in (7, 8, 7):
        shop.store.customers[number] = Customer(number, f"c{number}@example.com")
        shop.store.abandon(at=NOW - MINUTE, customer_id=number)
    await shop.walk()
    assert [query["id:in"] for query in shop.queries() if "id:in" in query] == ["7,8"]


@pytest.mark.parametrize(("accepts", "answer"), [(True, Answer.YES), (False, Answer.NO)])
async def test_an_account_says_whether_it_wants_such_mail(shop: Shop, accepts: bool, answer: Answer) -> None:
    shop.store.customers[9] = Customer(9, "ada@example.com", accepts_emails=accepts)
    shop.store.abandon(at=NOW - MINUTE, customer_id=9)
    assert (await shop.cart()).consent.email is answer


@pytest.mark.parametrize(("ticked", "answer"), [(True, Answer.YES), (False, Answer.UNKNOWN)])
async def test_a_box_that_was_not_ticked_says_nothing(shop: Shop, ticked: bool, answer: Answer) -> None:
    cart = shop.store.abandon(at=NOW - MINUTE)
    order = shop.store.order_of(cart.id)
    assert order is not None
    order.is_email_opt_in = ticked
    assert (await shop.cart()).consent.email is answer


async def test_a_ticked_box_does_not_outweigh_the_accounts_no(shop: Shop) -> None:
    shop.store.customers[9] = Customer(9, "ada@example.com", accepts_emails=False)
    cart = shop.store.abandon(at=NOW - MINUTE, customer_id=9)
    order = shop.store.order_of(cart.id)
    assert order is not None
    order.is_email_opt_in = True
    assert (await shop.cart()).consent.email is Answer.NO


# --- single carts by id ---


async def test_a_cart_that_no_poll_can_find_is_read_by_its_id(shop: Shop) -> None:
    cart = shop.store.add_cart(at=NOW - MINUTE, total="12.00", email="ada@example.com")
    page = await shop.platform().reread([cart.id])
    assert [(seen.source_cart_id, seen.total, seen.shopper.email) for seen in page.carts] == [
        (cart.id, Decimal(12), "ada@example.com")
    ]


async def test_a_cart_read_again_is_to_the_letter_what_the_poll_showed(shop: Shop) -> None:
    shop.store.customers[9] = Customer(9, "ada@example.com", accepts_emails=False)
    items = [Item(image_url="", options={"Size": "L"}), Item(name="Engraving", kind="custom")]
    shop.store.images = {77: "https://cdn.example.com/77.png"}
    cart = shop.store.abandon(at=NOW - MINUTE, billing=BILLING, customer_id=9, items=items)
    assert (await shop.platform().reread([cart.id])).carts == (await shop.cart(),)


async def test_a_bought_cart_read_again_is_to_the_letter_what_the_poll_showed(shop: Shop) -> None:
    cart = shop.store.abandon(at=NOW - HOUR, billing=BILLING)
    shop.store.complete(cart.id, NOW - MINUTE)
    assert (await shop.platform().reread([cart.id])).carts == (await shop.cart(),)


async def test_a_purchase_outweighs_a_cart_that_is_still_there(shop: Shop) -> None:
    cart = shop.store.abandon(at=NOW - HOUR)
    shop.store.complete(cart.id, NOW - MINUTE)
    shop.store.carts[cart.id] = cart
    page = await shop.platform().reread([cart.id])
    assert ([seen.status for seen in page.carts], shop.asked("carts")) == ([SourceStatus.COMPLETED], [])


@pytest.mark.parametrize("name", ["gone", "order-100", "../x"])
async def test_an_id_that_is_none_is_gone_without_asking(shop: Shop, name: str) -> None:
    page = await shop.platform().reread([name])
    assert ([(out.source_cart_id, out.reason) for out in page.exclusions], shop.asked()) == ([(name, "gone")], [])


async def test_a_reread_that_has_to_wait_keeps_what_it_has(shop: Shop) -> None:
    carts = [shop.store.abandon(at=NOW - MINUTE).id for _ in range(3)]
    shop.simulator.inject("throttled", seconds=9, match=f"cart_id={carts[1]}")
    page = await shop.platform().reread(carts)
    assert (ids([page]), page.exclusions, page.notices) == ([carts[0]], (), ("reread_cut_short",))


async def test_a_reread_that_has_to_wait_at_once_says_so(shop: Shop) -> None:
    cart = shop.store.abandon(at=NOW - MINUTE)
    shop.simulator.inject("throttled", seconds=9)
    with pytest.raises(TryLater):
        await shop.platform().reread([cart.id])
