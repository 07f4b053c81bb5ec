"""The WooCommerce adapter against the simulated store: its question, reading orders, re-reading, the check."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from pydantic import ValidationError

from backend.domain.carts import Answer, Exclusion, SourceStatus
from backend.errors import TryLater
from backend.platforms.registry import PLATFORMS
from backend.platforms.woocommerce import WooCommercePlatform
from backend.platforms.woocommerce.settings import WooCommerceSettings
from simulator.woocommerce import Item
from tests.platforms.woocommerce_kit import HOUR, MINUTE, NOW, Shop, asked, ids, running_shop


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    async with running_shop() as running:
        yield running


# --- settings ---------------------------------------------------------------------------------------------------------


def test_it_is_registered() -> None:
    assert PLATFORMS["woocommerce"] is WooCommercePlatform


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("https://Shop.Example/", "https://shop.example"),
        ("https://shop.example:443/blog/", "https://shop.example/blog"),
        ("https://shop.example:8443", "https://shop.example:8443"),
    ],
)
def test_the_home_url_is_kept_as_wordpress_writes_it(written: str, kept: str) -> None:
    assert WooCommerceSettings(base_url=written).base_url == kept


@pytest.mark.parametrize(
    "settings",
    [
        {"base_url": "http://shop.example"},
        {"base_url": "shop.example"},
        {"base_url": "https://u:p@shop.example"},
        {"base_url": "https://shop.example/?rest_route=/"},
        {"base_url": "https://shop.example", "options": {"statuses": ["wc-pending"]}},
        {"base_url": "https://shop.example", "options": {"statuses": ["completed"]}},
        {"base_url": "https://shop.example", "options": {"statuses": []}},
        {"base_url": "https://shop.example", "options": {"page_size": 101}},
        {"base_url": "https://shop.example", "options": {"page_sise": 10}},
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        WooCommerceSettings.model_validate(settings)


async def test_the_store_s_identity_is_host_and_path(shop: Shop) -> None:
    assert shop.platform().store_id == f"{shop.simulator.base_url.removeprefix('http://')}/s0"


# --- the question -----------------------------------------------------------------------------------------------------


async def test_the_question_names_statuses_and_asks_in_utc_without_a_zone(shop: Shop) -> None:
    await shop.page(window=HOUR)
    (query,) = asked(shop)
    assert {name: value for name, value in query.items() if not name.startswith(("oauth_", "_"))} == {
        "status": "pending,failed,checkout-draft,processing,completed,on-hold,cancelled",
        "modified_after": "2026-11-20T10:59:59",
        "dates_are_gmt": "true",
        "orderby": "modified",
        "order": "asc",
        "per_page": "100",
    }


async def test_a_window_in_another_zone_is_asked_in_utc(shop: Shop) -> None:
    await shop.platform().fetch_page(NOW.astimezone(ZoneInfo("Australia/Adelaide")), None)
    assert asked(shop)[0]["modified_after"] == "2026-11-20T11:59:59"


async def test_the_secret_never_travels(shop: Shop) -> None:
    await shop.page()
    (seen,) = shop.simulator.requests
    assert "cs_secret" not in seen.path
    assert "Authorization" not in seen.headers


# --- what an order is -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["pending", "failed", "checkout-draft", "cancelled"])
@pytest.mark.parametrize("via", ["checkout", "store-api"])
async def test_an_unpaid_order_of_a_shopper_is_an_open_cart(shop: Shop, status: str, via: str) -> None:
    order = shop.site.add(status=status, created_via=via)
    cart = await shop.cart()
    assert (cart.source_cart_id, cart.status) == (str(order.id), SourceStatus.OPEN)


@pytest.mark.parametrize("status", ["processing", "completed"])
async def test_a_paid_order_is_bought(shop: Shop, status: str) -> None:
    order = shop.site.add(at=NOW - HOUR)
    shop.site.move(order.id, status, at=NOW - MINUTE)
    cart = await shop.cart()
    assert (cart.status, cart.completed_at, cart.order_ref) == (
        SourceStatus.COMPLETED,
        NOW - MINUTE,
        str(order.id),
    )


async def test_an_order_paid_on_delivery_is_bought_though_it_has_no_payment_date(shop: Shop) -> None:
    shop.site.add(status="processing", at=NOW - MINUTE)
    cart = await shop.cart()
    assert (cart.status, cart.completed_at) == (SourceStatus.COMPLETED, NOW - MINUTE)


async def test_an_order_that_awaits_a_transfer_is_bought(shop: Shop) -> None:
    shop.site.add(status="on-hold")
    assert (await shop.cart()).status is SourceStatus.COMPLETED


async def test_an_order_that_awaits_a_transfer_is_open_where_the_company_says_so(shop: Shop) -> None:
    shop.site.add(status="on-hold")
    assert (await shop.cart(statuses=["pending", "on-hold"])).status is SourceStatus.OPEN


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"created_via": "rest-api"}, "made_by_rest-api"),
        ({"created_via": "admin", "status": "completed"}, "made_by_admin"),
        ({"created_via": "Some plugin!"}, "made_by_other"),
        ({"created_via": ""}, "made_by_other"),
        ({"items": []}, "empty"),
        ({"items": [Item(total=Decimal(0))]}, "nothing_to_pay"),
        ({"status": "cancelled", "paid_at": NOW}, "cancelled_after_payment"),
    ],
)
async def test_what_is_no_cart_is_excluded_by_name(shop: Shop, fields: dict[str, Any], reason: str) -> None:
    order = shop.site.add(**fields)
    page = await shop.page()
    assert (page.carts, page.exclusions) == ((), (Exclusion(str(order.id), reason),))


async def test_a_headless_shop_may_order_through_rest(shop: Shop) -> None:
    shop.site.add(created_via="rest-api")
    assert (await shop.cart(created_via=["rest-api"])).status is SourceStatus.OPEN


async def test_times_are_utc(shop: Shop) -> None:
    shop.site.add(at=NOW - MINUTE, created_at=NOW - HOUR)
    cart = await shop.cart()
    assert (cart.created_at, cart.updated_at) == (NOW - HOUR, NOW - MINUTE)


async def test_lines_hold_their_tax_and_the_order_s_total_is_the_truth(shop: Shop) -> None:
    items = [Item(quantity=3, total=Decimal("10.00"), tax=Decimal("1.00"), subtotal=Decimal("12.00"))]
    shop.site.add(items=items, shipping=Decimal("9.95"), shipping_tax=Decimal("1.00"), coupons={"two": Decimal("2.00")})
    cart = await shop.cart()
    (line,) = cart.lines
    assert (line.line_total, line.unit_price, line.quantity) == (Decimal("11.00"), Decimal("3.6667"), Decimal(3))
    assert (cart.total, cart.subtotal, cart.discount, cart.tax) == (
        Decimal("21.95"),
        Decimal("13.00"),
        Decimal("2.00"),
        Decimal("2.00"),
    )
    assert cart.coupons == ("two",)


@pytest.mark.parametrize(("currency", "price", "total"), [("JPY", "1500", "1500"), ("KWD", "4.125", "4.13")])
async def test_totals_are_as_the_store_prints_them(shop: Shop, currency: str, price: str, total: str) -> None:
    shop.site.add(total=price, currency=currency)
    cart = await shop.cart()
    assert (cart.currency, cart.total) == (currency, Decimal(total))


async def test_a_negative_fee_is_within_the_total(shop: Shop) -> None:
    shop.site.add(total="20.00", fees=[Decimal("3.00"), Decimal("-5.00")])
    assert (await shop.cart()).total == Decimal("18.00")


async def test_names_are_plain_text(shop: Shop) -> None:
    shop.site.add(items=[Item(name='T-shirt "Größe" <b>XL</b> &amp; 🛒 &lt;3')])
    assert (await shop.cart()).lines[0].title == 'T-shirt "Größe" XL & 🛒 <3'


async def test_a_variation_says_what_was_chosen(shop: Shop) -> None:
    meta = [
        {"id": 1, "key": "size", "value": "L", "display_key": "Size", "display_value": "<p>L</p>"},
        {"id": 2, "key": "_hidden", "value": {"a": 1}, "display_key": "_hidden", "display_value": {"a": 1}},
        {"id": 3, "key": "box", "value": {"a": 1}, "display_key": "Box", "display_value": {"a": 1}},
    ]
    shop.site.add(items=[Item(variation_id=19, meta=meta)])
    (line,) = (await shop.cart()).lines
    assert (line.variant_id, line.variant) == ("19", "Size: L")


async def test_a_deleted_product_leaves_a_line_without_ids(shop: Shop) -> None:
    shop.site.add(items=[Item(product_id=0, sku=None)])
    (line,) = (await shop.cart()).lines
    assert (line.product_id, line.variant_id, line.sku) == (None, None, None)


async def test_contact_is_read_from_billing(shop: Shop) -> None:
    shop.site.add(
        customer_id=7,
        billing={"email": " Ada@Example.test", "phone": "0400 000 001", "country": "AU", "first_name": "Ada"},
    )
    shopper = (await shop.cart()).shopper
    assert (shopper.id, shopper.email, shopper.phone, shopper.first_name, shopper.last_name, shopper.is_guest) == (
        "7",
        "ada@example.test",
        "+61400000001",
        "Ada",
        None,
        False,
    )


async def test_a_draft_without_contact_is_kept(shop: Shop) -> None:
    shop.site.add(status="checkout-draft")
    shopper = (await shop.cart()).shopper
    assert (shopper.is_contactable, shopper.id, shopper.is_guest) == (False, None, True)


@pytest.mark.parametrize(
    ("status", "has_link"), [("pending", True), ("failed", True), ("checkout-draft", False), ("cancelled", False)]
)
async def test_the_recovery_link_is_there_while_it_takes_money(shop: Shop, status: str, has_link: bool) -> None:
    order = shop.site.add(status=status)
    link = f"{shop.simulator.home_url(shop.site)}/checkout/order-pay/{order.id}/?pay_for_order=true&key="
    url = (await shop.cart()).recovery_url
    assert (url or "").startswith(link) is has_link


@pytest.mark.parametrize(
    ("value", "answer"),
    [
        ("yes", Answer.YES),
        (1, Answer.YES),
        (True, Answer.YES),
        ("no", Answer.NO),
        (False, Answer.NO),
        ("", Answer.NO),
        ("maybe", Answer.UNKNOWN),
        (None, Answer.UNKNOWN),
        ({"a": 1}, Answer.UNKNOWN),
    ],
)
async def test_consent_is_read_from_the_named_meta(shop: Shop, value: Any, answer: Answer) -> None:
    shop.site.add(meta=[{"key": "_newsletter", "value": value}])
    assert (await shop.cart(consent_meta_key="_newsletter")).consent.email is answer


async def test_consent_is_unknown_unless_a_meta_key_is_named(shop: Shop) -> None:
    shop.site.add(meta=[{"key": "_newsletter", "value": "yes"}])
    assert (await shop.cart()).consent.email is Answer.UNKNOWN


async def test_the_store_s_own_recovery_mail_is_noticed(shop: Shop) -> None:
    shop.site.add(meta=[{"key": "_abandoned_cart_recovery_email_sent_at", "value": "1795178186"}])
    assert (await shop.page()).notices == ("store_sends_its_own_recovery_mail",)


async def test_a_record_that_cannot_be_read_stops_none_of_the_others(shop: Shop) -> None:
    bad, good = shop.site.add(currency=""), shop.site.add()
    page = await shop.page()
    assert [(record.source_cart_id, record.reason) for record in page.unreadable] == [(str(bad.id), "bad_currency")]
    assert ids([page]) == [str(good.id)]


async def test_a_record_dated_in_the_future_does_not_freeze_the_walk(shop: Shop) -> None:
    for _ in range(3):
        shop.site.add(at=NOW + timedelta(days=2))
    order = shop.site.add()
    pages = await shop.walk(NOW - HOUR, page_size=2)
    assert ids(pages) == [str(order.id)]
    assert {record.reason for page in pages for record in page.unreadable} == {"dated_in_the_future"}


# --- re-reading -------------------------------------------------------------------------------------------------------


async def test_a_reread_shows_what_became_of_each_cart(shop: Shop) -> None:
    moved = {status: shop.site.add() for status in ("pending", "checkout-draft", "processing", "refunded", "trash")}
    for status, order in moved.items():
        shop.site.move(order.id, status)
    deleted = shop.site.add()
    shop.site.delete(deleted.id)
    wanted = [*(str(order.id) for order in moved.values()), str(deleted.id)]
    page = await shop.platform().reread(wanted)
    assert {cart.source_cart_id: cart.status for cart in page.carts} == {
        str(moved["pending"].id): SourceStatus.OPEN,
        str(moved["checkout-draft"].id): SourceStatus.OPEN,
        str(moved["processing"].id): SourceStatus.COMPLETED,
    }
    assert set(page.exclusions) == {
        Exclusion(str(moved["refunded"].id), "refunded"),
        Exclusion(str(moved["trash"].id), "trashed"),
        Exclusion(str(deleted.id), "gone"),
    }


@pytest.mark.parametrize("storage", ["hpos", "posts"])
async def test_a_reread_holds_only_what_was_asked(shop: Shop, storage: Any) -> None:
    shop.site.storage = storage
    order, _other = shop.site.add(), shop.site.add()
    assert ids([await shop.platform().reread([str(order.id)])]) == [str(order.id)]


async def test_a_reread_finds_an_order_in_a_status_of_the_store_s_own(shop: Shop) -> None:
    shop.site.custom_statuses = ["shipped"]
    unpaid, paid = shop.site.add(status="shipped"), shop.site.add(status="shipped", paid_at=NOW)
    page = await shop.platform().reread([str(unpaid.id), str(paid.id)])
    assert page.exclusions == (Exclusion(str(unpaid.id), "status_shipped"),)
    assert [(cart.source_cart_id, cart.status) for cart in page.carts] == [(str(paid.id), SourceStatus.COMPLETED)]


async def test_a_reread_survives_statuses_the_store_does_not_know(shop: Shop) -> None:
    shop.site.knows_drafts = False
    order = shop.site.add()
    assert ids([await shop.platform(statuses=["pending", "nope"]).reread([str(order.id)])]) == [str(order.id)]


async def test_a_reread_of_orders_too_large_for_one_answer_holds_them_all(shop: Shop) -> None:
    note = {"key": "design", "value": "x" * 1_000_000}
    wanted = [str(shop.site.add(meta=[note]).id) for _ in range(24)]
    assert set(ids([await shop.platform().reread(wanted)])) == set(wanted)


async def test_an_order_that_the_store_holds_back_is_not_gone(shop: Shop) -> None:
    wanted = [str(shop.site.add().id) for _ in range(12)]
    shop.site.ignores = frozenset({"per_page"})  # ten come, as if a plugin capped the page
    with pytest.raises(TryLater) as caught:
        await shop.platform().reread(wanted)
    assert caught.value.code == "incomplete_answer"


async def test_an_id_that_is_no_order_id_is_gone(shop: Shop) -> None:
    page = await shop.platform().reread(["abc", "٣"])
    assert page.exclusions == (Exclusion("abc", "gone"), Exclusion("٣", "gone"))
    assert shop.simulator.requests == []


# --- the connection check ---------------------------------------------------------------------------------------------


async def test_a_good_connection_is_ok(shop: Shop) -> None:
    result = await shop.platform().check()
    assert (result.ok, result.store_id) == (True, shop.platform().store_id)


async def test_a_refused_key_is_found_with_what_to_do(shop: Shop) -> None:
    result = await shop.platform(secret="wrong").check()
    (finding,) = result.findings
    assert (result.ok, finding.ok) == (False, False)
    assert "home URL" in finding.remedy


async def test_a_clock_that_is_off_is_found(shop: Shop) -> None:
    shop.simulator.clock_skew = 10 * MINUTE
    assert [finding.name for finding in (await shop.platform().check()).findings if not finding.ok] == ["clock"]


async def test_an_ignored_filter_is_found(shop: Shop) -> None:
    shop.site.add()
    shop.site.ignores = frozenset({"modified_after"})
    result = await shop.platform().check()
    assert [finding.name for finding in result.findings if not finding.ok] == ["modified_after"]


async def test_an_unknown_status_is_told_and_no_fault(shop: Shop) -> None:
    shop.site.knows_drafts = False
    result = await shop.platform().check()
    assert result.ok
    assert any(finding.name == "status checkout-draft" for finding in result.findings)
