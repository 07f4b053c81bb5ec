"""What the Shopify adapter makes of one checkout."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from backend.domain.carts import Answer
from backend.errors import BadRecord
from backend.platforms.shopify.mapping import CartReader
from simulator.shopify import CartSpec, Checkout
from tests.platforms.shopify_store import NOON, Store, running_shop


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    async with running_shop() as running:
        yield running


class TestCart:
    async def test_identity_and_times(self, store: Store) -> None:
        made, changed = NOON - timedelta(hours=5), NOON - timedelta(hours=2)
        source_id = store.shop.add_cart(created_at=made, updated_at=changed)
        cart = await store.only_cart()
        assert (cart.source_cart_id, cart.store_id) == (source_id, "s0-shop.myshopify.com")
        assert (cart.created_at, cart.updated_at, cart.raw_version) == (made, changed, "shopify/2026-10")

    async def test_amounts_are_the_shoppers_own_money(self, store: Store) -> None:
        store.shop.add_cart(currency="EUR", total="119.00", tax="19.00", discount="5.00", discount_codes=["FALL5"])
        cart = await store.only_cart()
        assert (cart.currency, cart.total, cart.subtotal) == ("EUR", Decimal("119.00"), Decimal("100.00"))
        assert (cart.tax, cart.discount, cart.coupons) == (Decimal("19.00"), Decimal("5.00"), ("FALL5",))

    async def test_a_cart_without_tax_has_none(self, store: Store) -> None:
        store.shop.add_cart()
        assert (await store.only_cart()).tax is None

    async def test_lines_add_up_to_the_subtotal(self, store: Store) -> None:
        store.shop.add_cart(total="10.00", lines=3)
        cart = await store.only_cart()
        assert sum(line.line_total for line in cart.lines) == cart.subtotal

    async def test_a_line_carries_what_a_message_shows(self, store: Store) -> None:
        store.shop.add_cart()
        (line,) = (await store.only_cart()).lines
        assert (line.title, line.variant, line.sku) == (
            "Everyday Merino Crew Sweater 1",
            "Medium / Charcoal",
            "EMC-001-M-CHA",
        )
        assert (line.product_id, line.quantity, line.unit_price) == ("7000000000000", Decimal(1), Decimal("10.00"))
        assert line.image_url is not None

    async def test_more_lines_than_one_answer_holds_are_noticed_and_the_total_stays_the_shops(
        self, store: Store
    ) -> None:
        store.shop.add_cart(total="60.00", lines=60)
        page = await store.page()
        assert (len(page.carts[0].lines), page.carts[0].total) == (50, Decimal("60.00"))
        assert page.notices == ("lines_cut_short",)

    async def test_the_recovery_link_is_kept_whole(self, store: Store) -> None:
        source_id = store.shop.add_cart()
        url = (await store.only_cart()).recovery_url
        assert url is not None
        assert source_id in url
        assert "recover?key=" in url


class TestPerson:
    async def test_the_customer_comes_first(self, store: Store) -> None:
        store.shop.add_cart(email=" Ada@Example.COM ", phone="+12025550123", locale="de", country="DE")
        shopper = (await store.only_cart()).shopper
        assert (shopper.email, shopper.phone, shopper.locale) == ("ada@example.com", "+12025550123", "de")
        assert (shopper.first_name, shopper.country, shopper.is_guest) == ("Ada", "DE", False)

    async def test_without_a_customer_the_address_tells_phone_and_name(self, store: Store) -> None:
        store.shop.add_cart(customer=False, address_phone="(202) 555-0123", country="US")
        shopper = (await store.only_cart()).shopper
        assert (shopper.id, shopper.email, shopper.phone) == (None, None, "+12025550123")
        assert (shopper.first_name, shopper.is_guest) == ("Ada", True)

    async def test_a_customer_without_phone_gets_the_addresss(self, store: Store) -> None:
        store.shop.add_cart(phone=None, address_phone="+4915112345678")
        assert (await store.only_cart()).shopper.phone == "+4915112345678"

    async def test_a_cart_with_nobody_in_it_is_kept(self, store: Store) -> None:
        store.shop.add_cart(customer=False, address=False)
        cart = await store.only_cart()
        assert (cart.shopper.is_contactable, cart.consent.source) == (False, None)

    @pytest.mark.parametrize(
        ("state", "answer"),
        [
            ("SUBSCRIBED", Answer.YES),
            ("NOT_SUBSCRIBED", Answer.UNKNOWN),
            ("UNSUBSCRIBED", Answer.NO),
            ("INVALID", Answer.NO),
            ("PENDING", Answer.UNKNOWN),
        ],
    )
    async def test_email_consent(self, store: Store, state: str, answer: Answer) -> None:
        store.shop.add_cart(email_state=state)
        consent = (await store.only_cart()).consent
        assert (consent.email, consent.source) == (answer, "shopify")

    @pytest.mark.parametrize("version", ["2026-07", "2026-10"])
    @pytest.mark.parametrize(
        ("state", "answer"),
        [
            ("SUBSCRIBED", Answer.YES),
            ("NOT_SUBSCRIBED", Answer.UNKNOWN),
            ("UNSUBSCRIBED", Answer.NO),
            ("REDACTED", Answer.NO),
            ("PENDING", Answer.UNKNOWN),
        ],
    )
    async def test_sms_consent_in_the_versions_own_field(
        self, store: Store, version: str, state: str, answer: Answer
    ) -> None:
        store.shop.add_cart(phone="+12025550123", sms_state=state)
        assert (await store.only_cart(api_version=version)).consent.sms is answer

    async def test_a_phone_from_an_address_has_no_known_consent(self, store: Store) -> None:
        store.shop.add_cart(phone=None, address_phone="+12025550123")
        assert (await store.only_cart()).consent.sms is Answer.UNKNOWN


def _node(**changes: Any) -> dict[str, Any]:
    """Return a checkout as the adapter's query gets it, with `changes`."""
    checkout = Checkout(7, CartSpec(), NOON, NOON, "a.myshopify.com", "USD")
    node = dict(checkout.node())
    node["lineItems"] = {"nodes": node["lineItems"], "pageInfo": {"hasNextPage": False}}
    return {**node, **changes}


def _bag(amount: Any, currency: Any = "USD") -> dict[str, Any]:
    return {"presentmentMoney": {"amount": amount, "currencyCode": currency}}


class TestOddRecords:
    READER = CartReader("a.myshopify.com", "2026-10", NOON)

    @pytest.mark.parametrize(
        ("changes", "code"),
        [
            ({"id": "gid://shopify/AbandonedCheckout/"}, "bad_id"),
            ({"id": None}, "unexpected_shape"),
            ({"updatedAt": "yesterday"}, "bad_time"),
            ({"updatedAt": "2026-11-22T12:00:00Z"}, "dated_in_the_future"),
            ({"totalPriceSet": None}, "unexpected_shape"),
            ({"totalPriceSet": _bag("NaN")}, "bad_amount"),
            ({"totalPriceSet": _bag("1.00", "DOLLARS")}, "bad_currency"),
            ({"lineItems": None}, "unexpected_shape"),
            ({"discountCodes": None}, "unexpected_shape"),
            ({"customer": "Ada"}, "unexpected_shape"),
        ],
    )
    def test_a_record_of_another_shape_is_refused(self, changes: dict[str, Any], code: str) -> None:
        with pytest.raises(BadRecord) as caught:
            self.READER.read(_node(**changes))
        assert caught.value.code == code

    @pytest.mark.parametrize("record", [None, [], "cart", 7])
    def test_a_record_that_is_no_object_is_refused(self, record: Any) -> None:
        with pytest.raises(BadRecord):
            self.READER.read(record)

    def test_a_custom_line_without_product_is_read(self) -> None:
        line = {**_node()["lineItems"]["nodes"][0], "product": None, "variant": None, "image": None, "sku": None}
        lines = {"nodes": [{**line, "variantTitle": "Default Title"}], "pageInfo": {"hasNextPage": False}}
        (read,) = self.READER.read(_node(lineItems=lines)).lines
        assert (read.product_id, read.variant_id, read.image_url, read.sku, read.variant) == (None,) * 5

    def test_a_line_without_title_is_called_by_its_sku(self) -> None:
        line = {**_node()["lineItems"]["nodes"][0], "title": None}
        lines = {"nodes": [line], "pageInfo": {"hasNextPage": False}}
        assert self.READER.read(_node(lineItems=lines)).lines[0].title == "EMC-001-M-CHA"

    def test_a_name_is_never_half_of_two_people(self) -> None:
        customer = {"id": "gid://shopify/Customer/1", "firstName": "Ada", "lastName": None}
        shopper = self.READER.read(_node(customer=customer)).shopper
        assert (shopper.first_name, shopper.last_name) == ("Ada", None)

    async def test_a_page_of_null_and_odd_records_reads_the_good_one(self, store: Store) -> None:
        listed = {"nodes": [None, _node(), _node(updatedAt=7)], "pageInfo": {"hasNextPage": False}}
        store.answer_with({"data": {"abandonedCheckouts": listed}})
        page = await store.page()
        assert ([c.source_cart_id for c in page.carts], len(page.unreadable)) == (["7"], 2)
