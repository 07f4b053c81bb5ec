"""The Shopify adapter against the simulated shop: walking, trouble, rereads and the check."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from backend.domain.carts import SourceStatus
from backend.errors import AddressBlocked, FixCredentials, TryLater
from backend.outbound import Outbound, OutboundPolicy
from backend.platforms.base import Finding
from backend.platforms.shopify import ShopifyPlatform, page_query
from backend.platforms.shopify.queries import CARTS_PER_REREAD, check_query, reread_query
from backend.platforms.shopify.walk import Walk
from simulator.shopify.engine import requested_cost
from simulator.shopify.prerender import PrerenderOrder
from simulator.shopify.schema import VERSIONS
from tests.platforms.shopify_store import NOON, SINCE, Store, running_shop


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    async with running_shop() as running:
        yield running


def _asked(store: Store, index: int = -1) -> dict[str, Any]:
    """Return the variables of a request."""
    variables: dict[str, Any] = json.loads(store.simulator.requests[index].body)["variables"]
    return variables


class TestWalk:
    async def test_a_walk_with_stored_tokens_sees_every_cart_once(self, store: Store) -> None:
        ids = [store.shop.add_cart() for _ in range(7)]
        assert await store.walk(options={"page_size": 3}) == ids

    async def test_the_window_is_asked_for_with_a_quoted_time_and_no_upper_bound(self, store: Store) -> None:
        await store.page()
        assert _asked(store)["query"] == "updated_at:>='2026-11-17T12:00:00Z'"

    async def test_the_search_stays_the_same_on_every_page(self, store: Store) -> None:
        for _ in range(5):
            store.shop.add_cart()
        await store.walk(options={"page_size": 2})
        assert len({_asked(store, index)["query"] for index in range(3)}) == 1

    async def test_a_cart_older_than_the_window_is_not_asked_for(self, store: Store) -> None:
        store.shop.add_cart(updated_at=SINCE - timedelta(seconds=1))
        assert (await store.page()).carts == ()

    async def test_a_bought_cart_is_seen_as_completed(self, store: Store) -> None:
        bought = store.shop.add_cart(updated_at=NOON - timedelta(hours=1))
        store.shop.complete(bought, NOON)
        cart = await store.only_cart()
        assert (cart.status, cart.completed_at) == (SourceStatus.COMPLETED, NOON)

    async def test_carts_changed_and_purged_in_mid_walk_hide_no_neighbour(self, store: Store) -> None:
        ids = [store.shop.add_cart() for _ in range(4)]
        first = await store.page(options={"page_size": 2})
        store.shop.touch(ids[0], NOON, total="11.00")
        store.shop.delete(ids[1])
        second = await store.page(first.next_page_token, options={"page_size": 2})
        assert [cart.source_cart_id for cart in second.carts] == ids[2:]

    async def test_the_page_carries_the_stores_own_time(self, store: Store) -> None:
        store.simulator.clock_skew = timedelta(minutes=2)
        assert (await store.page()).server_time == NOON + timedelta(minutes=2)

    async def test_the_page_carries_the_budget(self, store: Store) -> None:
        budget = (await store.page()).budget
        assert budget is not None
        assert (budget["maximum"], budget["restored_per_second"]) == (2000.0, 100.0)

    async def test_a_page_that_costs_too_much_is_asked_for_by_halves(self, store: Store) -> None:
        ids = [store.shop.add_cart() for _ in range(3)]
        refusal = {"errors": [{"message": "Query cost is 2003", "extensions": {"code": "MAX_COST_EXCEEDED"}}]}
        store.answer_with(refusal)
        page = await store.page(options={"page_size": 4})
        assert [cart.source_cart_id for cart in page.carts] == ids[:2]
        assert page.notices == ("page_halved",)

    async def test_the_smaller_page_is_kept_for_the_rest_of_the_walk(self, store: Store) -> None:
        for _ in range(3):
            store.shop.add_cart()
        store.answer_with({"errors": [{"message": "", "extensions": {"code": "MAX_COST_EXCEEDED"}}]})
        page = await store.page(options={"page_size": 4})
        await store.page(page.next_page_token, options={"page_size": 4})
        assert _asked(store)["first"] == 2

    async def test_a_single_cart_that_costs_too_much_is_said_to_be_too_costly(self, store: Store) -> None:
        for _ in range(2):
            store.answer_with({"errors": [{"message": "", "extensions": {"code": "MAX_COST_EXCEEDED"}}]})
        with pytest.raises(TryLater) as caught:
            await store.page(options={"page_size": 2})
        assert caught.value.code == "query_too_costly"

    async def test_a_cursor_that_is_no_longer_known_restarts_the_walk(self, store: Store) -> None:
        ids = [store.shop.add_cart() for _ in range(3)]
        page = await store.page(Walk(first=3, after="bm8gY3Vyc29y").token(), options={"page_size": 3})
        assert ([cart.source_cart_id for cart in page.carts], page.notices) == (ids, ("walk_restarted",))

    async def test_past_the_deepest_page_the_walk_goes_on_above_the_last_id(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store.shop.page_limit = 4
        monkeypatch.setattr("backend.platforms.shopify.walk.DEEPEST_LIST", 4)
        ids = [store.shop.add_cart() for _ in range(9)]
        assert await store.walk(options={"page_size": 2}) == ids

    async def test_prerendered_pages_walk_like_any_other(self, store: Store) -> None:
        order = PrerenderOrder(query=page_query("2026-10"), carts=250, page_size=100)
        store.simulator.prerender("s0", order)
        assert len(set(await store.walk())) == 250

    async def test_prerendered_pages_can_be_walked_past_the_deepest_one(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("backend.platforms.shopify.walk.DEEPEST_LIST", 200)
        store.simulator.prerender("s0", PrerenderOrder(query=page_query("2026-10"), carts=550, page_size=100))
        assert len(set(await store.walk(options={"page_size": 100}))) == 550

    async def test_a_prerendered_cart_is_of_realistic_size(self, store: Store) -> None:
        store.simulator.prerender("s0", PrerenderOrder(query=page_query("2026-10"), carts=100))
        body = store.simulator.prerendered["s0"].pages[None]
        assert 2500 < len(body) / 100 < 3100


class TestCosts:
    @pytest.mark.parametrize("version", VERSIONS)
    @pytest.mark.parametrize("first", [100, 250])
    def test_a_page_stays_under_what_one_query_may_cost(self, version: str, first: int) -> None:
        assert requested_cost(version, page_query(version), {"first": first, "query": ""}) < 1000

    @pytest.mark.parametrize("version", VERSIONS)
    def test_a_reread_stays_under_what_one_query_may_cost(self, version: str) -> None:
        assert requested_cost(version, reread_query(version), {"ids": ["x"] * CARTS_PER_REREAD}) < 1000

    def test_a_check_costs_next_to_nothing(self) -> None:
        assert requested_cost("2026-10", *check_query(NOON)) < 20


REFUSALS = [
    (401, {"errors": "[API] Invalid API key or access token"}, "access_token_refused"),
    (402, {"errors": "Unavailable Shop"}, "shop_frozen"),
    (403, {"errors": "[API] This action requires merchant approval for read_orders scope."}, "scope_missing"),
    (403, "<html>Forbidden</html>", "scope_missing"),
    (404, {"errors": "Not Found"}, "shop_not_found"),
    (423, {"errors": {"shop": "Locked"}}, "shop_locked"),
    (200, {"errors": [{"message": "x", "extensions": {"code": "SHOP_INACTIVE"}}]}, "shop_frozen"),
    (
        200,
        {"data": None, "errors": [{"message": "Access denied", "extensions": {"code": "ACCESS_DENIED"}}]},
        "scope_missing",
    ),
]
TROUBLES = [
    (430, {"errors": "Security"}, "security_rejection"),
    (429, {"errors": "Exceeded 2 calls per second"}, "rate_limited"),
    (500, "", "http_500"),
    (502, "<html>Bad gateway</html>", "http_502"),
    (400, {"errors": {"query": "Required parameter missing or invalid"}}, "http_400"),
    (301, "", "http_301"),
    (200, "<html>Briefly unavailable</html>", "bad_body"),
    (200, "[]", "bad_body"),
    (200, {"errors": "Internal Server Error"}, "query_failed"),
    (200, {"errors": {"base": ["broken"]}}, "query_failed"),
    (200, {"errors": ["broken"]}, "query_failed"),
    (200, {"errors": [{"message": "x", "extensions": "y"}]}, "query_failed"),
    (200, {}, "query_failed"),
    (200, {"data": {"abandonedCheckouts": None}}, "bad_answer"),
    (200, {"data": {"abandonedCheckouts": {"nodes": [], "pageInfo": {"hasNextPage": True}}}}, "bad_answer"),
]


class TestTrouble:
    @pytest.mark.parametrize(("status", "body", "code"), REFUSALS)
    async def test_what_the_company_must_put_right(self, store: Store, status: int, body: Any, code: str) -> None:
        store.answer_with(body, status)
        with pytest.raises(FixCredentials) as caught:
            await store.page()
        assert (caught.value.code, bool(caught.value.remedy)) == (code, True)

    @pytest.mark.parametrize(("status", "body", "code"), TROUBLES)
    async def test_what_may_be_over_later(self, store: Store, status: int, body: Any, code: str) -> None:
        store.answer_with(body, status)
        with pytest.raises(TryLater) as caught:
            await store.page()
        assert caught.value.code == code

    @pytest.mark.parametrize(
        ("fault", "code"), [("reset", "connection_failed"), ("nan", "bad_body"), ("deep", "bad_body")]
    )
    async def test_a_broken_exchange_may_be_over_later(self, store: Store, fault: str, code: str) -> None:
        store.simulator.inject(fault, times=3)
        with pytest.raises(TryLater) as caught:
            await store.page()
        assert caught.value.code == code

    async def test_a_revoked_token_is_refused(self, store: Store) -> None:
        adapter = store.adapter()
        store.shop.revoke()
        with pytest.raises(FixCredentials) as caught:
            await adapter.fetch_page(SINCE, None)
        assert caught.value.code == "access_token_refused"

    async def test_a_throttled_query_waits_until_the_bucket_holds_it(self, store: Store) -> None:
        store.shop.bucket.available = 235
        with pytest.raises(TryLater) as caught:
            await store.page()
        requested = requested_cost("2026-10", page_query("2026-10"), {"first": 100, "query": ""})
        assert caught.value.retry_after == timedelta(seconds=(requested - 235) / 100)

    async def test_a_throttled_answer_without_figures_names_no_time(self, store: Store) -> None:
        store.answer_with({"errors": [{"message": "Throttled"}]})
        with pytest.raises(TryLater) as caught:
            await store.page()
        assert (caught.value.code, caught.value.retry_after) == ("throttled", None)

    async def test_a_429_waits_as_told_in_fractions_of_seconds(self, store: Store) -> None:
        store.answer_with({"errors": "slow down"}, 429, **{"Retry-After": "2.5"})
        with pytest.raises(TryLater) as caught:
            await store.page()
        assert caught.value.retry_after == timedelta(seconds=2.5)

    async def test_a_missing_scope_is_named_even_when_only_the_customer_is_lacking(self, store: Store) -> None:
        store.shop.scopes = ("read_orders",)
        store.shop.add_cart()
        with pytest.raises(FixCredentials) as caught:
            await store.page()
        assert (caught.value.code, "read_customers" in str(caught.value)) == ("scope_missing", True)

    async def test_a_record_that_shopify_answers_in_part_is_unreadable_and_the_others_are_read(
        self, store: Store
    ) -> None:
        ids = [store.shop.add_cart() for _ in range(3)]
        store.simulator.inject("null_records", options={"positions": [1]})
        page = await store.page()
        assert [cart.source_cart_id for cart in page.carts] == [ids[0], ids[2]]
        assert [(r.source_cart_id, r.reason) for r in page.unreadable] == [(ids[1], "partly_answered")]
        assert page.notices == ("partial_answer",)

    async def test_a_version_that_fell_forward_is_noticed(self, store: Store) -> None:
        page = await store.page(api_version="2025-07")
        assert page.notices == ("api_version_fell_forward",)

    async def test_our_own_guards_refusal_passes_through(self, store: Store) -> None:
        door = Outbound(OutboundPolicy(allow_loopback=False))
        try:
            with pytest.raises(AddressBlocked):
                await ShopifyPlatform(store.connection(), door, lambda: NOON).fetch_page(SINCE, None)
        finally:
            await door.aclose()


class TestReread:
    async def test_a_cart_is_read_as_it_is_now(self, store: Store) -> None:
        source_id = store.shop.add_cart(updated_at=NOON - timedelta(hours=1))
        store.shop.complete(source_id, NOON)
        (cart,) = (await store.adapter().reread([source_id])).carts
        assert cart.status is SourceStatus.COMPLETED

    async def test_a_reread_sees_exactly_what_the_poll_sees(self, store: Store) -> None:
        source_id = store.shop.add_cart(lines=3, phone="+12025550123", tax="1.00")
        (again,) = (await store.adapter().reread([source_id])).carts
        assert again == await store.only_cart()

    async def test_a_purged_cart_is_gone(self, store: Store) -> None:
        source_id = store.shop.add_cart()
        store.shop.delete(source_id)
        (exclusion,) = (await store.adapter().reread([source_id])).exclusions
        assert (exclusion.source_cart_id, exclusion.reason) == (source_id, "gone")

    async def test_a_cart_that_shopify_fails_to_read_is_not_called_gone(self, store: Store) -> None:
        error = {"message": "Internal error", "path": ["nodes", 0]}
        store.answer_with({"data": {"nodes": [None]}, "errors": [error]})
        page = await store.adapter().reread(["7"])
        assert (page.exclusions, [record.reason for record in page.unreadable]) == ((), ["partly_answered"])

    async def test_many_carts_take_several_requests(self, store: Store) -> None:
        ids = [store.shop.add_cart() for _ in range(2 * CARTS_PER_REREAD + 1)]
        page = await store.adapter().reread(ids)
        assert ([cart.source_cart_id for cart in page.carts], len(store.simulator.requests)) == (ids, 3)

    async def test_a_shop_that_asks_us_to_wait_cuts_the_reread_short(self, store: Store) -> None:
        ids = [store.shop.add_cart() for _ in range(CARTS_PER_REREAD + 1)]
        store.simulator.inject("throttled", after=1, seconds=3)
        page = await store.adapter().reread(ids)
        assert ([c.source_cart_id for c in page.carts], page.exclusions) == (ids[:CARTS_PER_REREAD], ())
        assert page.notices == ("reread_cut_short",)

    async def test_a_reread_that_cannot_begin_is_for_later(self, store: Store) -> None:
        store.simulator.inject("throttled", seconds=3)
        with pytest.raises(TryLater) as caught:
            await store.adapter().reread(["7"])
        assert caught.value.retry_after == timedelta(seconds=3)

    async def test_an_answer_with_fewer_carts_than_asked_is_for_later(self, store: Store) -> None:
        store.answer_with({"data": {"nodes": []}})
        with pytest.raises(TryLater):
            await store.adapter().reread(["7"])

    async def test_no_ids_ask_nothing(self, store: Store) -> None:
        page = await store.adapter().reread([])
        assert (page.carts, store.simulator.requests) == ((), [])


class TestCheck:
    async def _findings(self, store: Store, **settings: Any) -> dict[str, Finding]:
        return {finding.name: finding for finding in (await store.adapter(**settings).check()).findings}

    async def test_a_good_connection_has_no_complaint(self, store: Store) -> None:
        check = await store.adapter().check()
        assert (check.ok, check.store_id) == (True, store.shop.domain)

    async def test_open_checkouts_are_counted_for_each_look_back(self, store: Store) -> None:
        for days in (0.5, 2, 5, 20, 60):
            store.shop.add_cart(updated_at=NOON - timedelta(days=days))
        store.shop.complete(store.shop.add_cart(), NOON)
        detail = (await self._findings(store))["waiting_carts"].detail
        assert detail == "Open checkouts by look-back: 1 day: 1, 3 days: 2, 7 days: 3, 30 days: 4."

    async def test_a_count_at_its_limit_is_said_to_be_more(self, store: Store) -> None:
        data = {f"last{days}": {"count": 10000, "precision": "AT_LEAST"} for days in (1, 3, 7, 30)}
        store.answer_with({"data": data})
        assert "1 day: 10000 or more" in (await self._findings(store))["waiting_carts"].detail

    async def test_a_refused_token_is_named_with_its_remedy(self, store: Store) -> None:
        adapter = store.adapter()
        store.shop.revoke()
        (finding,) = (await adapter.check()).findings
        assert (finding.name, finding.ok, bool(finding.remedy)) == ("access_token_refused", False, True)

    async def test_a_shop_that_does_not_answer_is_named_with_its_remedy(self, store: Store) -> None:
        store.answer_with("", 503)
        (finding,) = (await store.adapter().check()).findings
        assert (finding.name, finding.ok, bool(finding.remedy)) == ("http_503", False, True)

    async def test_a_token_of_another_shop_is_found_out(self, store: Store) -> None:
        finding = (await self._findings(store, shop="other.myshopify.com"))["shop"]
        assert (finding.ok, store.shop.domain in finding.remedy) == (False, True)

    async def test_the_missing_scope_is_named(self, store: Store) -> None:
        store.shop.scopes = ("read_orders", "read_products", "customer_events")
        finding = (await self._findings(store))["scopes"]
        assert (finding.ok, finding.detail.endswith("Missing: read_customers.")) == (False, True)

    async def test_without_read_orders_nothing_can_be_counted(self, store: Store) -> None:
        store.shop.scopes = ("read_customers",)
        findings = await self._findings(store)
        assert (findings["scopes"].ok, findings["waiting_carts"].ok) == (False, False)

    async def test_a_write_scope_includes_reading(self, store: Store) -> None:
        store.shop.scopes = ("write_orders", "write_customers")
        assert (await self._findings(store))["scopes"].ok

    async def test_a_version_that_fell_forward_is_named_with_the_one_to_set(self, store: Store) -> None:
        finding = (await self._findings(store, api_version="2025-07"))["api_version"]
        assert (finding.ok, finding.remedy) == (False, 'Set api_version to "2025-10".')


class TestSettings:
    @pytest.mark.parametrize("shop", ["acme", "ACME.myshopify.com", " https://acme.myshopify.com/admin "])
    def test_a_shop_is_known_by_its_domain(self, store: Store, shop: str) -> None:
        assert store.adapter(shop=shop).store_id == "acme.myshopify.com"

    @pytest.mark.parametrize(
        "wrong",
        [
            {"shop": "https://evil.example.com"},
            {"shop": "acme.myshopify.com.evil.example"},
            {"api_version": "2026-11"},
            {"api_version": "unstable"},
            {"base_url": "ftp://127.0.0.1"},
            {"base_url": "http://127.0.0.1/?x=1"},
            {"options": {"page_size": 251}},
            {"options": {"page_size": 0}},
            {"colour": "red"},
        ],
    )
    def test_a_wrong_setting_is_refused(self, store: Store, wrong: dict[str, Any]) -> None:
        with pytest.raises(ValidationError):
            store.adapter(**wrong)

    def test_an_empty_token_is_refused(self, store: Store) -> None:
        connection = replace(store.connection(), credentials={"access_token": ""})
        with pytest.raises(ValidationError):
            ShopifyPlatform(connection, store.http, lambda: NOON)

    async def test_two_shops_on_one_host_get_their_own_token(self, store: Store) -> None:
        other = store.simulator.shop(1)
        mine, theirs = store.shop.add_cart(email="mine@example.com"), other.add_cart(email="theirs@example.com")
        settings = {"shop": other.domain, "base_url": f"{store.simulator.base_url}/s1", "allow_http": True}
        connection = replace(store.connection(), settings=settings, credentials={"access_token": other.token})
        page = await ShopifyPlatform(connection, store.http, lambda: NOON).fetch_page(SINCE, None)
        assert mine == theirs  # numbers repeat from shop to shop
        assert [(c.store_id, c.shopper.email) for c in page.carts] == [(other.domain, "theirs@example.com")]
