"""No answer of a store is a bug of ours: whatever it says, the poll gets a page or one of the decisions."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import orjson
import pytest

from backend.clock import Clock
from backend.domain.carts import CartPage, SeenCart
from backend.domain.cursor import Cursor
from backend.domain.lifecycle import AgentRules, first_sight
from backend.domain.limits import fitted
from backend.domain.skew import aligned
from backend.domain.walks import WalkGuard
from backend.errors import FixCredentials, OurFault, PlatformError, TryLater
from backend.outbound import HttpRequest, HttpResponse, Outbound, OutboundPolicy
from backend.platforms.base import Platform
from backend.platforms.registry import PLATFORMS
from tests.contract.stores import Store, open_store, simulator_of
from tests.hostile.fuzz import bent

SHOPS = ("bigcommerce", "custom", "magento", "shopify", "woocommerce")
ONE_ANSWER = ("custom", "shopify", "woocommerce")  # to a page; the others ask several times for one
SEEDS = range(200)
ERRORS: tuple[Mapping[str, Any], ...] = (
    {"errors": [{"message": "Throttled", "extensions": {"code": "THROTTLED"}, "path": ["a", 1]}], "data": None},
    {"errors": {"scope": "this action requires merchant approval for read_orders scope"}},
    {"code": "woocommerce_rest_authentication_error", "message": "Invalid signature", "data": {"status": 401}},
    {"code": "rest_invalid_param", "data": {"status": 400, "params": {"status": "status[0] is not one of pending"}}},
    {
        "message": "The consumer isn't authorized to access %resources.",
        "parameters": {"resources": "Magento_Cart::manage"},
    },
    {"message": "The nonce is already being used by the consumer with ID %1.", "parameters": [1], "trace": "#0"},
    {"error": {"code": "invalid_cursor", "message": "the cursor is too old"}},
)


class Keeping(Outbound):
    """The real door, which keeps the first answer: the one that has the carts."""

    first: HttpResponse | None = None

    async def send(self, request: HttpRequest) -> HttpResponse:
        """Send the request and keep its answer if none is kept yet."""
        answer = await super().send(request)
        self.first = self.first or answer
        return answer


@dataclass(slots=True)
class Bench:
    """One shop with two carts, its adapter, and the body it answers with."""

    store: Store
    adapter: Platform
    sound: Any

    async def answered(self, body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> CartPage | None:
        """Poll while the shop answers with `body`; return the page as it would be stored, None for a decision."""
        simulator = simulator_of(self.store)
        simulator.faults.clear()
        text = orjson.dumps(body).decode()
        simulator.inject("status", status=status, body=text, headers=dict(headers or {}), times=9)
        try:
            page = await self.adapter.fetch_page(datetime.now(UTC) - timedelta(days=3), None)
        except (PlatformError, OurFault) as decision:
            _check_words(decision)
            return None
        return _as_stored(page)


def _check_words(decision: PlatformError | OurFault) -> None:
    """A decision is shown to people and stored in columns."""
    remedy = getattr(decision, "remedy", "")
    assert "\x00" not in f"{decision}{remedy}"
    assert (len(decision.code) <= 100, len(remedy) <= 1000) == (True, True)


def _check_types(cart: SeenCart) -> None:
    """Every text is one that a column takes, every amount a number that was meant."""
    person = cart.shopper
    texts: list[Any] = [cart.source_cart_id, cart.currency, cart.order_ref, cart.recovery_url, *cart.coupons]
    texts += [person.id, person.email, person.phone, person.first_name, person.last_name, person.locale, person.country]
    amounts: list[Any] = [cart.total, cart.subtotal, cart.discount, cart.tax]
    for each in cart.lines:
        texts += [
            each.id,
            each.title,
            each.product_id,
            each.variant_id,
            each.sku,
            each.variant,
            each.image_url,
            each.url,
        ]
        amounts += [each.quantity, each.unit_price, each.line_total]
    assert [text for text in texts if text is not None and (not isinstance(text, str) or "\x00" in text)] == []
    assert [amount for amount in amounts if amount is not None and not Decimal(amount).is_finite()] == []
    assert (len(cart.currency), len(person.country or "xx"), cart.updated_at.tzinfo) == (3, 2, UTC)


def _as_stored(page: CartPage) -> CartPage:
    """Do to a page what comes before it is saved."""
    now = datetime.now(UTC)
    WalkGuard().saw(Cursor(), page)
    page = aligned(fitted(page), timedelta(days=1), now)
    for cart in page.carts:
        first_sight(cart, ("cart", "store", "agent"), AgentRules(), now)
        _check_types(cart)
    assert len(page.next_page_token or "") < 100_000
    return page


@asynccontextmanager
async def bench_of(platform: str) -> AsyncIterator[Bench]:
    store, http = open_store(platform), Keeping(OutboundPolicy(allow_loopback=True))
    await store.start()
    try:
        for number in range(2):
            await store.add(f"c{number}", datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=45 + number))
        adapter = PLATFORMS[platform](await store.connection(), http, Clock().now)
        page = await adapter.fetch_page(datetime.now(UTC) - timedelta(days=3), None)
        assert len(page.carts) == 2
        assert http.first is not None
        yield Bench(store, adapter, http.first.json())
    finally:
        await http.aclose()
        await store.stop()


@pytest.mark.parametrize("platform", ONE_ANSWER)
async def test_a_bent_answer_is_a_page_or_a_decision(platform: str) -> None:
    async with bench_of(platform) as bench:
        pages = [await bench.answered(bent(bench.sound, seed)) for seed in SEEDS]
    # Most places that can be bent are single fields, so most pages still have a cart that can be read.
    assert sum(page is not None and bool(page.carts) for page in pages) > len(SEEDS) // 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500])
@pytest.mark.parametrize("platform", SHOPS)
async def test_a_bent_refusal_is_a_decision(platform: str, status: int) -> None:
    async with bench_of(platform) as bench:
        for seed in range(40):
            assert await bench.answered(bent(ERRORS[seed % len(ERRORS)], seed), status) is None


@pytest.mark.parametrize("platform", SHOPS)
async def test_bent_errors_in_a_sound_answer_are_a_page_or_a_decision(platform: str) -> None:
    async with bench_of(platform) as bench:
        for seed in range(60):
            await bench.answered(bent(ERRORS[seed % len(ERRORS)], seed))


@pytest.mark.parametrize("location", ["http://[", "//[::1", "http://\u2100.example/", "x" * 9000, ""])
@pytest.mark.parametrize("platform", SHOPS)
async def test_a_redirect_to_nowhere_is_a_decision(platform: str, location: str) -> None:
    async with bench_of(platform) as bench:
        headers = {"Location": location.encode().decode("latin-1")}
        assert await bench.answered({}, 302, headers) is None


@pytest.mark.parametrize("total", ["9" * 5000, "-1", "1e9", "\u0663", ""])
async def test_a_count_that_is_none_is_left_alone(total: str) -> None:
    async with bench_of("woocommerce") as bench:
        headers = {"X-WP-Total": total.encode().decode("latin-1")}
        page = await bench.answered(bench.sound, headers=headers)
    assert page is not None
    assert len(page.carts) == 2


async def decision_of(platform: str, status: int, headers: Mapping[str, str], body: Any = None) -> PlatformError:
    """Return what the adapter makes of an answer."""
    async with bench_of(platform) as bench:
        simulator = simulator_of(bench.store)
        simulator.inject(
            "status", status=status, body=orjson.dumps(body or {}).decode(), headers=dict(headers), times=9
        )
        with pytest.raises(PlatformError) as caught:
            await bench.adapter.fetch_page(datetime.now(UTC), None)
        return caught.value


@pytest.mark.parametrize("platform", SHOPS)
@pytest.mark.parametrize(
    ("value", "seconds"),
    [("77", 77), ("1000000000", 86_400), ("-5", None), ("soon", None), ("", None), ("1e9", None)],
)
async def test_the_time_that_a_store_names_is_kept_or_clamped(platform: str, value: str, seconds: int | None) -> None:
    decision = await decision_of(platform, 429, {"Retry-After": value})
    assert isinstance(decision, TryLater)
    assert decision.retry_after == (None if seconds is None else timedelta(seconds=seconds))


@pytest.mark.parametrize("platform", SHOPS)
async def test_a_date_to_wait_for_is_meant_by_the_stores_own_clock(platform: str) -> None:
    headers = {"Date": "Fri, 20 Nov 2020 12:00:00 GMT", "Retry-After": "Fri, 20 Nov 2020 12:01:30 GMT"}
    decision = await decision_of(platform, 503, headers)
    assert isinstance(decision, TryLater)
    assert decision.retry_after == timedelta(seconds=90)


@pytest.mark.parametrize("platform", SHOPS)
@pytest.mark.parametrize("status", [401, 403, 402, 423])
async def test_what_only_the_company_can_mend_is_its_to_mend(platform: str, status: int) -> None:
    decision = await decision_of(platform, status, {})
    assert (type(decision), bool(decision.remedy)) == (FixCredentials, True)


@pytest.mark.parametrize("platform", SHOPS)
@pytest.mark.parametrize("status", [408, 409, 413, 425, 500, 502, 503, 504, 507])
async def test_what_passes_by_itself_is_tried_later(platform: str, status: int) -> None:
    assert isinstance(await decision_of(platform, status, {}), TryLater)


async def test_what_a_store_says_is_quoted_in_one_plain_line() -> None:
    said = {"errors": "no\x00\r\nSet-Cookie: x\u202e" + "y" * 9000}
    decision = await decision_of("shopify", 500, {}, said)
    assert (str(decision).isprintable(), len(str(decision)) < 300) == (True, True)


async def test_a_parameter_that_a_store_names_is_quoted_in_one_plain_line() -> None:
    said = {"code": "rest_invalid_param", "data": {"params": {"per\x00page\n" + "x" * 9000: "bad"}}}
    decision = await decision_of("woocommerce", 400, {}, said)
    assert (str(decision).isprintable(), len(str(decision)) < 300) == (True, True)


@pytest.mark.parametrize("name", ["read_" + "x" * 5000, " ".join(f"read_{'x' * 20}{n}" for n in range(500))])
async def test_scopes_that_a_shop_makes_up_fit_into_the_remedy(name: str) -> None:
    decision = await decision_of("shopify", 403, {}, {"errors": name})
    assert (type(decision), len(decision.remedy) <= 1000) == (FixCredentials, True)
