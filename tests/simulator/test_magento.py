"""The simulated Magento behaves as Magento does."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from jsonschema import Draft4Validator, TypeChecker, validators

from simulator.magento import Integration, MagentoSimulator, Store

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
VENDOR_SPEC = Path(__file__).parents[2].parent / "shared/schemas/magento-rest-admin-2.4.9.subset.openapi3.json"


class Asker:
    """Asks one store with a token alone, which that store allows."""

    def __init__(self, simulator: MagentoSimulator, session: aiohttp.ClientSession) -> None:
        self.simulator, self.session = simulator, session
        self.store: Store = simulator.add_store("/s0", bearer_allowed=True)

    async def get(self, path: str, **headers: str) -> tuple[int, Any]:
        url = f"{self.simulator.base_url}/s0/rest/all/V1/{path}"
        sent = {"Authorization": f"Bearer {Integration().access_token}"} | headers
        async with self.session.get(url, headers=sent) as answer:
            return answer.status, await answer.json(content_type=None)

    async def found(self, *parts: str, **page: int) -> list[int]:
        """Return the ids that filters find; each part is ``group field condition value``."""
        pairs = [f"searchCriteria[{name}]={number}" for name, number in page.items()] or ["searchCriteria"]
        for position, part in enumerate(parts):
            group, name, condition, value = part.split(" ", 3)
            root = f"searchCriteria[filter_groups][{group}][filters][{position}]"
            pairs += [f"{root}[field]={name}", f"{root}[value]={value}", f"{root}[condition_type]={condition}"]
        status, body = await self.get("carts/search?" + "&".join(pairs))
        assert status == 200
        return [item["id"] for item in body["items"]]


@asynccontextmanager
async def asking() -> AsyncIterator[Asker]:
    simulator = MagentoSimulator(lambda: NOW)
    async with simulator.running(), aiohttp.ClientSession() as session:
        yield Asker(simulator, session)


@pytest.fixture
async def asker() -> AsyncIterator[Asker]:
    async with asking() as running:
        for number in range(5):
            running.store.add(at=NOW - timedelta(minutes=number), total=str(number))
        yield running


async def test_past_the_end_the_last_page_comes_again(asker: Asker) -> None:
    pages = [await asker.found(pageSize=2, currentPage=number) for number in (0, 1, 3, 4, 99)]
    assert pages == [[1, 2], [1, 2], [5], [5], [5]]


async def test_filters_of_a_group_are_alternatives_and_groups_must_all_hold(asker: Asker) -> None:
    asker.store.put(2, is_active=False)
    assert await asker.found("0 entity_id eq 2", "0 entity_id eq 3", "1 is_active eq 1") == [3]


async def test_true_is_no_number_to_the_database(asker: Asker) -> None:
    asker.store.put(2, is_active=False)
    assert await asker.found("0 is_active eq true") == [2]


@pytest.mark.parametrize(
    ("condition", "value", "ids"),
    [
        ("in", "2,4,9", [2, 4]),
        ("nin", "2,4", [1, 3, 5]),
        ("gt", "3", [4, 5]),
        ("lteq", "2", [1, 2]),
        ("neq", "1", [2, 3, 4, 5]),
    ],
)
async def test_conditions_find_what_they_say(asker: Asker, condition: str, value: str, ids: list[int]) -> None:
    assert await asker.found(f"0 entity_id {condition} {value}") == ids


async def test_a_page_over_the_limit_is_refused(asker: Asker) -> None:
    status, body = await asker.get("carts/search?searchCriteria[pageSize]=301")
    assert (status, body["parameters"]) == (400, {"max": 300})


@pytest.mark.parametrize(
    "query", ["searchCriteria[pageSize]=x", "pageSize=5", "searchCriteria[sortOrders][0][field]=id"]
)
async def test_a_malformed_question_is_refused(asker: Asker, query: str) -> None:
    assert (await asker.get(f"carts/search?{query}"))[0] == 400


async def test_one_bad_quote_breaks_the_whole_page_and_no_other(asker: Asker) -> None:
    asker.store.put(3, breaks="500")
    assert (await asker.get("carts/search?searchCriteria[pageSize]=5"))[0] == 500
    assert (await asker.get("carts/search?searchCriteria[pageSize]=2"))[0] == 200


async def test_an_inactive_quote_comes_without_items(asker: Asker) -> None:
    asker.store.place(1)
    assert "items" not in (await asker.get("carts/1"))[1]


async def test_a_list_emptied_by_the_fields_filter_is_null(asker: Asker) -> None:
    asker.store.quotes.clear()
    assert await asker.get("carts/search?searchCriteria&fields=items[id],total_count") == (
        200,
        {"items": None, "total_count": 0},
    )


async def test_only_the_fields_that_were_asked_for_come(asker: Asker) -> None:
    _, body = await asker.get("carts/search?searchCriteria[pageSize]=1&fields=items[id,customer[email]]")
    assert body == {"items": [{"id": 1, "customer": {"email": None}}]}


async def test_a_token_alone_is_nobody_where_it_is_not_allowed(asker: Asker) -> None:
    asker.store.bearer_allowed = False
    status, body = await asker.get("carts/search?searchCriteria")
    assert (status, body["parameters"]) == (401, {"resources": "Magento_Cart::manage"})


async def test_an_oauth_header_without_its_parts_is_refused(asker: Asker) -> None:
    status, body = await asker.get("carts/search?searchCriteria", Authorization='OAuth oauth_token="x"')
    assert (status, body["parameters"]) == (400, {"fieldName": "oauth_consumer_key"})


async def test_a_quote_that_is_gone_is_no_entity(asker: Asker) -> None:
    assert await asker.get("carts/99") == (
        404,
        {
            "message": "No such entity with %fieldName = %fieldValue",
            "parameters": {"fieldName": "cartId", "fieldValue": 99},
        },
    )


async def test_every_change_of_a_quote_moves_its_time(asker: Asker) -> None:
    asker.store.put(5, at=NOW + timedelta(seconds=9))
    assert (await asker.get("carts/5"))[1]["updated_at"] == "2026-11-20 12:00:09"


async def test_control_routes_do_what_attributes_do(asker: Asker) -> None:
    base, session = f"{asker.simulator.base_url}/_control/quotes", asker.session
    item = {"sku": "A", "name": "A", "qty": "2", "price": "1.50"}
    async with session.post(base, json={"store": "/s0", "at": "2026-11-20T11:00:00", "items": [item]}) as added:
        number = (await added.json())["id"]
    assert asker.store.quotes[number].subtotal == Decimal(3)
    async with session.patch(f"{base}/{number}", json={"store": "/s0", "place": True}) as placed:
        assert (await placed.json())["is_active"] is False
    async with session.delete(f"{base}/{number}?store=/s0") as gone:
        assert (gone.status, number in asker.store.quotes) == (204, False)


# --- the vendor's own description of the answers ---


def _or_null(checker: TypeChecker, kinds: list[str]) -> TypeChecker:
    """Let every type be null, too: the description never says so, the servers do so."""
    for kind in kinds:
        usual = checker
        checker = checker.redefine(
            kind, lambda _, value, kind=kind, usual=usual: value is None or usual.is_type(value, kind)
        )
    return checker


@pytest.mark.skipif(not VENDOR_SPEC.exists(), reason="Magento's own description of its REST API is not at hand")
@pytest.mark.parametrize(
    ("path", "schema"),
    [
        ("carts/search?searchCriteria", "quote-data-cart-search-results-interface"),
        ("carts/1", "quote-data-cart-interface"),
        ("carts/1/totals", "quote-data-totals-interface"),
        ("orders?searchCriteria", "sales-data-order-search-result-interface"),
        # Where parameters are an object the description is wrong: it knows lists alone.
        ("carts/nope", "error-response"),
    ],
)
async def test_answers_are_as_the_vendor_describes_them(asker: Asker, path: str, schema: str) -> None:
    customer = {"id": 5, "email": "a@example.com", "firstname": "Ann", "lastname": "Lee"}
    asker.store.put(1, customer=customer, coupons=["TEN"])
    asker.store.place(2)
    spec = json.loads(VENDOR_SPEC.read_text(encoding="utf-8"))
    kinds = ["string", "integer", "number", "array", "object", "boolean"]
    checker = _or_null(Draft4Validator.TYPE_CHECKER, kinds)
    kind = validators.extend(Draft4Validator, type_checker=checker)  # type: ignore[no-untyped-call] # has no types
    answer = (await asker.get(path))[1]
    validator = kind({"$ref": f"#/components/schemas/{schema}", "components": spec["components"]})
    assert [f"{list(error.path)}: {error.message}" for error in validator.iter_errors(answer)] == []
    assert list(validator.iter_errors({"items": "none", "id": "x", "message": 5, "total_segments": 5}))
