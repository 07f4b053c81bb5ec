"""The simulated BigCommerce: it answers as the vendor's specifications say, and has its limits and its habits."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import aiohttp
import jsonschema
import pytest
import yaml

from simulator.bigcommerce import ALL_SCOPES, BigCommerceSimulator, Customer, Item, Store
from simulator.bigcommerce.store import Quota

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
SPECS = Path(__file__).parents[2].parent / "shared/schemas"
CARTS, ORDERS = SPECS / "bigcommerce-carts.v3.yml", SPECS / "bigcommerce-orders.v2.oas2.yml"


@dataclass
class Asker:
    """Asks a store as the adapter would."""

    simulator: BigCommerceSimulator
    store: Store
    client: aiohttp.ClientSession
    at: datetime = NOW

    async def ask(
        self, path: str, *, method: str = "GET", token: str | None = None, **query: str
    ) -> tuple[int, Any, Mapping[str, str]]:
        """Return status, parsed body (None for no content) and headers."""
        url = f"{self.simulator.base_url}/stores/{self.store.hash}{path}"
        headers = {"X-Auth-Token": self.store.token if token is None else token}
        async with self.client.request(method, url, params=query, headers=headers, allow_redirects=False) as answer:
            body = await answer.json() if "json" in answer.headers.get("Content-Type", "") else None
            return answer.status, body, answer.headers

    async def orders(self, **query: str) -> list[int]:
        """Return the ids of the orders that are listed."""
        body = (await self.ask("/v2/orders", **query))[1]
        return [order["id"] for order in body or []]


@pytest.fixture
async def asker() -> AsyncIterator[Asker]:
    asker: Asker
    simulator = BigCommerceSimulator(lambda: asker.at)
    async with simulator.running(), aiohttp.ClientSession() as client:
        asker = Asker(simulator, simulator.add_store("abc123"), client)
        yield asker


@pytest.fixture
def store(asker: Asker) -> Store:
    return asker.store


# --- as the vendor's specifications say ---


@cache
def spec(path: Path) -> dict[str, Any]:
    """Return a specification in the terms of JSON Schema."""
    if not path.exists():
        pytest.skip("not compared: the vendor's specification is not beside this repository")
    loaded: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return loaded


def faults(path: Path, pointer: str, answer: Any) -> list[str]:
    """Return where an answer is not what the specification says, fields that it does not know included."""
    loaded = _as_json_schema(copy.deepcopy(spec(path)))
    schema = {"$ref": f"#/components/{pointer}", "components": loaded["components"]}
    found = jsonschema.Draft7Validator(schema).iter_errors(answer)
    return [f"{'/'.join(map(str, error.absolute_path))}: {error.message}" for error in found]


def _as_json_schema(node: Any) -> Any:
    """Turn OpenAPI 3.0's ``nullable`` into what JSON Schema knows, and ``oneOf`` into ``anyOf``.

    The vendor's alternatives are objects that both may hold any field, so nearly every object is more than one of them.
    """
    if isinstance(node, list):
        return [_as_json_schema(each) for each in node]
    if not isinstance(node, dict):
        return node
    node = {name: _as_json_schema(each) for name, each in node.items()}
    if node.get("nullable") is True and isinstance(node.get("type"), str):
        node["type"] = [node["type"], "null"]
    if isinstance(node.get("oneOf"), list):
        node["anyOf"] = node.pop("oneOf")
    return node


def unknown_fields(path: Path, names: list[str], answer: Mapping[str, Any]) -> set[str]:
    """Return the fields of an answer that none of these schemas has."""
    schemas = spec(path)["components"]["schemas"]
    known: set[str] = set()
    for name in names:
        for part in [schemas[name], *schemas[name].get("allOf", [])]:
            known |= set(part.get("properties", {}))
    return set(answer) - known


def full_cart(store: Store) -> str:
    """Fill a cart with all that one can hold."""
    items = [
        Item(options={"Size": "L"}, quantity=2),
        Item(name="E-book", kind="digital", options={"Format": "EPUB"}),
        Item(name="Engraving", kind="custom", price=Decimal("5.50")),
        Item(name="Gift", kind="giftcertificate", price=Decimal(50)),
        Item(name="Part", id="p", parent_id="x", price=Decimal(0)),
    ]
    billing = {"first_name": "Ada", "zip": "78701", "phone": "555-123-4567"}
    return store.abandon(
        at=NOW - MINUTE, email="a@example.com", items=items, coupons={"TEN": Decimal(10)}, billing=billing
    ).id


@pytest.mark.parametrize("include", ["", "line_items.physical_items.options,line_items.digital_items.options"])
async def test_a_cart_is_as_the_vendor_says(asker: Asker, store: Store, include: str) -> None:
    cart_id = full_cart(store)
    body = (await asker.ask(f"/v3/carts/{cart_id}", include=include))[1]
    schema = "responses/CartResponse/content/application~1json/schema"
    assert (faults(CARTS, schema, body), unknown_fields(CARTS, ["Cart_Full"], body["data"])) == ([], set())


@pytest.mark.parametrize("include", ["", "consignments.line_items"])
@pytest.mark.parametrize("status_id", [0, 11])
async def test_orders_are_as_the_vendor_says(asker: Asker, store: Store, include: str, status_id: int) -> None:
    cart_id = full_cart(store)
    if status_id:
        store.complete(cart_id)
    query = {"include": include, "consignment_structure": "object"} if include else {}
    body = (await asker.ask("/v2/orders", **query))[1]
    schema = "responses/orderCollection_Resp/content/application~1json/schema"
    unknown = unknown_fields(ORDERS, ["order_RespOnly", "order_Shared"], body[0])
    # custom_status is in the vendor's example of this very answer, and in none of its schemas.
    assert (faults(ORDERS, schema, body), unknown) == ([], {"custom_status"})


async def test_the_products_of_an_order_are_as_the_vendor_says(asker: Asker, store: Store) -> None:
    order = store.order_of(full_cart(store))
    assert order is not None
    body = (await asker.ask(f"/v2/orders/{order.id}/products"))[1]
    schema = "responses/orderProductsCollection_Resp/content/application~1json/schema"
    assert faults(ORDERS, schema, body) == []


async def test_redirect_urls_are_as_the_vendor_says(asker: Asker, store: Store) -> None:
    cart = store.add_cart(made_by_api=True)
    status, body, _ = await asker.ask(f"/v3/carts/{cart.id}/redirect_urls", method="POST")
    schema = "responses/CartRedirectResponse/content/application~1json/schema"
    assert (status, faults(CARTS, schema, body)) == (201, [])


async def test_an_error_of_the_newer_api_is_as_the_vendor_says(asker: Asker) -> None:
    status, body, _ = await asker.ask("/v3/carts/00000000-0000-4000-8000-000000000000")
    assert (status, faults(CARTS, "schemas/ErrorResponse", body)) == (404, [])


async def test_what_the_vendor_would_not_answer_is_found(asker: Asker, store: Store) -> None:
    body = (await asker.ask(f"/v3/carts/{full_cart(store)}"))[1]
    body["data"]["cart_amount"] = "12.00"
    schema = "responses/CartResponse/content/application~1json/schema"
    assert len(faults(CARTS, schema, body)) == 1


# --- orders ---


async def test_a_list_of_nothing_has_no_content(asker: Asker) -> None:
    status, body, headers = await asker.ask("/v2/orders", status_id="0")
    assert (status, body, headers.get("Content-Length")) == (204, None, None)


async def test_a_page_past_the_end_has_no_content(asker: Asker, store: Store) -> None:
    store.abandon(at=NOW)
    assert (await asker.ask("/v2/orders", page="2"))[0] == 204


async def test_dates_are_those_of_mail(asker: Asker, store: Store) -> None:
    store.abandon(at=NOW)
    body = (await asker.ask("/v2/orders"))[1]
    assert body[0]["date_modified"] == "Fri, 20 Nov 2026 12:00:00 +0000"


@pytest.mark.parametrize(
    "since", ["2026-11-20T12:00:00+00:00", "2026-11-20T06:00:00.000-06:00", "Fri, 20 Nov 2026 12:00:00 +0000"]
)
@pytest.mark.parametrize(("includes", "found"), [(True, [101, 102]), (False, [102])])
async def test_orders_are_filtered_by_modified_time(
    asker: Asker, store: Store, since: str, includes: bool, found: list[int]
) -> None:
    store.includes_second = includes
    for minutes in (-1, 0, 1):
        store.abandon(at=NOW + minutes * MINUTE)
    assert await asker.orders(min_date_modified=since) == found


async def test_orders_come_by_id_unless_asked_otherwise(asker: Asker, store: Store) -> None:
    for minutes in (3, 1, 2):
        store.abandon(at=NOW - minutes * MINUTE)
    by_time = await asker.orders(sort="date_modified:asc")
    assert (await asker.orders(), by_time) == ([100, 101, 102], [100, 102, 101])


async def test_an_archived_order_is_listed_only_when_asked_for(asker: Asker, store: Store) -> None:
    store.abandon(at=NOW)
    store.change_order(100, is_deleted=True)
    assert (await asker.orders(), await asker.orders(is_deleted="true")) == ([], [100])


@pytest.mark.parametrize("query", [{"sort": "colour"}, {"min_date_modified": "soon"}, {"min_id": "x"}])
async def test_a_question_that_makes_no_sense_is_refused_with_a_list_of_messages(
    asker: Asker, store: Store, query: dict[str, str]
) -> None:
    store.abandon(at=NOW)
    status, body, _ = await asker.ask("/v2/orders", **query)
    assert (status, body[0]["status"], next(iter(query)) in body[0]["message"]) == (400, 400, True)


async def test_an_order_of_a_bought_cart_keeps_its_number(asker: Asker, store: Store) -> None:
    cart = store.abandon(at=NOW)
    store.complete(cart.id)
    body = (await asker.ask("/v2/orders", cart_id=cart.id))[1]
    assert [(order["id"], order["status_id"], order["status"]) for order in body] == [(100, 11, "Awaiting Fulfillment")]


# --- carts ---


@pytest.mark.parametrize("path", ["/v3/carts", "/v3/abandoned-carts"])
async def test_there_is_no_list_of_carts(asker: Asker, store: Store, path: str) -> None:
    store.abandon(at=NOW)
    assert (await asker.ask(path))[0] in (404, 405)


async def test_a_bought_cart_is_gone(asker: Asker, store: Store) -> None:
    cart = store.abandon(at=NOW)
    store.complete(cart.id)
    assert (await asker.ask(f"/v3/carts/{cart.id}"))[0] == 404


async def test_a_cart_is_gone_thirty_days_after_its_last_change(asker: Asker, store: Store) -> None:
    cart = store.abandon(at=NOW)
    asker.at = NOW + timedelta(days=30)
    before = (await asker.ask(f"/v3/carts/{cart.id}"))[0]
    asker.at += MINUTE
    assert (before, (await asker.ask(f"/v3/carts/{cart.id}"))[0]) == (200, 404)


async def test_a_redirect_url_works_once(asker: Asker, store: Store) -> None:
    cart = store.add_cart(made_by_api=True)
    body = (await asker.ask(f"/v3/carts/{cart.id}/redirect_urls", method="POST"))[1]
    statuses = []
    for _ in range(2):
        async with asker.client.get(body["data"]["checkout_url"], allow_redirects=False) as answer:
            statuses.append(answer.status)
    assert statuses == [302, 404]


async def test_a_cart_that_a_shopper_made_is_given_no_redirect_url(asker: Asker, store: Store) -> None:
    cart = store.abandon(at=NOW)
    assert (await asker.ask(f"/v3/carts/{cart.id}/redirect_urls", method="POST"))[0] == 422


# --- limits and refusals ---


async def test_every_app_of_the_store_shares_its_quota(asker: Asker, store: Store) -> None:
    store.quota = Quota(3)
    statuses = [(await asker.ask("/v2/orders"))[0] for _ in range(4)]
    assert statuses == [204, 204, 204, 429]


async def test_answers_tell_the_quota_and_a_refusal_tells_the_wait(asker: Asker, store: Store) -> None:
    store.quota = Quota(1)
    first = (await asker.ask("/v2/orders"))[2]
    asker.at += timedelta(seconds=10)
    second = (await asker.ask("/v2/orders"))[2]
    names = ("X-Rate-Limit-Requests-Left", "X-Rate-Limit-Time-Reset-Ms", "X-Retry-After")
    assert [[headers.get(name) for name in names] for headers in (first, second)] == [
        ["0", "30000", None],
        ["0", "20000", "21"],
    ]


async def test_a_new_window_has_a_new_quota(asker: Asker, store: Store) -> None:
    store.quota = Quota(1)
    await asker.ask("/v2/orders")
    asker.at += timedelta(seconds=30)
    assert (await asker.ask("/v2/orders"))[0] == 204


async def test_an_overloaded_platform_tells_nothing(asker: Asker) -> None:
    asker.simulator.inject("overloaded")
    status, _, headers = await asker.ask("/v2/orders")
    assert (status, [name for name in headers if name.lower().startswith("x-")]) == (429, [])


async def test_a_wrong_token_is_refused(asker: Asker) -> None:
    assert (await asker.ask("/v2/orders", token="wrong"))[0] == 401


@pytest.mark.parametrize(
    ("path", "scope"),
    [
        ("/v2/orders", "store_v2_orders_read_only"),
        ("/v3/carts/x", "store_cart"),
        ("/v3/customers", "store_v2_customers_read_only"),
        ("/v3/catalog/products", "store_v2_products"),
    ],
)
async def test_a_resource_needs_its_scope(asker: Asker, store: Store, path: str, scope: str) -> None:
    store.scopes = ALL_SCOPES - {scope}
    assert (await asker.ask(path))[0] == 403


async def test_a_link_needs_the_right_to_change_carts(asker: Asker, store: Store) -> None:
    store.scopes = frozenset({"store_cart_read_only"})
    cart = store.add_cart(made_by_api=True)
    assert (await asker.ask(f"/v3/carts/{cart.id}/redirect_urls", method="POST"))[0] == 403


async def test_customers_are_found_by_ids_and_paged(asker: Asker, store: Store) -> None:
    store.customers = {number: Customer(number, f"c{number}@example.com") for number in range(1, 6)}
    body = (await asker.ask("/v3/customers", **{"id:in": "2,4,5", "limit": "2"}))[1]
    assert ([one["id"] for one in body["data"]], body["meta"]["pagination"]["total"]) == ([2, 4], 3)


# --- control routes ---


async def test_a_store_is_filled_through_the_control_routes(asker: Asker) -> None:
    control = f"{asker.simulator.base_url}/_control/stores"
    async with asker.client.post(control, json={"hash": "new", "quota": 9, "scopes": ["store_cart"]}) as answer:
        assert await answer.json() == {"hash": "new", "token": "token-new"}
    cart = {"total": "12.00", "at": "2026-11-20T11:00:00", "customer": {"id": 3, "email": "c@example.com"}}
    async with asker.client.post(f"{control}/new/carts", json=cart) as answer:
        cart_id = (await answer.json())["id"]
    made = asker.simulator.stores["new"]
    assert (made.carts[cart_id].amount, made.carts[cart_id].customer_id, made.quota.limit) == (Decimal(12), 3, 9)


@pytest.mark.parametrize(
    ("change", "left"),
    [({"total": "20.00"}, (Decimal(20), 0)), ({"complete": True}, (None, 11)), (None, (None, None))],
    ids=["changed", "bought", "deleted"],
)
async def test_a_cart_is_changed_through_the_control_routes(
    asker: Asker, store: Store, change: dict[str, Any] | None, left: tuple[Decimal | None, int | None]
) -> None:
    cart_id = store.abandon(at=NOW - MINUTE).id
    url = f"{asker.simulator.base_url}/_control/stores/{store.hash}/carts/{cart_id}"
    async with asker.client.request("DELETE" if change is None else "PATCH", url, json=change) as answer:
        assert answer.status == 204
    cart, order = store.carts.get(cart_id), store.order_of(cart_id)
    assert (cart.amount if cart else None, order.status_id if order else None) == left
