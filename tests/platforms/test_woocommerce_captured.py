"""Orders and refusals of two real stores, served byte for byte on loopback, through the real adapter."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from backend.domain.carts import CartPage, SeenCart, SourceStatus
from backend.domain.money import to_minor
from backend.errors import FixCredentials, TryLater
from backend.outbound import Outbound, OutboundPolicy
from backend.platforms.base import Connection
from backend.platforms.woocommerce import WooCommercePlatform

DATA = Path(__file__).parents[1] / "data" / "woo"
STORES = ["11.0.1-hpos", "10.6.2-posts"]
NOW = datetime(2026, 11, 20, 12, 38, tzinfo=UTC)
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)

EXCLUDED = {
    "pending_no_items": "empty",
    "pending_zero_total": "nothing_to_pay",
    "pending_qty_zero_price": "nothing_to_pay",
    "status_refunded": "refunded",
    "status_auto-draft": "auto_draft",
    "trashed": "trashed",
}
BOUGHT = {
    "status_processing",
    "status_on-hold",
    "status_completed",
    "recovered",
    "part_refunded",
    "storeapi_processing",
    "storeapi_onhold",
}


def orders(store: str) -> dict[str, dict[str, Any]]:
    """Return the captured orders of one store by what they stand for."""
    kinds: dict[str, dict[str, Any]] = json.loads((DATA / f"orders-{store}.json").read_text())
    return kinds


def every_order() -> list[Any]:
    return [pytest.param(store, kind, id=f"{kind} {store}") for store in STORES for kind in orders(store)]


@dataclass
class Recording:
    """Answers each request with the next of `answers` (status, headers, body), the last one for ever."""

    answers: list[tuple[int, dict[str, str], bytes]] = field(default_factory=list)

    async def answer(self, _request: web.Request) -> web.Response:
        status, headers, body = self.answers[0] if len(self.answers) == 1 else self.answers.pop(0)
        return web.Response(status=status, headers=headers, body=body)


@asynccontextmanager
async def serving(recording: Recording, **options: Any) -> AsyncIterator[WooCommercePlatform]:
    """Serve the recording; yields an adapter of that store."""
    app = web.Application()
    app.router.add_get("/wp-json/wc/v3/orders", recording.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    http = Outbound(OutboundPolicy(allow_loopback=True))
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        settings = {
            "base_url": f"http://127.0.0.1:{runner.addresses[0][1]}",
            "allow_http": True,
            "options": options,
        }
        credentials = {"consumer_key": f"ck_{'a' * 40}", "consumer_secret": f"cs_{'b' * 40}"}
        yield WooCommercePlatform(Connection("c1", "i1", settings, credentials), http, lambda: NOW)
    finally:
        await http.aclose()
        await runner.cleanup()


def listed(records: list[dict[str, Any]]) -> Recording:
    headers = {
        "Content-Type": "application/json; charset=UTF-8",
        "X-WP-Total": str(len(records)),
        "Date": "Fri, 20 Nov 2026 12:38:00 GMT",
    }
    return Recording([(200, headers, json.dumps(records).encode())])


async def read(records: list[dict[str, Any]], **options: Any) -> CartPage:
    async with serving(listed(records), **options) as platform:
        return await platform.fetch_page(LONG_AGO, None)


# --- every captured order ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("store", STORES)
async def test_every_order_becomes_a_cart_or_a_named_exclusion(store: str) -> None:
    captured = orders(store)
    page = await read(list(captured.values()))
    kinds = {str(order["id"]): kind for kind, order in captured.items()}
    assert page.unreadable == ()
    outcome = {kinds[cart.source_cart_id]: str(cart.status) for cart in page.carts}
    outcome |= {kinds[exclusion.source_cart_id]: exclusion.reason for exclusion in page.exclusions}
    assert outcome.keys() == captured.keys()
    drafts = {"storeapi_get_only", "storeapi_left_after_put"} & captured.keys()
    assert {kind: what for kind, what in outcome.items() if what != "made_by_rest-api"} == {
        "storeapi_pending": "open",
        "storeapi_retry_after_failed": "open",
        "storeapi_processing": "completed",
        "storeapi_onhold": "completed",
        **{kind: reason for kind, reason in EXCLUDED.items() if captured[kind]["status"] in NEVER_A_CART},
        **dict.fromkeys(drafts, "open"),
    }


NEVER_A_CART = {"refunded", "trash", "auto-draft"}


@pytest.mark.parametrize("store", STORES)
async def test_where_rest_makes_carts_each_order_is_what_its_status_says(store: str) -> None:
    captured = orders(store)
    page = await read(list(captured.values()), created_via=["rest-api", "store-api"])
    kinds = {str(order["id"]): kind for kind, order in captured.items()}
    assert {kinds[exclusion.source_cart_id]: exclusion.reason for exclusion in page.exclusions} == EXCLUDED
    bought = {kinds[cart.source_cart_id] for cart in page.carts if cart.status is SourceStatus.COMPLETED}
    assert bought == BOUGHT


async def as_cart(store: str, kind: str) -> SeenCart:
    page = await read([orders(store)[kind]], created_via=["rest-api", "store-api"])
    return page.carts[0]


CARTS = [each for each in every_order() if each.values[1] not in EXCLUDED]


@pytest.mark.parametrize(("store", "kind"), CARTS)
async def test_amounts_match_to_the_last_digit(store: str, kind: str) -> None:
    order, cart = orders(store)[kind], await as_cart(store, kind)
    assert (str(cart.total), str(cart.tax), cart.currency) == (order["total"], order["total_tax"], order["currency"])
    assert cart.discount == Decimal(order["discount_total"]) + Decimal(order["discount_tax"])
    assert [line.line_total for line in cart.lines] == [
        Decimal(item["total"]) + Decimal(item["total_tax"]) for item in order["line_items"]
    ]


@pytest.mark.parametrize(("store", "kind"), CARTS)
async def test_lines_shipping_and_fees_add_up_to_the_total(store: str, kind: str) -> None:
    order, cart = orders(store)[kind], await as_cart(store, kind)
    beside = sum(
        (
            Decimal(line["total"]) + Decimal(line["total_tax"])
            for line in [*order["shipping_lines"], *order["fee_lines"]]
        ),
        Decimal(0),
    )
    assert sum((line.line_total for line in cart.lines), beside) == cart.total


@pytest.mark.parametrize(("store", "kind"), CARTS)
async def test_times_are_the_store_s_utc_digits(store: str, kind: str) -> None:
    order, cart = orders(store)[kind], await as_cart(store, kind)
    assert cart.created_at == datetime.fromisoformat(f"{order['date_created_gmt']}+00:00")
    assert cart.updated_at == datetime.fromisoformat(f"{order['date_modified_gmt']}+00:00")


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize(("kind", "minor"), [("pending_jpy", 1500), ("pending_kwd", 4130), ("failed_usd", 2500)])
async def test_minor_units_follow_the_currency_not_the_store(store: str, kind: str, minor: int) -> None:
    cart = await as_cart(store, kind)
    assert to_minor(cart.total, cart.currency) == minor


@pytest.mark.parametrize("store", STORES)
async def test_a_price_with_noise_is_not_used(store: str) -> None:
    (line,) = (await as_cart(store, "pending_fraction")).lines
    assert (line.quantity, line.unit_price, line.line_total) == (Decimal(7), Decimal("3.3329"), Decimal("23.33"))


@pytest.mark.parametrize("store", STORES)
async def test_empty_contact_is_none(store: str) -> None:
    shopper = (await as_cart(store, "pending_no_billing")).shopper
    assert (shopper.email, shopper.phone, shopper.first_name, shopper.country) == (None, None, None, None)


@pytest.mark.parametrize("store", STORES)
async def test_a_phone_alone_is_contact(store: str) -> None:
    shopper = (await as_cart(store, "pending_no_email")).shopper
    assert (shopper.email, shopper.phone, shopper.is_contactable) == (None, "+4930123", True)


async def test_a_draft_left_after_its_address_has_contact_and_plain_names() -> None:
    cart = await as_cart("10.6.2-posts", "storeapi_left_after_put")
    assert (cart.status, cart.shopper.email, cart.shopper.phone) == (
        SourceStatus.OPEN,
        "block1@example.test",
        "+61400000001",
    )
    assert cart.lines[0].title == 'T-shirt "Größe" XL & Ünïcode 🛒'


@pytest.mark.parametrize("store", STORES)
async def test_a_variation_shows_what_was_chosen_and_hides_private_meta(store: str) -> None:
    (line,) = (await as_cart(store, "pending_variation_meta")).lines
    assert line.variant == "Size: L, Farbe: rot, Gravur: für Opa ❤️"
    assert line.variant_id is not None


@pytest.mark.parametrize("store", STORES)
async def test_a_registered_shopper_keeps_the_customer_id_and_a_deleted_one_is_a_guest(store: str) -> None:
    registered = (await as_cart(store, "pending_registered")).shopper
    deleted = (await as_cart(store, "pending_deleted_customer")).shopper
    assert (registered.id, registered.is_guest, deleted.id, deleted.is_guest) == ("2", False, None, True)


# --- refusals and sick sites, as captured -----------------------------------------------------------------------------

REFUSALS = json.loads((DATA / "refusals.json").read_text())
FIX = {
    "http_no_auth": "cannot_view",
    "https_bad_key": "cannot_view",
    "https_bad_secret": "consumer_secret_invalid",
    "oauth_bad_key": "consumer_key_invalid",
    "oauth_bad_secret": "signature_refused",
    "write_key_reads": "key_cannot_read",
    "key_of_plain_customer": "user_cannot_view",
    "plain_permalink_form": "refused_before_woocommerce",
    "double_slash": "woocommerce_missing",
    "woocommerce_missing": "woocommerce_missing",
}
LATER = {
    "oauth_old_timestamp": "clock_apart",
    "oauth_replayed_nonce": "nonce_used",
    "php_warning_before_json": "bad_body",
    "php_fatal": "store_ill",
    "database_down": "store_ill",
    "maintenance_mode": "store_ill",
}


def recorded(name: str) -> Recording:
    refusal = REFUSALS[name]
    return Recording([(refusal["status"], refusal["headers"], refusal["body"].encode())])


def test_every_captured_refusal_is_judged() -> None:
    assert REFUSALS.keys() == {*FIX, *LATER, "status_unknown"}


@pytest.mark.parametrize(("name", "code"), FIX.items())
async def test_what_the_company_must_fix_says_how(name: str, code: str) -> None:
    async with serving(recorded(name)) as platform:
        with pytest.raises(FixCredentials) as caught:
            await platform.fetch_page(NOW, None)
    assert caught.value.code == code
    assert caught.value.remedy


@pytest.mark.parametrize(("name", "code"), LATER.items())
async def test_what_passes_by_itself_is_tried_later(name: str, code: str) -> None:
    async with serving(recorded(name)) as platform:
        with pytest.raises(TryLater) as caught:
            await platform.fetch_page(NOW, None)
    assert caught.value.code == code


async def test_maintenance_waits_as_long_as_the_store_says() -> None:
    async with serving(recorded("maintenance_mode")) as platform:
        with pytest.raises(TryLater) as caught:
            await platform.fetch_page(NOW, None)
    assert caught.value.retry_after == timedelta(minutes=10)


async def test_an_unknown_status_is_dropped_and_the_question_repeated() -> None:
    recording = recorded("status_unknown")
    recording.answers += listed([orders("11.0.1-hpos")["storeapi_pending"]]).answers
    async with serving(recording, statuses=["pending", "nope"]) as platform:
        page = await platform.fetch_page(LONG_AGO, None)
    assert (len(page.carts), page.notices) == (1, ("unknown_status_dropped:nope",))
