"""The simulated custom store refuses what the contract refuses, and pages as the contract says."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest

from simulator.custom import CustomSimulator, rfc3339

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
SINCE = {"updated_since": "2026-11-20T00:00:00Z"}
BEARER = {"Authorization": "Bearer token-s0"}
ROUTE = "/s0/abandoned-carts"


class Store:
    """A running simulator with one tenant, and a client that asks it."""

    def __init__(self, simulator: CustomSimulator, client: aiohttp.ClientSession) -> None:
        self.simulator = simulator
        self.client = client

    async def get(
        self, query: Mapping[str, str] | None = None, path: str = ROUTE, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, Any]]:
        async with self.client.get(
            self.simulator.base_url + path,
            params={**SINCE, **(query or {})},
            headers=BEARER if headers is None else headers,
        ) as response:
            return response.status, await response.json()

    async def ids(self, **query: str) -> list[str]:
        _, body = await self.get(query)
        return [cart["id"] for cart in body["carts"]]


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    simulator = CustomSimulator(lambda: NOON)
    simulator.add_tenant("s0")
    async with simulator.running(), aiohttp.ClientSession() as client:
        yield Store(simulator, client)


def fill(simulator: CustomSimulator, count: int, step: timedelta = timedelta(minutes=1)) -> None:
    for number in range(count):
        simulator.add_cart("s0", f"c{number:02}", NOON - timedelta(hours=1) + number * step)


async def walk(store: Store) -> list[str]:
    ids: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        _, body = await store.get({"limit": "2", **cursor})
        ids += [cart["id"] for cart in body["carts"]]
        if body["next_cursor"] is None:
            return ids
        cursor = {"cursor": body["next_cursor"]}


async def test_carts_come_in_the_order_of_their_changes(store: Store) -> None:
    fill(store.simulator, 3)
    store.simulator.touch("s0", "c00", NOON)
    assert await store.ids() == ["c01", "c02", "c00"]


async def test_a_cart_changed_before_the_window_is_left_out(store: Store) -> None:
    fill(store.simulator, 3)
    assert await store.ids(updated_since="2026-11-20T11:01:00Z") == ["c01", "c02"]


async def test_pages_cover_carts_of_one_instant_without_a_gap(store: Store) -> None:
    fill(store.simulator, 5, step=timedelta(0))
    assert await walk(store) == ["c00", "c01", "c02", "c03", "c04"]


async def test_a_full_last_page_has_no_next_cursor(store: Store) -> None:
    fill(store.simulator, 2)
    _, body = await store.get({"limit": "2"})
    assert body["next_cursor"] is None


async def test_a_page_is_never_longer_than_the_store_allows(store: Store) -> None:
    store.simulator.tenants["s0"].largest_page = 2
    fill(store.simulator, 3)
    assert await store.ids(limit="100") == ["c00", "c01"]


async def test_a_deleted_cart_is_gone(store: Store) -> None:
    fill(store.simulator, 2)
    store.simulator.delete("s0", "c00")
    assert await store.ids() == ["c01"]


async def test_a_bought_cart_says_when(store: Store) -> None:
    fill(store.simulator, 1)
    store.simulator.complete("s0", "c00", NOON)
    _, body = await store.get()
    assert body["carts"][0]["completed_at"] == "2026-11-20T12:00:00Z"


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ({"updated_since": "2026-11-20T00:00:00"}, 400, "bad_updated_since"),
        ({"updated_since": "2026-11-20T00:00:00+00:00"}, 400, "bad_updated_since"),
        ({"limit": "0"}, 400, "bad_limit"),
        ({"limit": "ten"}, 400, "bad_limit"),
        ({"page": "2"}, 400, "unknown_parameter"),
        ({"cursor": "2"}, 410, "invalid_cursor"),
        ({"cursor": "http://elsewhere.example/"}, 410, "invalid_cursor"),
    ],
)
async def test_a_malformed_query_is_refused(store: Store, query: dict[str, str], status: int, code: str) -> None:
    answered, body = await store.get(query)
    assert (answered, body["error"]["code"]) == (status, code)


async def test_an_unknown_store_is_not_found(store: Store) -> None:
    status, _ = await store.get(path="/s9/abandoned-carts")
    assert status == 404


def basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


@pytest.mark.parametrize(
    ("auth", "headers", "status"),
    [
        ("bearer", BEARER, 200),
        ("bearer", {"Authorization": "Bearer token-s1"}, 401),
        ("bearer", {}, 401),
        ("header", {"X-Api-Key": "token-s0"}, 200),
        ("header", {"X-Api-Key": "token-s1"}, 401),
        ("header", BEARER, 401),
        ("basic", basic("user-s0", "token-s0"), 200),
        ("basic", basic("user-s1", "token-s0"), 401),
        ("basic", BEARER, 401),
        ("hmac", BEARER, 401),
    ],
)
async def test_only_its_own_credential_opens_a_store(
    store: Store, auth: str, headers: dict[str, str], status: int
) -> None:
    store.simulator.add_tenant("s0", auth)
    answered, _ = await store.get(headers=headers)
    assert answered == status


def signed(path: str, at: datetime, secret: str = "token-s0") -> dict[str, str]:
    stamp = str(int(at.timestamp()))
    text = f"{stamp}.GET.{path}.".encode()
    return {"X-Timestamp": stamp, "X-Signature": hmac.new(secret.encode(), text, hashlib.sha256).hexdigest()}


@pytest.mark.parametrize(
    ("signed_path", "off_by", "secret", "outcome"),
    [
        (f"{ROUTE}?limit=2", 0, "token-s0", (200, None)),
        (f"{ROUTE}?limit=2", 300, "token-s0", (200, None)),
        (f"{ROUTE}?limit=2", 301, "token-s0", (401, "clock_skew")),
        (f"{ROUTE}?limit=2", -301, "token-s0", (401, "clock_skew")),
        (f"{ROUTE}?limit=3", 0, "token-s0", (401, "unauthorized")),
        (ROUTE, 0, "token-s0", (401, "unauthorized")),
        (f"{ROUTE}?limit=2", 0, "token-s1", (401, "unauthorized")),
    ],
)
async def test_a_signature_covers_time_path_and_query(
    store: Store, signed_path: str, off_by: int, secret: str, outcome: tuple[int, str | None]
) -> None:
    store.simulator.add_tenant("s0", "hmac")
    since = "&updated_since=2026-11-20T00:00:00Z"
    headers = signed(signed_path + since, NOON + timedelta(seconds=off_by), secret)
    async with store.client.get(f"{store.simulator.base_url}{ROUTE}?limit=2{since}", headers=headers) as response:
        body = await response.json()
        assert (response.status, body.get("error", {}).get("code")) == outcome


async def test_credentials_that_were_taken_back_are_refused(store: Store) -> None:
    store.simulator.tenants["s0"].refused = True
    assert (await store.get())[0] == 401


async def test_an_unchanged_page_is_not_sent_again(store: Store) -> None:
    url = store.simulator.base_url + ROUTE
    async with store.client.get(url, params=SINCE, headers=BEARER) as first:
        etag = first.headers["ETag"]
    async with store.client.get(url, params=SINCE, headers={**BEARER, "If-None-Match": etag}) as second:
        assert second.status == 304


async def test_a_cursor_loop_names_the_same_cursor_for_ever(store: Store) -> None:
    fill(store.simulator, 5)
    store.simulator.inject("cursor_loop", times=3)
    _, body = await store.get({"limit": "2"})
    _, again = await store.get({"limit": "2", "cursor": body["next_cursor"]})
    assert again["next_cursor"] == body["next_cursor"]


async def test_the_same_page_comes_again_under_a_new_cursor(store: Store) -> None:
    fill(store.simulator, 5)
    store.simulator.inject("same_page", times=3)
    _, body = await store.get({"limit": "2"})
    _, again = await store.get({"limit": "2", "cursor": body["next_cursor"]})
    assert (again["carts"] == body["carts"], again["next_cursor"] == body["next_cursor"]) == (True, False)


async def test_an_empty_page_leads_on(store: Store) -> None:
    fill(store.simulator, 2)
    store.simulator.inject("empty_page")
    _, body = await store.get()
    assert (body["carts"], body["next_cursor"] is None) == ([], False)


async def test_the_next_cursor_can_point_elsewhere(store: Store) -> None:
    store.simulator.inject("foreign_cursor")
    _, body = await store.get()
    assert body["next_cursor"].startswith("http://carts.attacker.example/")


async def test_control_routes_add_change_complete_and_remove(store: Store) -> None:
    base = store.simulator.base_url + "/_control"
    await (await store.client.post(f"{base}/tenants", json={"name": "s1", "auth": "basic"})).read()
    for carts in ([{"id": "a"}, {"id": "b"}], [{"id": "a", "total": "7.00"}]):
        await (await store.client.post(f"{base}/carts", json={"tenant": "s1", "carts": carts})).read()
    await (await store.client.post(f"{base}/complete", json={"tenant": "s1", "id": "a"})).read()
    await (await store.client.delete(f"{base}/carts", params={"tenant": "s1", "id": "b"})).read()
    async with store.client.get(f"{base}/carts", params={"tenant": "s1"}) as response:
        carts_left = await response.json()
    assert [(cart["id"], cart["total"], cart["completed_at"]) for cart in carts_left] == [("a", "7.00", rfc3339(NOON))]
