"""The simulated Admin API refuses what the real one refuses, and answers in its shapes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from graphql import (
    GraphQLEnumType,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLSchema,
    build_client_schema,
    build_schema,
)

from simulator.shopify import Shop, ShopifySimulator
from simulator.shopify.engine import requested_cost
from simulator.shopify.prerender import PrerenderOrder
from simulator.shopify.schema import VERSIONS, schema_text

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
LIST = """query($first: Int, $after: String, $query: String, $key: AbandonedCheckoutSortKeys) {
  abandonedCheckouts(first: $first, after: $after, query: $query, sortKey: $key) {
    nodes { id updatedAt completedAt customer { firstName } }
    pageInfo { hasNextPage endCursor }
  }
}"""
VENDOR_SCHEMA = Path(__file__).parents[2].parent / "shared/schemas/shopify-admin-2026-10.introspection.json"


class Asker:
    """Posts queries to one shop."""

    def __init__(self, simulator: ShopifySimulator, session: aiohttp.ClientSession) -> None:
        self.simulator = simulator
        self.session = session

    async def post(
        self, body: Any, *, shop: str = "s0", version: str = "2026-10", token: str | None = None
    ) -> tuple[int, Any, dict[str, str]]:
        url = f"{self.simulator.base_url}/{shop}/admin/api/{version}/graphql.json"
        headers = {"X-Shopify-Access-Token": token or self.simulator.shop().token, "Content-Type": "application/json"}
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        async with self.session.post(url, data=data, headers=headers) as answer:
            return answer.status, await answer.json(content_type=None), dict(answer.headers)

    async def ask(self, document: str, /, *, version: str = "2026-10", **variables: Any) -> Any:
        return (await self.post({"query": document, "variables": variables}, version=version))[1]

    async def numbers(self, search: str, version: str = "2026-10") -> list[int]:
        """Return which checkouts a search finds, as positions in the order they were added."""
        listed = (await self.ask(LIST, first=50, query=search, version=version))["data"]["abandonedCheckouts"]
        known = list(self.simulator.shop().checkouts)
        return [known.index(int(node["id"].rpartition("/")[2])) for node in listed["nodes"]]


@pytest.fixture
async def asker() -> AsyncIterator[Asker]:
    simulator = ShopifySimulator(shops=2, now=lambda: NOW)
    async with simulator.running(), aiohttp.ClientSession() as session:
        yield Asker(simulator, session)


@pytest.fixture
def shop(asker: Asker) -> Shop:
    return asker.simulator.shop()


def _codes(answer: Any) -> list[str]:
    return [error.get("extensions", {}).get("code", "") for error in answer["errors"]]


class TestSchema:
    @pytest.mark.parametrize("version", VERSIONS)
    def test_every_version_builds(self, version: str) -> None:
        assert build_schema(schema_text(version)).query_type is not None

    def test_every_type_field_and_argument_is_in_the_vendors_schema(self) -> None:
        if not VENDOR_SCHEMA.exists():
            pytest.skip("not compared: the vendor's introspection is not beside this repository")
        loaded = json.loads(VENDOR_SCHEMA.read_text())
        vendor = build_client_schema(loaded.get("data", loaded), assume_valid=True)
        assert _differences(build_schema(schema_text("2026-10")), vendor) == []

    def test_sms_consent_came_with_its_version(self) -> None:
        assert "smsMarketingConsent" not in schema_text("2026-07")

    def test_the_older_sms_field_is_deprecated_from_then_on(self) -> None:
        old, new = (build_schema(schema_text(version)).type_map["CustomerPhoneNumber"] for version in VERSIONS[-2:])
        assert isinstance(old, GraphQLObjectType)
        assert isinstance(new, GraphQLObjectType)
        assert old.fields["marketingState"].deprecation_reason is None
        assert new.fields["marketingState"].deprecation_reason is not None


def _differences(ours: GraphQLSchema, vendor: GraphQLSchema) -> list[str]:
    found: list[str] = []
    for name, kind in ours.type_map.items():
        theirs = vendor.type_map.get(name)
        if theirs is None:
            found.append(name)
        elif isinstance(kind, GraphQLEnumType):
            assert isinstance(theirs, GraphQLEnumType)
            found += [f"{name}.{value}" for value in kind.values if value not in theirs.values]
        elif isinstance(kind, GraphQLObjectType | GraphQLInterfaceType):
            assert isinstance(theirs, GraphQLObjectType | GraphQLInterfaceType)
            found += _field_differences(kind, theirs)
    return found


def _field_differences(
    ours: GraphQLObjectType | GraphQLInterfaceType, vendor: GraphQLObjectType | GraphQLInterfaceType
) -> list[str]:
    found: list[str] = []
    for name, field in ours.fields.items():
        theirs = vendor.fields.get(name)
        if theirs is None or str(theirs.type) != str(field.type):
            found.append(f"{ours.name}.{name}")
            continue
        wrong = [
            a for a, arg in field.args.items() if a not in theirs.args or str(theirs.args[a].type) != str(arg.type)
        ]
        found += [f"{ours.name}.{name}({argument})" for argument in wrong]
    return found


class TestQueries:
    async def test_a_field_that_shopify_lacks_is_refused(self, asker: Asker) -> None:
        answer = await asker.ask("{ abandonedCheckouts(first: 1) { nodes { email } } }")
        assert _codes(answer) == ["undefinedField"]

    async def test_sorting_by_update_time_is_refused(self, asker: Asker) -> None:
        answer = await asker.ask("{ abandonedCheckouts(first: 1, sortKey: UPDATED_AT) { nodes { id } } }")
        assert _codes(answer) == ["argumentLiteralsIncompatible"]

    async def test_a_field_of_a_later_version_is_refused(self, asker: Asker, shop: Shop) -> None:
        query = "{ abandonedCheckouts(first: 1) { nodes { customer { defaultPhoneNumber { smsMarketingConsent { state }"
        answer = await asker.ask(query + " } } } } }", version="2026-07")
        assert _codes(answer) == ["undefinedField"]

    async def test_no_page_is_larger_than_250(self, asker: Asker) -> None:
        answer = await asker.ask(LIST, first=251)
        assert answer["data"] is None

    async def test_a_body_that_is_no_query_gets_errors_as_an_object(self, asker: Asker) -> None:
        status, answer, _ = await asker.post(b"{")
        assert (status, list(answer["errors"])) == (400, ["query"])

    async def test_the_shop_and_the_scopes_are_told(self, asker: Asker) -> None:
        query = "{ shop { myshopifyDomain currencyCode } currentAppInstallation { accessScopes { handle } } }"
        data = (await asker.ask(query))["data"]
        assert data["shop"] == {"myshopifyDomain": "s0-shop.myshopify.com", "currencyCode": "USD"}
        assert [s["handle"] for s in data["currentAppInstallation"]["accessScopes"]] == [
            "read_customers",
            "read_orders",
        ]

    async def test_counts_stop_at_their_limit(self, asker: Asker, shop: Shop) -> None:
        for _ in range(3):
            shop.add_cart()
        data = (await asker.ask("{ abandonedCheckoutsCount(limit: 2) { count precision } }"))["data"]
        assert data["abandonedCheckoutsCount"] == {"count": 2, "precision": "AT_LEAST"}

    async def test_a_node_is_found_by_its_id_and_an_unknown_one_is_null(self, asker: Asker, shop: Shop) -> None:
        gid = f"gid://shopify/AbandonedCheckout/{shop.add_cart()}"
        data = (await asker.ask("query($ids: [ID!]!) { nodes(ids: $ids) { id } }", ids=[gid, gid + "9"]))["data"]
        assert data["nodes"] == [{"id": gid}, None]


class TestPages:
    async def _walk(self, asker: Asker, search: str = "") -> list[int]:
        seen: list[int] = []
        after: str | None = None
        while True:
            listed = (await asker.ask(LIST, first=2, after=after, query=search))["data"]["abandonedCheckouts"]
            seen += [int(node["id"].rpartition("/")[2]) for node in listed["nodes"]]
            if not listed["pageInfo"]["hasNextPage"]:
                return seen
            after = listed["pageInfo"]["endCursor"]

    async def test_a_walk_sees_each_checkout_once_in_the_order_of_ids(self, asker: Asker, shop: Shop) -> None:
        numbers = [int(shop.add_cart(updated_at=NOW - timedelta(minutes=i))) for i in range(5)]
        assert await self._walk(asker) == numbers

    async def test_an_update_in_mid_walk_moves_nothing(self, asker: Asker, shop: Shop) -> None:
        ids = [shop.add_cart() for _ in range(4)]
        first = (await asker.ask(LIST, first=2))["data"]["abandonedCheckouts"]
        shop.touch(ids[0], NOW + timedelta(minutes=1), total="99.00")
        shop.delete(ids[1])
        after = first["pageInfo"]["endCursor"]
        second = (await asker.ask(LIST, first=2, after=after))["data"]["abandonedCheckouts"]
        assert [node["id"].rpartition("/")[2] for node in second["nodes"]] == ids[2:]

    async def test_a_cursor_is_good_for_its_own_search_only(self, asker: Asker, shop: Shop) -> None:
        for _ in range(3):
            shop.add_cart()
        cursor = (await asker.ask(LIST, first=1))["data"]["abandonedCheckouts"]["pageInfo"]["endCursor"]
        answer = await asker.ask(LIST, first=1, after=cursor, query="status:open")
        assert answer["errors"][0]["message"] == "Invalid cursor for current pagination sort."

    async def test_a_list_is_paged_no_deeper_than_its_limit(self, asker: Asker, shop: Shop) -> None:
        shop.page_limit = 3
        for _ in range(5):
            shop.add_cart()
        cursor = (await asker.ask(LIST, first=2))["data"]["abandonedCheckouts"]["pageInfo"]["endCursor"]
        answer = await asker.ask(LIST, first=2, after=cursor)
        assert "limited to 3" in answer["errors"][0]["message"]

    async def test_checkouts_past_retention_are_not_listed(self, asker: Asker, shop: Shop) -> None:
        shop.add_cart(created_at=NOW - timedelta(days=93))
        assert await asker.numbers("") == []


class TestSearch:
    @pytest.fixture(autouse=True)
    def three_carts(self, shop: Shop) -> None:
        """Carts at 12:00:00 and a fraction later today, and one that was bought yesterday."""
        shop.add_cart(updated_at=NOW)
        shop.add_cart(updated_at=NOW + timedelta(microseconds=500_000))
        shop.complete(shop.add_cart(updated_at=NOW - timedelta(days=2)), NOW - timedelta(days=1))

    @pytest.mark.parametrize(
        ("search", "found"),
        [
            ("", [0, 1, 2]),
            ("updated_at:>='2026-11-20T12:00:00Z'", [0, 1]),
            ("updated_at:<'2026-11-20T12:00:00Z'", [2]),
            ("updated_at:>'2026-11-20T12:00:00Z'", []),
            ("updated_at:>=2026-11-20T23:00:00Z", [0, 1]),
            ("updated_at:>='2026-11-19T12:00:00Z' recovery_state:not_recovered", [0, 1]),
            ("recovery_state:recovered", [2]),
            ("recovery_state:recovered OR updated_at:>='2026-11-20T12:00:01Z'", [2]),
            ("id:>450789469", [1, 2]),
            ("status:closed", []),
            ("email:nobody@example.com", [0, 1, 2]),
            ("nobody", []),
        ],
    )
    async def test_search(self, asker: Asker, search: str, found: list[int]) -> None:
        assert await asker.numbers(search) == found

    async def test_until_2026_07_greater_than_still_finds_the_rest_of_the_second(self, asker: Asker) -> None:
        assert await asker.numbers("updated_at:>'2026-11-20T12:00:00Z'", version="2026-07") == [1]

    async def test_a_completed_checkout_stays_listed(self, asker: Asker) -> None:
        listed = (await asker.ask(LIST, first=9))["data"]["abandonedCheckouts"]
        assert listed["nodes"][2]["completedAt"] == "2026-11-19T12:00:00Z"

    async def test_an_archived_checkout_is_closed(self, asker: Asker, shop: Shop) -> None:
        shop.close(next(iter(map(str, shop.checkouts))), NOW)
        assert await asker.numbers("status:open") == [1, 2]

    async def test_syntax_that_is_not_imitated_is_refused(self, asker: Asker) -> None:
        answer = await asker.ask(LIST, first=1, query="(a OR b)")
        assert answer["errors"][0]["message"].startswith("Invalid search")


class TestCost:
    async def test_every_answer_tells_cost_and_budget(self, asker: Asker, shop: Shop) -> None:
        shop.add_cart()
        cost = (await asker.ask(LIST, first=1))["extensions"]["cost"]
        assert cost["actualQueryCost"] <= cost["requestedQueryCost"]
        assert cost["throttleStatus"]["restoreRate"] == 100.0

    def test_a_published_figure_is_reproduced(self) -> None:
        query = "{ abandonedCheckouts(first: 250) { nodes { customer { id } } } }"
        assert requested_cost("2026-10", query, {}) == 25

    async def test_a_query_over_1000_points_is_never_run(self, asker: Asker) -> None:
        lines = "lineItems(first: 250) { nodes { image { url } product { id } variant { id } } }"
        query = f"{{ abandonedCheckouts(first: 250) {{ nodes {{ {lines} b: {lines} c: {lines} }} }} }}"
        assert requested_cost("2026-10", query, {}) > 1000
        assert _codes(await asker.ask(query)) == ["MAX_COST_EXCEEDED"]

    async def test_an_empty_bucket_throttles_with_status_200_and_no_data(self, asker: Asker, shop: Shop) -> None:
        shop.bucket.available = 1
        status, answer, _ = await asker.post({"query": LIST, "variables": {"first": 50}})
        assert (status, _codes(answer), "data" in answer) == (200, ["THROTTLED"], False)
        assert answer["extensions"]["cost"]["actualQueryCost"] is None

    async def test_the_bucket_fills_again(self, asker: Asker, shop: Shop) -> None:
        shop.bucket.available, shop.bucket.at = 0, NOW - timedelta(seconds=2)
        answer = await asker.ask(LIST, first=2)
        assert "errors" not in answer

    async def test_each_shop_has_its_own_bucket(self, asker: Asker, shop: Shop) -> None:
        shop.bucket.available = 0
        other = asker.simulator.shop(1)
        _, answer, _ = await asker.post({"query": LIST, "variables": {"first": 2}}, shop="s1", token=other.token)
        assert "errors" not in answer


class TestAccess:
    async def test_a_wrong_token_gets_401_with_errors_as_text(self, asker: Asker) -> None:
        status, answer, _ = await asker.post({"query": LIST}, token="shpat_wrong")
        assert (status, type(answer["errors"])) == (401, str)

    async def test_one_shops_token_does_not_open_the_next(self, asker: Asker, shop: Shop) -> None:
        assert (await asker.post({"query": LIST}, shop="s1", token=shop.token))[0] == 401

    @pytest.mark.parametrize(("state", "status"), [("frozen", 402), ("locked", 423), ("unapproved", 403)])
    async def test_a_shop_that_is_not_active_answers_with_its_status(
        self, asker: Asker, shop: Shop, state: Any, status: int
    ) -> None:
        shop.state = state
        assert (await asker.post({"query": LIST}))[0] == status

    async def test_an_unknown_shop_is_not_found(self, asker: Asker) -> None:
        assert (await asker.post({"query": LIST}, shop="nobody"))[0] == 404

    @pytest.mark.parametrize("version", ["2031-01", "2026-02", "newest"])
    async def test_an_unknown_version_is_not_found(self, asker: Asker, version: str) -> None:
        assert (await asker.post({"query": LIST}, version=version))[0] == 404

    async def test_a_retired_version_is_served_by_the_oldest(self, asker: Asker) -> None:
        _, _, headers = await asker.post({"query": LIST, "variables": {"first": 1}}, version="2024-04")
        assert headers["X-Shopify-API-Version"] == VERSIONS[0]

    async def test_without_read_orders_there_is_no_data(self, asker: Asker, shop: Shop) -> None:
        shop.scopes = ("read_customers",)
        answer = await asker.ask(LIST, first=1)
        assert (answer["data"], _codes(answer)) == (None, ["ACCESS_DENIED"])

    async def test_without_read_customers_the_customer_alone_is_null(self, asker: Asker, shop: Shop) -> None:
        shop.scopes = ("write_orders",)
        shop.add_cart()
        answer = await asker.ask(LIST, first=1)
        assert answer["data"]["abandonedCheckouts"]["nodes"][0]["customer"] is None
        assert answer["errors"][0]["path"] == ["abandonedCheckouts", "nodes", 0, "customer"]


class TestPrerendered:
    ORDER = PrerenderOrder(query=LIST, carts=5, page_size=2)

    async def test_the_pages_hold_every_cart_once(self, asker: Asker) -> None:
        asker.simulator.prerender("s0", self.ORDER)
        ids: list[str] = []
        page_info: dict[str, Any] = {"endCursor": None}
        for _ in range(3):
            listed = (await asker.ask(LIST, first=2, after=page_info["endCursor"]))["data"]["abandonedCheckouts"]
            ids += [node["id"] for node in listed["nodes"]]
            page_info = listed["pageInfo"]
        assert (len(set(ids)), page_info["hasNextPage"]) == (5, False)

    async def test_a_page_has_the_shape_that_graphql_gives(self, asker: Asker, shop: Shop) -> None:
        shop.add_cart()
        real = (await asker.ask(LIST, first=1))["data"]["abandonedCheckouts"]
        asker.simulator.prerender("s0", self.ORDER)
        fast = (await asker.ask(LIST, first=1))["data"]["abandonedCheckouts"]
        assert (fast.keys(), fast["nodes"][0].keys()) == (real.keys(), real["nodes"][0].keys())

    async def test_single_carts_are_found_by_id(self, asker: Asker) -> None:
        asker.simulator.prerender("s0", self.ORDER)
        listed = (await asker.ask(LIST, first=2))["data"]["abandonedCheckouts"]["nodes"]
        ids = [listed[1]["id"], "gid://shopify/AbandonedCheckout/1"]
        again = (await asker.ask("query($ids: [ID!]!) { nodes(ids: $ids) { id } }", ids=ids))["data"]["nodes"]
        assert again == [listed[1], None]


class TestControl:
    async def test_another_process_can_do_what_methods_do(self, asker: Asker, shop: Shop) -> None:
        base = f"{asker.simulator.base_url}/_control/shops/s0"
        added = await asker.session.post(
            f"{base}/carts", json={"count": 2, "updated_at": NOW.isoformat(), "total": "5"}
        )
        first, second = await added.json()
        await asker.session.post(f"{base}/complete", json={"source_id": first, "at": NOW.isoformat()})
        await asker.session.post(f"{base}/delete", json={"source_id": second})
        assert [c.completed_at for c in shop.checkouts.values()] == [NOW]

    async def test_a_shop_can_be_opened(self, asker: Asker) -> None:
        url = f"{asker.simulator.base_url}/_control/shops"
        opened = await asker.session.post(url, json={"prefix": "extra", "currency": "EUR"})
        listed = await (await asker.session.get(url)).json()
        assert (opened.status, [s["prefix"] for s in listed]) == (201, ["s0", "s1", "extra"])

    async def test_pages_can_be_prerendered(self, asker: Asker) -> None:
        url = f"{asker.simulator.base_url}/_control/shops/s0"
        await asker.session.post(f"{url}/prerender", json={"query": LIST, "carts": 3, "page_size": 3})
        assert len((await asker.ask(LIST, first=3))["data"]["abandonedCheckouts"]["nodes"]) == 3

    async def test_an_unknown_action_is_not_found(self, asker: Asker) -> None:
        url = f"{asker.simulator.base_url}/_control/shops/s0/burn"
        assert (await asker.session.post(url)).status == 404
