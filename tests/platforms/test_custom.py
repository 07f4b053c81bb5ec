"""The custom adapter against the simulated store: signing in, paging, trouble, and the check."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from backend.errors import AddressBlocked, FixCredentials, TryLater
from backend.platforms.base import Connection
from backend.platforms.custom import CustomPlatform
from tests.platforms.custom_store import CREDENTIALS, NOON, SINCE, TOKEN, Store, running_store


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    async with running_store() as running:
        yield running


@pytest.mark.parametrize("auth", ["bearer", "header", "basic", "hmac"])
async def test_each_kind_of_auth_is_admitted(store: Store, auth: str) -> None:
    store.simulator.add_tenant("s0", auth)
    store.fill(1)
    page = await store.adapter(CREDENTIALS[auth], auth=auth).fetch_page(SINCE, None)
    assert len(page.carts) == 1


async def test_a_key_travels_in_the_header_that_the_company_named(store: Store) -> None:
    store.simulator.add_tenant("s0", "header", header_name="X-Shop-Key")
    await store.adapter({"key": "token-s0"}, auth="header", header_name="X-Shop-Key").fetch_page(SINCE, None)


async def test_each_request_is_signed_afresh(store: Store) -> None:
    store.simulator.add_tenant("s0", "hmac", refused=True)
    adapter = store.adapter(CREDENTIALS["hmac"], auth="hmac")
    for _ in range(3):
        store.now += timedelta(seconds=1)
        with pytest.raises(FixCredentials):
            await adapter.fetch_page(SINCE, None)
    assert len({request.headers["x-signature"] for request in store.simulator.requests}) == 3


async def test_a_cursor_with_odd_characters_is_signed_as_it_is_sent(store: Store) -> None:
    store.simulator.add_tenant("s0", "hmac")
    store.simulator.inject("odd_next", options={"next_cursor": "a b&c=d/é+%2C,'#"})
    adapter = store.adapter(CREDENTIALS["hmac"], auth="hmac")
    page = await adapter.fetch_page(SINCE, None)
    await adapter.fetch_page(SINCE, page.next_page_token)  # refused as a cursor, not as a signature
    assert "cursor=" in store.simulator.requests[1].path


async def test_credentials_of_another_kind_are_named(store: Store) -> None:
    with pytest.raises(FixCredentials) as caught:
        await store.adapter({"token": "t"}, auth="basic").fetch_page(SINCE, None)
    assert (caught.value.code, "username and password" in caught.value.remedy) == ("credentials_missing", True)


async def test_a_walk_with_stored_tokens_sees_every_cart_once(store: Store) -> None:
    store.fill(7)
    assert await store.walk(page_size=2) == [f"c{number:02}" for number in range(7)]


async def test_the_window_is_asked_for_in_utc(store: Store) -> None:
    await store.adapter().fetch_page(SINCE, None)
    assert "updated_since=2026-11-17T12:00:00Z" in store.simulator.requests[0].path


async def test_the_servers_own_time_comes_with_the_page(store: Store) -> None:
    store.simulator.clock_skew = timedelta(hours=2)
    page = await store.adapter().fetch_page(SINCE, None)
    assert page.server_time == NOON + timedelta(hours=2)


async def test_nothing_modified_is_an_empty_window(store: Store) -> None:
    store.simulator.inject("status", status=304)
    page = await store.adapter().fetch_page(SINCE, None)
    assert (page.carts, page.next_page_token, page.server_time) == ((), None, NOON)


@pytest.mark.parametrize("kind", ["cursor_loop", "same_page", "empty_page"])
async def test_a_walk_in_circles_stops(store: Store, kind: str) -> None:
    assert (await store.trouble(kind)).code == "pagination_loop"


async def test_one_empty_page_in_between_is_no_circle(store: Store) -> None:
    store.fill(3)
    store.simulator.inject("empty_page")
    assert await store.walk(page_size=3) == ["c00", "c01", "c02"]


@pytest.mark.parametrize(
    "cursor", ["http://169.254.169.254/latest", "//elsewhere.example/x", "", "a\nb", "x" * 2049, 7, ["a"]]
)
async def test_a_next_cursor_that_is_none_is_refused(store: Store, cursor: Any) -> None:
    assert (await store.trouble("odd_next", options={"next_cursor": cursor})).code == "bad_next_cursor"


async def test_a_cursor_on_another_host_is_never_followed(store: Store) -> None:
    assert (await store.trouble("foreign_cursor")).code == "bad_next_cursor"


async def test_a_cursor_that_the_store_forgot_begins_the_window_again(store: Store) -> None:
    store.fill(4)
    first = await store.adapter(page_size=2).fetch_page(SINCE, None)
    store.simulator.inject("status", status=410)
    again = await store.adapter(page_size=2).fetch_page(SINCE, first.next_page_token)
    assert [cart.source_cart_id for cart in again.carts] == ["c00", "c01"]


async def test_a_store_that_refuses_every_cursor_is_left_alone_for_a_while(store: Store) -> None:
    problem = await store.trouble("status", status=410, match="cursor=")
    assert (problem.code, problem.retry_after) == ("cursor_refused", timedelta(minutes=10))


async def test_a_token_in_another_releases_form_begins_the_window_again(store: Store) -> None:
    store.fill(1)
    page = await store.adapter().fetch_page(SINCE, '{"page": 7}')
    assert len(page.carts) == 1


@pytest.mark.parametrize(
    ("status", "code"),
    [(401, "credentials_refused"), (403, "access_denied"), (402, "store_locked"), (423, "store_locked")],
)
async def test_the_company_is_told_what_to_mend(store: Store, status: int, code: str) -> None:
    store.simulator.inject("status", status=status)
    with pytest.raises(FixCredentials) as caught:
        await store.adapter().fetch_page(SINCE, None)
    assert (caught.value.code, bool(caught.value.remedy)) == (code, True)


async def test_a_complaint_about_our_clock_is_no_fault_of_the_credentials(store: Store) -> None:
    store.simulator.add_tenant("s0", "hmac")
    store.now = NOON + timedelta(minutes=6)
    with pytest.raises(TryLater) as caught:
        await store.adapter(CREDENTIALS["hmac"], auth="hmac").fetch_page(SINCE, None)
    assert caught.value.code == "clock_skew"


@pytest.mark.parametrize(
    ("fault", "options", "code"),
    [
        ("status", {"status": 500}, "http_500"),
        ("status", {"status": 400}, "http_400"),
        ("status", {"status": 404}, "endpoint_missing"),
        ("status", {"status": 302, "headers": {"Location": "http://elsewhere.example/"}}, "redirected"),
        ("html", {}, "not_json"),
        ("truncated", {}, "bad_body"),
        ("nan", {}, "bad_body"),
        ("deep", {}, "bad_body"),
        ("status", {"status": 200, "body": "[]"}, "bad_body"),
        ("status", {"status": 200, "body": '{"carts": {}}'}, "bad_body"),
        ("status", {"status": 200, "body": '{"carts": [], "x": "' + "y" * (5 << 20) + '"}'}, "body_too_large"),
        ("gzip_bomb", {}, "body_too_large"),
        ("huge", {}, "body_too_large"),
        ("reset", {}, "connection_failed"),
        ("cut", {}, "connection_failed"),
    ],
)
async def test_a_sick_store_is_tried_later(store: Store, fault: str, options: dict[str, Any], code: str) -> None:
    assert (await store.trouble(fault, **options)).code == code


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("told", ["90", "Fri, 20 Nov 2026 12:01:30 GMT"])
async def test_the_wait_is_the_stores_own_word(store: Store, status: int, told: str) -> None:
    problem = await store.trouble("status", status=status, headers={"Retry-After": told})
    assert problem.retry_after == timedelta(seconds=90)


async def test_a_blocked_address_is_our_own_finding(store: Store) -> None:
    settings = {"base_url": "http://10.0.0.1/shop", "allow_http": True}
    adapter = CustomPlatform(Connection("c1", "i1", settings, TOKEN), store.http, lambda: NOON)
    with pytest.raises(AddressBlocked):
        await adapter.fetch_page(SINCE, None)


async def test_a_check_of_a_sound_store_is_ok(store: Store) -> None:
    store.fill(1)
    check = await store.adapter().check()
    assert (check.ok, check.store_id) == (True, store.adapter().store_id)


async def test_a_check_names_records_that_cannot_be_read(store: Store) -> None:
    store.simulator.inject("bad_record")
    check = await store.adapter().check()
    assert [finding.name for finding in check.findings if not finding.ok] == ["records"]


async def test_a_check_says_what_to_do_about_refused_credentials(store: Store) -> None:
    (finding,) = (await store.adapter({"token": "old"}).check()).findings
    assert (finding.ok, finding.name, bool(finding.remedy)) == (False, "credentials_refused", True)


async def test_a_check_says_that_an_address_is_blocked(store: Store) -> None:
    settings = {"base_url": "http://10.0.0.1/shop", "allow_http": True}
    check = await CustomPlatform(Connection("c1", "i1", settings, TOKEN), store.http, lambda: NOON).check()
    assert [finding.name for finding in check.findings] == ["address_blocked"]


async def test_the_contract_has_no_rereading(store: Store) -> None:
    with pytest.raises(NotImplementedError):
        await store.adapter().reread(["1"])
