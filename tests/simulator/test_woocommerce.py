"""The simulated WooCommerce host answers and refuses as two real stores were seen to."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, encode_basic_auth
from woocommerce.oauth import OAuth
from yarl import URL

from simulator.woocommerce import ApiKey, Item, Site, WooCommerceSimulator

DATA = Path(__file__).parents[1] / "data" / "woo"
NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
ORDERS = "/wp-json/wc/v3/orders"
HOUR = timedelta(hours=1)


def captured(name: str) -> Any:
    return json.loads((DATA / name).read_text())


def basic(secret: str = "cs_secret") -> dict[str, str]:
    return {"Authorization": encode_basic_auth("ck_key", secret)}


@dataclass
class Shop:
    """A running simulator, one site of it, and how its clock is moved."""

    simulator: WooCommerceSimulator
    site: Site
    session: ClientSession
    at: datetime = NOW

    def signed(self, query: str = "", *, path: str = ORDERS, key: str = "ck_key", secret: str = "cs_secret") -> str:
        url = f"{self.simulator.home_url(self.site)}{path}{'?' if query else ''}{query}"
        stamp = int(self.at.timestamp())
        return str(OAuth(url, key, secret, version="wc/v3", oauth_timestamp=stamp).get_oauth_url())

    async def get(self, url: str, **options: Any) -> tuple[int, Any]:
        async with self.session.get(URL(url, encoded=True), **options) as answer:
            return answer.status, await answer.json(content_type=None)

    async def ask(self, query: str = "", **options: Any) -> tuple[int, Any]:
        return await self.get(self.signed(query, **options))

    async def ids(self, query: str) -> list[int]:
        status, orders = await self.ask(query)
        assert status == 200, orders
        return [order["id"] for order in orders]

    async def refused(self, query: str = "", **options: Any) -> tuple[int, str, str]:
        status, body = await self.ask(query, **options)
        return status, body["code"], body["message"]


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    running: Shop
    simulator = WooCommerceSimulator(lambda: running.at)
    async with simulator.running(), ClientSession() as session:
        running = Shop(simulator, simulator.add_site("/s0"), session)
        yield running


# --- who is let in ----------------------------------------------------------------------------------------------------


async def test_a_signed_question_over_http_is_answered(shop: Shop) -> None:
    order = shop.site.add()
    assert await shop.ids("") == [order.id]


@pytest.mark.parametrize("query", ["", "consumer_key=ck_key&consumer_secret=cs_secret"])
async def test_basic_and_keys_in_the_query_are_ignored_over_http(shop: Shop, query: str) -> None:
    url = f"{shop.simulator.home_url(shop.site)}{ORDERS}?{query}"
    status, body = await shop.get(url, headers=basic())
    assert (status, body) == (401, json.loads(captured("refusals.json")["http_no_auth"]["body"]))


async def test_basic_is_taken_where_tls_ends_before_the_site(shop: Shop) -> None:
    shop.site.tls_terminated = True
    url = f"{shop.simulator.home_url(shop.site)}{ORDERS}"
    assert await shop.get(url, headers=basic()) == (200, [])


async def test_a_stripped_authorization_header_looks_like_no_key(shop: Shop) -> None:
    shop.site.tls_terminated = shop.site.strips_authorization = True
    url = f"{shop.simulator.home_url(shop.site)}{ORDERS}"
    status, body = await shop.get(url, headers=basic())
    assert (status, body["code"]) == (401, "woocommerce_rest_cannot_view")


async def test_a_wrong_secret_over_tls_is_named(shop: Shop) -> None:
    shop.site.tls_terminated = True
    url = f"{shop.simulator.home_url(shop.site)}{ORDERS}"
    answer = await shop.get(url, headers=basic("wrong"))
    assert answer == (401, json.loads(captured("refusals.json")["https_bad_secret"]["body"]))


async def test_a_url_is_good_for_one_request(shop: Shop) -> None:
    url = shop.signed()
    await shop.get(url)
    answer = await shop.get(url)
    assert answer == (401, json.loads(captured("refusals.json")["oauth_replayed_nonce"]["body"]))


@pytest.mark.parametrize(("minutes", "status"), [(14, 200), (16, 401), (-14, 200), (-16, 401)])
async def test_a_signature_lives_fifteen_minutes(shop: Shop, minutes: int, status: int) -> None:
    shop.simulator.clock_skew = timedelta(minutes=minutes)
    assert (await shop.ask())[0] == status


async def test_a_parameter_sent_twice_is_refused(shop: Shop) -> None:
    url = shop.signed("per_page=5")
    status, body = await shop.get(f"{url}&per_page=5")
    assert (status, body["message"]) == (401, "Invalid signature - provided signature does not match.")


async def test_the_signature_is_made_over_the_home_url(shop: Shop) -> None:
    shop.site.home_url = "http://shop.example"
    url = shop.signed()
    assert (await shop.get(url.replace("http://shop.example", f"{shop.simulator.base_url}/s0")))[0] == 200


async def test_a_signature_over_another_host_is_refused(shop: Shop) -> None:
    url = shop.signed()
    shop.site.home_url = "http://shop.example"
    assert (await shop.get(url))[0] == 401


async def test_a_write_key_cannot_read(shop: Shop) -> None:
    shop.site.keys["ck_key"].permissions = "write"
    assert await shop.refused() == (
        401,
        "woocommerce_rest_authentication_error",
        "The API key provided does not have read permissions.",
    )


async def test_a_read_key_cannot_write(shop: Shop) -> None:
    order = shop.site.add()
    url = f"{shop.simulator.home_url(shop.site)}{ORDERS}/{order.id}"
    signer = OAuth(url, "ck_key", "cs_secret", version="wc/v3", method="PUT", oauth_timestamp=int(NOW.timestamp()))
    async with shop.session.put(URL(signer.get_oauth_url(), encoded=True), json={}) as answer:
        assert (await answer.json())["message"] == "The API key provided does not have write permissions."


async def test_a_plain_customer_s_key_is_the_only_403(shop: Shop) -> None:
    shop.site.keys["ck_key"].manages_orders = False
    assert (await shop.refused())[:2] == (403, "woocommerce_rest_cannot_view")


async def test_the_key_of_one_site_does_not_open_another(shop: Shop) -> None:
    other = shop.simulator.add_site("/s1", keys={"ck_other": ApiKey("cs_other")})
    url = shop.signed().replace("/s0/", "/s1/")
    status, body = await shop.get(url)
    assert (status, body["message"], other.orders) == (401, "Consumer key is invalid.", {})


# --- paths ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/wp-json/wc/v3//orders", "/wp-json/wc/v4/orders", f"{ORDERS}/abc"])
async def test_a_wrong_path_is_no_route(shop: Shop, path: str) -> None:
    assert (await shop.refused(path=path))[:2] == (404, "rest_no_route")


async def test_without_the_plugin_there_is_no_route(shop: Shop) -> None:
    shop.site.woocommerce_missing = True
    answer = await shop.ask()
    assert answer == (404, json.loads(captured("refusals.json")["woocommerce_missing"]["body"]))


async def test_a_deleted_order_is_an_invalid_id(shop: Shop) -> None:
    order = shop.site.add()
    shop.site.delete(order.id)
    answer = await shop.refused(path=f"{ORDERS}/{order.id}")
    assert answer[:2] == (404, "woocommerce_rest_shop_order_invalid_id")


async def test_a_trashed_order_can_be_read_by_id(shop: Shop) -> None:
    order = shop.site.add()
    shop.site.trash(order.id)
    status, body = await shop.ask(path=f"{ORDERS}/{order.id}")
    assert (status, body["status"]) == (200, "trash")


async def test_index_php_before_the_path_works(shop: Shop) -> None:
    assert await shop.ask(path=f"/index.php{ORDERS}") == (200, [])


# --- what a list holds ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("version", "found"), [("10.6.2", 2), ("11.0.1", 1)])
async def test_any_holds_drafts_in_old_versions_only(shop: Shop, version: str, found: int) -> None:
    shop.site.version = version
    shop.site.add()
    shop.site.add(status="checkout-draft")
    assert len(await shop.ids("status=any,checkout-draft")) == found


@pytest.mark.parametrize(("storage", "found"), [("hpos", 1), ("posts", 0)])
async def test_an_empty_status_is_all_or_nothing(shop: Shop, storage: Any, found: int) -> None:
    shop.site.storage, shop.site.tls_terminated = storage, True
    shop.site.add()
    url = f"{shop.simulator.home_url(shop.site)}{ORDERS}?status="
    status, orders = await shop.get(url, headers=basic())
    assert (status, len(orders)) == (200, found)


@pytest.mark.parametrize(("storage", "found"), [("hpos", 0), ("posts", 2)])
async def test_auto_draft_drops_the_filter_on_posts(shop: Shop, storage: Any, found: int) -> None:
    shop.site.storage = storage
    shop.site.add()
    shop.site.add(status="trash")
    assert len(await shop.ids("status=auto-draft")) == found


async def test_custom_statuses_are_among_the_allowed(shop: Shop) -> None:
    shop.site.custom_statuses = ["shipped"]
    assert (await shop.ask("status=nope"))[1]["data"]["params"]["status"].endswith("checkout-draft, and shipped.")


async def test_an_order_in_the_second_of_the_cursor_is_left_out(shop: Shop) -> None:
    shop.site.add(at=NOW)
    later = shop.site.add(at=NOW + timedelta(seconds=1))
    assert await shop.ids("modified_after=2026-11-20T12:00:00&dates_are_gmt=true") == [later.id]


@pytest.mark.parametrize("zone", ["Z", "%2B00:00"])
async def test_a_zone_with_the_gmt_flag_is_shifted_by_the_site_s_offset(shop: Shop, zone: str) -> None:
    shop.site.add(at=NOW)
    late = shop.site.add(at=NOW + timedelta(hours=10, minutes=31))
    assert await shop.ids(f"modified_after=2026-11-20T11:59:59{zone}&dates_are_gmt=true") == [late.id]


async def test_a_store_too_old_for_modified_after_answers_everything(shop: Shop) -> None:
    shop.site.knows_modified = False
    order = shop.site.add(at=NOW - 48 * HOUR, status="failed")
    assert await shop.ids("modified_after=2026-11-20T12:00:00&dates_are_gmt=true") == [order.id]


async def test_ties_are_broken_by_id(shop: Shop) -> None:
    ids = [shop.site.add().id for _ in range(5)]
    pages = [await shop.ids(f"orderby=modified&order=asc&per_page=2&page={page}") for page in (1, 2, 3)]
    assert [order_id for page in pages for order_id in page] == ids


async def test_exclude_leaves_orders_out(shop: Shop) -> None:
    first, second = shop.site.add(), shop.site.add()
    assert await shop.ids(f"exclude={first.id}") == [second.id]


@pytest.mark.parametrize(("storage", "totals"), [("hpos", ("0", "0")), ("posts", ("1", "1"))])
async def test_past_the_end_is_an_empty_page(shop: Shop, storage: Any, totals: tuple[str, str]) -> None:
    shop.site.storage = storage
    shop.site.add()
    async with shop.session.get(URL(shop.signed("page=9"), encoded=True)) as answer:
        headers = answer.headers["X-WP-Total"], answer.headers["X-WP-TotalPages"]
        assert (answer.status, await answer.json(), headers) == (200, [], totals)


async def test_the_next_link_repeats_the_used_signature(shop: Shop) -> None:
    shop.site.add()
    shop.site.add()
    async with shop.session.get(URL(shop.signed("per_page=1"), encoded=True)) as answer:
        link = answer.headers["Link"].partition(">")[0].removeprefix("<")
    assert "oauth_signature=" in link
    assert (await shop.get(link))[0] == 401


async def test_fields_can_be_chosen(shop: Shop) -> None:
    order = shop.site.add()
    assert await shop.ask("_fields=id,status") == (200, [{"id": order.id, "status": "pending"}])


@pytest.mark.parametrize(
    ("currency", "price", "decimals", "shown"),
    [("JPY", "1500", "", "1500.00"), ("KWD", "4.125", "", "4.13"), ("KWD", "4.125", "dp=3", "4.130")],
)
async def test_money_has_the_store_s_decimals(shop: Shop, currency: str, price: str, decimals: str, shown: str) -> None:
    shop.site.add(total=price, currency=currency)
    assert (await shop.ask(decimals))[1][0]["total"] == shown


async def test_dates_without_gmt_are_local_and_do_not_say_so(shop: Shop) -> None:
    for hour in (16, 17):
        shop.site.add(at=datetime(2026, 4, 4, hour, 15, tzinfo=UTC), status="failed")
    orders = (await shop.ask())[1]
    assert [order["date_created"] for order in orders] == ["2026-04-05T02:45:00"] * 2


# --- what happens by itself -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("via", "minutes", "status"),
    [
        ("checkout", 61, "cancelled"),
        ("store-api", 61, "cancelled"),
        ("rest-api", 61, "pending"),
        ("checkout", 59, "pending"),
    ],
)
async def test_unpaid_orders_of_shoppers_are_cancelled_after_an_hour(
    shop: Shop, via: str, minutes: int, status: str
) -> None:
    order = shop.site.add(created_via=via)
    shop.at += timedelta(minutes=minutes)
    await shop.ask()
    assert order.status == status


async def test_without_stock_management_nothing_is_cancelled(shop: Shop) -> None:
    shop.site.hold_stock_minutes = None
    order = shop.site.add()
    shop.at += 48 * HOUR
    await shop.ask()
    assert order.status == "pending"


async def test_old_drafts_are_deleted_for_good(shop: Shop) -> None:
    shop.site.add(status="checkout-draft")
    shop.at += 25 * HOUR
    assert await shop.ids("status=checkout-draft") == []


@pytest.mark.parametrize(
    ("storage", "change", "moves"),
    [
        ("hpos", {}, True),
        ("hpos", {"billing": {"email": "new@example.test"}}, True),
        ("posts", {}, False),
        ("posts", {"billing": {"email": "new@example.test"}}, False),
        ("posts", {"items": [Item(total=Item().total * 2)]}, False),
        ("posts", {"customer_note": "ring twice"}, True),
        ("posts", {"status": "failed"}, True),
    ],
)
def test_what_moves_the_modified_date(storage: Any, change: dict[str, Any], moves: bool) -> None:
    site = Site("", lambda: NOW, storage=storage)
    order = site.add(at=NOW - HOUR)
    site.put(order.id, **change)
    assert (order.modified_at == NOW) is moves


# --- a site that is ill -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "name"),
    [("php_fatal", "php_fatal"), ("database_down", "database_down"), ("maintenance", "maintenance_mode")],
)
async def test_a_sick_site_answers_as_a_real_one(shop: Shop, kind: str, name: str) -> None:
    real = captured("refusals.json")[name]
    shop.simulator.inject(kind)
    async with shop.session.get(URL(shop.signed(), encoded=True)) as answer:
        assert answer.status == real["status"]
        assert answer.headers["Content-Type"].lower() == real["headers"]["content-type"].lower()
        assert answer.headers.get("Retry-After") == real["headers"].get("retry-after")


async def test_a_warning_of_php_comes_before_the_json(shop: Shop) -> None:
    shop.simulator.inject("php_warning")
    async with shop.session.get(URL(shop.signed(), encoded=True)) as answer:
        text = await answer.text()
        assert (answer.status, answer.content_type) == (200, "application/json")
    assert text.startswith("<br />\n<b>Warning</b>")
    assert text.endswith("[]")
