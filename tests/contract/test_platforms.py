"""What every platform in the registry must do, on a store of its own."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from backend.domain.carts import CartPage, SeenCart, SourceStatus
from backend.errors import FixCredentials, TryLater
from backend.outbound import Outbound, OutboundPolicy
from backend.platforms.base import Connection, Platform
from backend.platforms.registry import PLATFORMS
from tests.contract.stores import Store, inapplicable, open_store, signature_of, simulator_of

MOST_PAGES = 200
TOO_MUCH = "900000000000000000.00"  # more than storage holds
SAFETY = timedelta(seconds=60)  # the watermark stays this far behind the server's time
Between = Callable[[int], Awaitable[None]]


def utc_now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


class Bench:
    """A platform's adapters on its store. `window_from` is where a first poll begins."""

    def __init__(self, platform: type[Platform], store: Store, http: Outbound) -> None:
        self.platform = platform
        self.store = store
        self.http = http
        self.began = utc_now()
        self.window_from = self.began - timedelta(days=1)

    async def adapter(self, connection: Connection | None = None) -> Platform:
        """Return a new adapter object, as each poll has one."""
        chosen = connection or await self.store.connection()
        return self.platform(chosen, self.http, lambda: datetime.now(UTC))

    async def fill(self, count: int, step: timedelta = timedelta(minutes=1)) -> list[str]:
        """Add carts changed one `step` after another, all some hours ago; return their ids."""
        if getattr(self.store, "makes_its_own_carts", False):
            return []
        oldest = self.began - timedelta(hours=6)
        return [await self.store.add(f"cart{number:02}", oldest + number * step) for number in range(count)]

    async def poll_twice(self, between: Between) -> list[SeenCart]:
        """Walk, with `between` called after each page, and then walk the next poll's window."""
        first = await walk(await self.adapter(), self.window_from, between)
        told = first[0].server_time
        assert told is not None
        overlap = self.platform.capabilities.overlap
        return carts_of(first + await walk(await self.adapter(), told - SAFETY - overlap))


async def walk(adapter: Platform, window_from: datetime, between: Between | None = None) -> list[CartPage]:
    """Return every page of a window; `between` is called with the number of pages read so far."""
    pages: list[CartPage] = []
    token: str | None = None
    while not pages or token is not None:
        assert len(pages) < MOST_PAGES, "the walk has no end"
        pages.append(await adapter.fetch_page(window_from, token))
        token = pages[-1].next_page_token
        if between is not None:
            await between(len(pages))
    return pages


def carts_of(pages: list[CartPage]) -> list[SeenCart]:
    return [cart for page in pages for cart in page.carts]


def ids_of(carts: list[SeenCart]) -> set[str]:
    return {cart.source_cart_id for cart in carts}


@pytest.fixture(params=PLATFORMS)
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    store = open_store(request.param)
    reason = inapplicable(store).get(request.node.originalname)
    if reason is not None:
        pytest.skip(f"{request.param}: {reason}")
    await store.start()
    http = Outbound(OutboundPolicy(allow_loopback=True))
    try:
        yield Bench(PLATFORMS[request.param], store, http)
    finally:
        await http.aclose()
        await store.stop()


@pytest.mark.parametrize("name", PLATFORMS)
def test_a_case_that_is_left_out_exists(name: str) -> None:
    assert set(inapplicable(open_store(name))) <= {case for case in globals() if case.startswith("test_")}


@pytest.mark.parametrize("name", PLATFORMS)
def test_the_registry_calls_a_platform_by_its_own_name(name: str) -> None:
    assert PLATFORMS[name].name == name


# --- paging ---


async def test_paging_ends(bench: Bench) -> None:
    expected = await bench.fill(3 * bench.store.page_size)
    pages = await walk(await bench.adapter(), bench.window_from - timedelta(days=2))
    assert (len(pages) > 2, ids_of(carts_of(pages)) >= set(expected)) == (True, True)


async def test_an_empty_window_has_one_empty_page(bench: Bench) -> None:
    pages = await walk(await bench.adapter(), utc_now() + timedelta(hours=1))
    assert [(page.carts, page.unreadable) for page in pages] == [((), ())]


async def test_a_walk_goes_on_from_a_stored_token(bench: Bench) -> None:
    expected = await bench.fill(3 * bench.store.page_size)
    seen: list[SeenCart] = []
    token: str | None = None
    for _ in range(MOST_PAGES):
        page = await (await bench.adapter()).fetch_page(bench.window_from, token)
        seen += page.carts
        token = page.next_page_token
        if token is None:
            break
    assert (token, ids_of(seen) >= set(expected)) == (None, True)


async def test_a_page_asked_for_again_is_the_same_page(bench: Bench) -> None:
    await bench.fill(3 * bench.store.page_size)
    adapter = await bench.adapter()
    first = await adapter.fetch_page(bench.window_from, None)
    pages = [await (await bench.adapter()).fetch_page(bench.window_from, first.next_page_token) for _ in range(2)]
    assert (len(pages[0].carts) > 0, pages[0].carts == pages[1].carts) == (True, True)


async def test_an_update_in_mid_walk_is_not_lost(bench: Bench) -> None:
    ids = await bench.fill(12)

    async def update(pages: int) -> None:
        if pages == 1:
            await bench.store.touch(ids[0], utc_now(), "99.00")

    seen = await bench.poll_twice(update)
    assert Decimal("99.00") in {cart.total for cart in seen if cart.source_cart_id == ids[0]}


@pytest.mark.parametrize("position", [0, 4, 5, 6, 9, 10, 11])
@pytest.mark.parametrize("change", ["touch", "delete", "leave_filter"])
async def test_no_neighbour_of_a_change_in_mid_walk_is_lost(bench: Bench, change: str, position: int) -> None:
    ids = await bench.fill(12)

    async def disturb(pages: int) -> None:
        if pages != 1:
            return
        if change == "touch":
            await bench.store.touch(ids[position], utc_now(), "99.00")
        elif change == "delete":
            await bench.store.delete(ids[position])
        else:
            await bench.store.leave_filter(ids[position], utc_now())

    first = await walk(await bench.adapter(), bench.window_from, disturb)
    assert set(ids) - {ids[position]} - ids_of(carts_of(first)) == set()


async def test_carts_of_one_instant_over_several_pages_are_each_seen(bench: Bench) -> None:
    ids = await bench.fill(3 * bench.store.page_size + 2, step=timedelta(0))
    seen = carts_of(await walk(await bench.adapter(), bench.window_from))
    effects = {(cart.source_cart_id, cart.total, cart.status) for cart in seen}
    assert (ids_of(seen), len(effects)) == (set(ids), len(ids))


# --- records ---


async def test_a_cart_says_which_store_it_is_of(bench: Bench) -> None:
    await bench.fill(3)
    adapter = await bench.adapter()
    seen = carts_of(await walk(adapter, bench.window_from))
    assert {cart.store_id for cart in seen} == {adapter.store_id}


async def test_every_time_is_aware_utc(bench: Bench) -> None:
    await bench.fill(3)
    seen = carts_of(await walk(await bench.adapter(), bench.window_from))
    assert {moment.tzinfo for cart in seen for moment in (cart.created_at, cart.updated_at)} == {UTC}


async def test_a_cart_without_contact_survives(bench: Bench) -> None:
    source_id = await bench.store.add("lonely", bench.began - timedelta(hours=1), email=None)
    (cart,) = carts_of(await walk(await bench.adapter(), bench.window_from))
    assert (cart.source_cart_id, cart.shopper.email) == (source_id, None)


async def test_a_purchase_is_seen(bench: Bench) -> None:
    if not bench.platform.capabilities.sees_purchases:
        pytest.skip("the platform's poll does not show purchases")
    source_id = await bench.store.add("bought", bench.began - timedelta(hours=1))
    await bench.store.complete(source_id, bench.began - timedelta(minutes=10))
    (cart,) = carts_of(await walk(await bench.adapter(), bench.window_from))
    assert (cart.source_cart_id, cart.status, cart.completed_at is not None) == (
        source_id,
        SourceStatus.COMPLETED,
        True,
    )


async def test_a_record_dated_2099_is_set_aside(bench: Bench) -> None:
    await bench.store.add("future", datetime(2099, 1, 1, tzinfo=UTC))
    good = await bench.store.add("good", bench.began - timedelta(hours=1))
    pages = await walk(await bench.adapter(), bench.window_from)
    reasons = {record.reason for page in pages for record in page.unreadable}
    assert (ids_of(carts_of(pages)), reasons) == ({good}, {"dated_in_the_future"})


async def test_a_record_that_cannot_be_read_leaves_its_page_alone(bench: Bench) -> None:
    bad = await bench.store.add("bad", bench.began - timedelta(hours=2), total=TOO_MUCH)
    good = await bench.store.add("good", bench.began - timedelta(hours=1))
    pages = await walk(await bench.adapter(), bench.window_from)
    unreadable = {record.source_cart_id for page in pages for record in page.unreadable}
    assert (ids_of(carts_of(pages)), unreadable) == ({good}, {bad})


async def test_a_cart_read_again_is_as_it_is_now(bench: Bench) -> None:
    if not bench.platform.capabilities.rereads:
        pytest.skip("the platform cannot read single carts again")
    kept, gone = await bench.fill(2)
    await bench.store.touch(kept, utc_now(), "99.00")
    await bench.store.delete(gone)
    page = await (await bench.adapter()).reread([kept, gone])
    assert [(cart.source_cart_id, cart.total) for cart in page.carts] == [(kept, Decimal("99.00"))]
    assert [(out.source_cart_id, out.reason) for out in page.exclusions] == [(gone, "gone")]


# --- trouble ---


async def test_refused_credentials_are_the_companys_to_mend_each_time(bench: Bench) -> None:
    connection = await bench.store.connection()
    await bench.store.revoke()
    for attempt in range(3):
        adapter = bench.platform(connection, bench.http, _clock_of(attempt))
        with pytest.raises(FixCredentials) as caught:
            await adapter.fetch_page(bench.window_from, None)
        assert caught.value.remedy
    requests = bench.store.requests
    assert len({signature_of(bench.store, request) for request in requests}) == len(requests) >= 3


def _clock_of(attempt: int) -> Callable[[], datetime]:
    """Return a clock that is some seconds later at each attempt, as the poller's is."""
    return lambda: datetime.now(UTC) + timedelta(seconds=2 * attempt)


async def test_a_check_names_refused_credentials(bench: Bench) -> None:
    connection = await bench.store.connection()
    await bench.store.revoke()
    check = await (await bench.adapter(connection)).check()
    wrong = [finding for finding in check.findings if not finding.ok]
    assert (check.ok, bool(wrong), all(finding.remedy for finding in wrong)) == (False, True, True)


async def test_a_check_of_a_sound_store_finds_nothing_wrong(bench: Bench) -> None:
    await bench.fill(2)
    adapter = await bench.adapter()
    check = await adapter.check()
    assert ([finding for finding in check.findings if not finding.ok], check.store_id) == ([], adapter.store_id)


async def test_the_wait_is_the_stores_own_word(bench: Bench) -> None:
    await bench.store.throttle(7)
    with pytest.raises(TryLater) as caught:
        await (await bench.adapter()).fetch_page(bench.window_from, None)
    assert caught.value.retry_after is not None
    assert timedelta(seconds=7) <= caught.value.retry_after <= timedelta(seconds=8)


@pytest.mark.parametrize(
    "fault",
    [{"kind": "status", "status": 500}, {"kind": "status", "status": 502}]
    + [{"kind": kind} for kind in ("html", "truncated", "nan", "deep", "reset", "cut", "gzip_bomb")],
    ids=lambda fault: "-".join(str(part) for part in fault.values()),
)
async def test_trouble_on_the_way_is_tried_later(bench: Bench, fault: dict[str, Any]) -> None:
    simulator_of(bench.store).inject(times=10, **fault)
    with pytest.raises(TryLater):
        await (await bench.adapter()).fetch_page(bench.window_from, None)


async def test_the_servers_time_is_its_date_header(bench: Bench) -> None:
    simulator_of(bench.store).inject("date", times=10, seconds=7200)
    page = await (await bench.adapter()).fetch_page(bench.window_from, None)
    assert page.server_time is not None
    assert timedelta(hours=1) < page.server_time - bench.began < timedelta(hours=3)


# --- tenants ---


async def test_two_tenants_on_one_host_see_their_own_carts(bench: Bench) -> None:
    await bench.fill(3)
    mine = ids_of(carts_of(await walk(await bench.adapter(), bench.window_from)))
    theirs = ids_of(carts_of(await walk(await bench.adapter(await bench.store.second_tenant()), bench.window_from)))
    assert (len(mine) >= 3, mine & theirs) == (True, set())


async def test_two_tenants_on_one_host_are_two_stores(bench: Bench) -> None:
    first, second = await bench.adapter(), await bench.adapter(await bench.store.second_tenant())
    assert first.store_id != second.store_id


async def test_no_request_carries_the_other_tenants_credential(bench: Bench) -> None:
    await bench.fill(2 * bench.store.page_size + 1)
    connections = [await bench.store.connection(), await bench.store.second_tenant()]
    adapters = [await bench.adapter(connection) for connection in connections]
    tokens: list[str | None] = [None, None]
    for turn in (0, 1, 0, 1):
        seen_before = len(bench.store.requests)
        page = await adapters[turn].fetch_page(bench.window_from, tokens[turn])
        tokens[turn] = page.next_page_token
        foreign = _forms(connections[1 - turn]) - _forms(connections[turn])
        sent = [_text(request) for request in bench.store.requests[seen_before:]]
        assert not [secret for secret in foreign for text in sent if secret in text]


def _forms(connection: Connection) -> set[str]:
    """Return the ways in which credentials could show in a request."""
    values = set(connection.credentials.values())
    pair = ":".join(connection.credentials.values())
    return values | {base64.b64encode(pair.encode()).decode()} if values else set()


def _text(request: Any) -> str:
    return f"{request.path}\n{request.headers}\n{request.body!r}"
