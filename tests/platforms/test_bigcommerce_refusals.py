"""BigCommerce: what refusals mean, what the rate limit is taken for, and what the connection check says."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from backend.domain.buckets import Ask, Bucket
from backend.errors import FixCredentials, TryLater
from backend.outbound import HttpResponse
from backend.platforms.base import ConnectionCheck, Finding
from backend.platforms.bigcommerce import BigCommercePlatform
from backend.platforms.bigcommerce.client import allowance_in
from simulator.bigcommerce import ALL_SCOPES
from simulator.bigcommerce.store import Quota
from tests.platforms.bigcommerce_kit import HOUR, MINUTE, NOW, Shop, running_shop

FIGURES = {
    "x-rate-limit-requests-quota": "150",
    "x-rate-limit-requests-left": "149",
    "x-rate-limit-time-window-ms": "30000",
    "x-rate-limit-time-reset-ms": "12000",
}


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    async with running_shop() as running:
        yield running


async def refusal(shop: Shop) -> FixCredentials:
    with pytest.raises(FixCredentials) as caught:
        await shop.page()
    return caught.value


async def delay(shop: Shop) -> TryLater:
    with pytest.raises(TryLater) as caught:
        await shop.page()
    return caught.value


# --- refusals ---


@pytest.mark.parametrize(
    ("scope", "named"),
    [
        ("store_v2_orders_read_only", "Orders: read-only"),
        ("store_cart", "Carts: read-only"),
        ("store_v2_customers_read_only", "Customers: read-only"),
    ],
)
async def test_a_missing_scope_is_named_as_the_control_panel_names_it(shop: Shop, scope: str, named: str) -> None:
    shop.store.scopes = ALL_SCOPES - {scope}
    shop.store.abandon(at=NOW - MINUTE, customer_id=5)
    found = await refusal(shop)
    assert (found.code, named in str(found), named in found.remedy) == ("scope_missing", True, True)


async def test_a_locked_store_is_the_companys_to_mend(shop: Shop) -> None:
    shop.simulator.inject("locked")
    assert (await refusal(shop)).code == "store_locked"


async def test_a_store_that_does_not_exist_is_told_from_an_empty_one(shop: Shop) -> None:
    shop.simulator.stores.clear()
    assert (await refusal(shop)).code == "store_not_found"


async def test_a_store_that_is_down_is_tried_later(shop: Shop) -> None:
    shop.simulator.inject("suspended")
    assert (await delay(shop)).code == "store_down"


async def test_the_message_of_the_older_api_is_quoted(shop: Shop) -> None:
    shop.simulator.inject("suspended")
    assert "down for maintenance" in str(await delay(shop))


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"X-Retry-After": "15", "X-Rate-Limit-Time-Reset-Ms": "4000"}, 15),
        ({"X-Retry-After": "3", "X-Rate-Limit-Time-Reset-Ms": "4000"}, 4),
        ({"X-Rate-Limit-Time-Reset-Ms": "4000"}, 4),
        ({"X-Retry-After": "1e300"}, 86_400),
        ({"X-Retry-After": "nan"}, None),
        ({"X-Retry-After": "-3"}, None),
    ],
)
async def test_the_longer_of_the_two_waits_counts(shop: Shop, headers: dict[str, str], seconds: int | None) -> None:
    shop.simulator.inject("status", status=429, headers=headers)
    expected = None if seconds is None else timedelta(seconds=seconds)
    assert (await delay(shop)).retry_after == expected


async def test_an_overloaded_platform_names_no_wait(shop: Shop) -> None:
    shop.simulator.inject("overloaded")
    found = await delay(shop)
    assert (found.code, found.retry_after) == ("throttled", None)


async def test_a_cart_that_is_another_is_not_taken(shop: Shop) -> None:
    shop.store.abandon(at=NOW - MINUTE)
    other = '{"data": {"id": "00000000-0000-4000-8000-000000000001"}}'
    shop.simulator.inject("status", status=200, body=other, match="/v3/carts/")
    assert (await delay(shop)).code == "bad_body"


# --- the rate limit ---


def answer(headers: dict[str, str]) -> HttpResponse:
    return HttpResponse(200, headers, b"", timedelta(0))


def test_a_bucket_by_the_stores_figures_never_takes_more_than_its_quota_in_a_window() -> None:
    told = allowance_in(answer(FIGURES))
    assert told is not None
    rate, bucket, taken = told.rate, Bucket(told.maximum, 0.0), 0
    for tick in range(3000):  # a window of 30 s, asked every hundredth of a second
        taken += bucket.answer(Ask(rate), tick / 100).wait == 0
    assert 140 <= taken <= 150


@pytest.mark.parametrize(("left", "available"), [("149", 75), ("10", 10), ("0", 0)])
def test_what_the_store_says_is_left_counts(left: str, available: float) -> None:
    told = allowance_in(answer(FIGURES | {"x-rate-limit-requests-left": left}))
    assert told is not None
    assert told.available == available


@pytest.mark.parametrize("missing", ["requests-quota", "requests-left", "time-window-ms"])
def test_figures_that_are_not_whole_tell_nothing(missing: str) -> None:
    assert allowance_in(answer({k: v for k, v in FIGURES.items() if not k.endswith(missing)})) is None


@pytest.mark.parametrize("value", ["", "many", "-1", "nan", "inf", "9" * 400])
def test_figures_that_are_none_tell_nothing(value: str) -> None:
    assert allowance_in(answer(FIGURES | {"x-rate-limit-requests-quota": value})) is None


def test_the_platforms_pace_is_read_from_its_answers() -> None:
    assert BigCommercePlatform.capabilities.pace.read is allowance_in


async def test_a_page_tells_the_budget(shop: Shop) -> None:
    shop.store.quota = Quota(150)
    budget = (await shop.page()).budget
    assert budget == {"maximum": 150, "available": 148, "window_ms": 30_000, "reset_ms": 30_000}


# --- the connection check ---


def named(check: ConnectionCheck, name: str) -> Finding:
    (finding,) = [finding for finding in check.findings if finding.name == name]
    return finding


async def test_a_check_names_every_scope_that_is_missing(shop: Shop) -> None:
    shop.store.scopes = frozenset({"store_v2_orders_read_only"})
    scopes = named(await shop.platform().check(), "scopes")
    for scope in ("Carts: read-only", "Customers: read-only", "Products: read-only"):
        assert scope in scopes.remedy
    assert ("Orders" in scopes.remedy, scopes.ok) == (False, False)


async def test_a_check_without_any_scope_names_them_all(shop: Shop) -> None:
    shop.store.scopes = frozenset()
    check = await shop.platform().check()
    assert (check.ok, named(check, "scopes").remedy.count("read-only")) == (False, 4)


async def test_a_check_says_that_the_store_is_unknown(shop: Shop) -> None:
    shop.simulator.stores.clear()
    check = await shop.platform().check()
    assert [(finding.name, finding.ok) for finding in check.findings] == [("store_not_found", False)]


async def test_a_check_counts_what_each_look_back_would_find(shop: Shop) -> None:
    for hours in (1, 30, 60, 24 * 20):
        shop.store.abandon(at=NOW - hours * HOUR)
    waiting = named(await shop.platform().check(), "waiting_carts")
    assert waiting.detail == "Incomplete orders by look-back: 1 day: 1, 3 days: 3, 7 days: 3, 30 days: 4."


async def test_a_check_of_a_large_store_says_or_more(shop: Shop) -> None:
    for minutes in range(300):
        shop.store.abandon(at=NOW - minutes * 10 * MINUTE)
    waiting = named(await shop.platform().check(), "waiting_carts")
    assert "1 day: 145, 3 days: 250 or more" in waiting.detail


async def test_a_check_names_a_clock_that_is_off(shop: Shop) -> None:
    shop.simulator.clock_skew = timedelta(minutes=20)
    clock = named(await shop.platform().check(), "clock")
    assert (clock.ok, bool(clock.remedy)) == (False, True)


async def test_a_check_changes_nothing_in_the_store(shop: Shop) -> None:
    await shop.platform().check()
    assert {seen.method for seen in shop.simulator.requests} == {"GET"}


@pytest.mark.parametrize("kind", ["throttled", "suspended", "reset"])
async def test_a_check_that_has_to_wait_says_so(shop: Shop, kind: str) -> None:
    options: dict[str, Any] = {"seconds": 5} if kind == "throttled" else {}
    shop.simulator.inject(kind, times=9, **options)
    check = await shop.platform().check()
    assert (check.ok, all(finding.remedy for finding in check.findings)) == (False, True)
