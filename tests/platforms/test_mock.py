"""The mock makes carts out of the seed and the time alone, and says so in every one of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

from backend.domain.carts import SeenCart, SourceStatus
from backend.outbound import Outbound, OutboundPolicy
from backend.platforms.base import Connection
from backend.platforms.mock import MockPlatform

NOON = datetime(2026, 11, 20, 12, 0, 30, tzinfo=UTC)
FLAVOURS = ["shopify", "woocommerce", "custom"]


def mock(now: datetime = NOON, integration_id: str = "i1", options: Mapping[str, Any] | None = None) -> MockPlatform:
    connection = Connection("c1", integration_id, {"options": dict(options or {})}, {})
    return MockPlatform(connection, Outbound(OutboundPolicy()), lambda: now)


async def carts(adapter: MockPlatform, window_from: datetime) -> list[SeenCart]:
    page = await adapter.fetch_page(window_from, None)
    seen = list(page.carts)
    while page.next_page_token:
        page = await adapter.fetch_page(window_from, page.next_page_token)
        seen += page.carts
    return seen


async def test_each_slot_of_the_hour_yields_one_cart() -> None:
    assert len(await carts(mock(), NOON - timedelta(hours=1))) >= 12


async def test_three_days_hold_as_many_carts_as_asked_for() -> None:
    three_days = await carts(mock(options={"carts_per_hour": 60}), NOON - timedelta(days=3))
    assert len({cart.source_cart_id for cart in three_days}) >= 3 * 24 * 60


async def test_no_cart_comes_twice_in_a_walk() -> None:
    ids = [cart.source_cart_id for cart in await carts(mock(), NOON - timedelta(days=3))]
    assert len(ids) == len(set(ids))


async def test_the_same_window_gives_the_same_answer() -> None:
    since = NOON - timedelta(hours=5)
    assert await carts(mock(), since) == await carts(mock(), since)


async def test_a_page_asked_for_again_is_the_same_page() -> None:
    first = await mock().fetch_page(NOON - timedelta(days=3), None)
    pages = [
        await mock(NOON + timedelta(minutes=late)).fetch_page(NOON - timedelta(days=3), first.next_page_token)
        for late in (0, 30)
    ]
    assert pages[0].carts == pages[1].carts


async def test_a_poll_a_few_minutes_later_brings_the_next_cart() -> None:
    later = NOON + timedelta(minutes=5)
    before = {cart.source_cart_id for cart in await carts(mock(), NOON - timedelta(days=1))}
    after = {cart.source_cart_id for cart in await carts(mock(later), NOON)}
    assert len(after - before) == 1


async def test_integrations_have_different_carts() -> None:
    since = NOON - timedelta(hours=1)
    one, two = await carts(mock(integration_id="i1"), since), await carts(mock(integration_id="i2"), since)
    assert {cart.source_cart_id for cart in one}.isdisjoint(cart.source_cart_id for cart in two)


async def test_every_open_cart_was_left_more_than_half_an_hour_ago() -> None:
    seen = await carts(mock(), NOON - timedelta(days=1))
    assert max(cart.updated_at for cart in seen if cart.status is SourceStatus.OPEN) < NOON - timedelta(minutes=30)


async def test_about_one_cart_in_six_is_bought() -> None:
    seen = await carts(mock(options={"carts_per_hour": 60}), NOON - timedelta(days=2))
    bought = sum(cart.status is SourceStatus.COMPLETED for cart in seen)
    assert 0.12 < bought / len(seen) < 0.21


async def test_a_purchase_shows_up_in_a_later_window() -> None:
    since = NOON - timedelta(hours=6)
    open_then = {cart.source_cart_id for cart in await carts(mock(), since) if cart.status is SourceStatus.OPEN}
    later = await carts(mock(NOON + timedelta(hours=3)), NOON)
    assert any(cart.source_cart_id in open_then and cart.status is SourceStatus.COMPLETED for cart in later)


@pytest.mark.parametrize("flavour", FLAVOURS)
async def test_every_cart_says_that_it_is_made_up(flavour: str) -> None:
    assert all(cart.is_mock for cart in await carts(mock(options={"flavour": flavour}), NOON - timedelta(hours=9)))


@pytest.mark.parametrize("flavour", FLAVOURS)
async def test_totals_are_the_sum_of_their_lines(flavour: str) -> None:
    seen = await carts(mock(options={"flavour": flavour}), NOON - timedelta(hours=9))
    assert all(cart.total == sum(line.quantity * line.unit_price for line in cart.lines) > 0 for cart in seen)


@pytest.mark.parametrize("flavour", FLAVOURS)
async def test_no_made_up_address_can_be_anybodys(flavour: str) -> None:
    shoppers = [cart.shopper for cart in await carts(mock(options={"flavour": flavour}), NOON - timedelta(days=2))]
    emails = [shopper.email for shopper in shoppers if shopper.email]
    phones = [shopper.phone for shopper in shoppers if shopper.phone]
    assert emails
    assert phones
    assert all(re.fullmatch(r"[a-z]+\.[a-z]+\d+@example\.com", email) for email in emails)
    assert all(re.fullmatch(r"\+1[2-9]\d\d55501\d\d", phone) for phone in phones)


async def test_some_shoppers_left_no_address() -> None:
    assert any(not cart.shopper.is_contactable for cart in await carts(mock(), NOON - timedelta(days=1)))


@pytest.mark.parametrize(("flavour", "currency"), [("shopify", "USD"), ("woocommerce", "TRY"), ("custom", "INR")])
async def test_each_flavour_has_its_own_look(flavour: str, currency: str) -> None:
    seen = await carts(mock(options={"flavour": flavour}), NOON - timedelta(hours=1))
    assert {(cart.currency, cart.raw_version) for cart in seen} == {(currency, f"mock/{flavour}")}


async def test_the_store_is_known_by_flavour_and_seed() -> None:
    assert mock(options={"flavour": "custom", "seed": "demo"}).store_id == "mock:custom:demo"


async def test_the_sample_is_three_carts_of_459_97() -> None:
    seen = await carts(mock(options={"seed": "sample"}), NOON - timedelta(days=3))
    assert (len(seen), sum(cart.total for cart in seen), seen[0].total) == (3, Decimal("459.97"), Decimal("159.99"))


@pytest.mark.parametrize("hour", [0, 3, 12, 23])
async def test_the_sample_is_long_abandoned_and_not_yet_lost(hour: int) -> None:
    now = NOON.replace(hour=hour)
    seen = await carts(mock(now, options={"seed": "sample"}), now)
    assert all(timedelta(hours=3) < now - cart.updated_at < timedelta(days=3) for cart in seen)


async def test_a_check_finds_nothing_wrong_and_names_the_store() -> None:
    check = await mock().check()
    assert (check.ok, check.store_id) == (True, "mock:shopify:i1")


async def test_a_mock_does_not_offer_rereading() -> None:
    with pytest.raises(NotImplementedError):
        await mock().reread(["1"])


@pytest.mark.parametrize("options", [{"flavour": "etsy"}, {"carts_per_hour": 0}, {"seed": ""}, {"colour": "red"}])
async def test_settings_that_mean_nothing_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        MockPlatform.Settings.model_validate({"options": options})
