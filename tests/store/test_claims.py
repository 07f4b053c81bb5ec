"""Claims and leases, as a list of short facts."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from backend.db import Database
from backend.domain.cursor import Cursor
from backend.domain.work import PollWork
from backend.errors import LeaseLost
from backend.models import carts, companies, company_agents, integrations
from backend.store.carts import CartStore
from backend.store.polls import PollStore
from backend.store.sweeps import SweepStore
from backend.store.work import MOST_CLAIMS, CartQueue, DeliveryQueue, Lease, PollQueue, Room, Scope, renew
from backend.store.work.carts import CARTS_AT_ONCE
from tests.factories import make_agent, make_company, make_destination, make_integration
from tests.store.rows import add_carts, add_deliveries, change, lease_of
from tests.worlds import World

NOW = datetime(2026, 11, 20, 12, 5, tzinfo=UTC)
SECOND = timedelta(seconds=1)
SCOPE = Scope("ecommerce-abandoned-cart", ("custom", "shopify"))


@pytest.fixture
async def agent(world: World) -> tuple[str, str]:
    """Return a company and its agent."""
    company = await make_company(world)
    return company, await make_agent(world, company)


def room(pieces: int, **how: Any) -> Room:
    """Return room for so many pieces, all of which may be suspects."""
    return Room(pieces, **{"suspects": pieces, **how})


async def make_store(world: World, agent: tuple[str, str], **fields: Any) -> str:
    return await make_integration(world, *agent, **{"next_poll_at": NOW - SECOND, **fields})


async def polls(world: World, at: datetime = NOW, most: int = 50, **how: Any) -> list[PollWork]:
    async with world.database.work() as tx:
        return await PollQueue(tx).claim(SCOPE, Lease(at, 10), room(most, **how), due_by=at)


async def each_poll(world: World, most: int = 50, after: str = "") -> list[PollWork]:
    async with world.database.work() as tx:
        return await PollQueue(tx).claim_each(SCOPE, Lease(NOW, 10), room(most), after=after)


class TestPolls:
    async def test_a_due_store_is_claimed_with_a_lease(self, world: World, agent: tuple[str, str]) -> None:
        store = await make_store(world, agent)
        (work,) = await polls(world)
        assert (work.integration_id, await lease_of(world, integrations, store)) == (
            store,
            (work.token, NOW + 10 * SECOND),
        )

    async def test_a_leased_store_is_not_claimed_again(self, world: World, agent: tuple[str, str]) -> None:
        await make_store(world, agent)
        await polls(world)
        assert await polls(world, NOW + 9 * SECOND) == []

    async def test_a_lease_that_ran_out_is_claimed_again(self, world: World, agent: tuple[str, str]) -> None:
        await make_store(world, agent)
        (first,) = await polls(world)
        (second,) = await polls(world, NOW + 10 * SECOND)
        assert first.token != second.token

    @pytest.mark.parametrize(
        "fields",
        [
            {"next_poll_at": NOW + SECOND},
            {"status": "inactive"},
            {"status": "paused", "pause_reason": "paused by operator"},
            {"waiting_until": NOW + SECOND},
            {"platform": "woocommerce"},
            {"claims": MOST_CLAIMS},
        ],
        ids=str,
    )
    async def test_a_store_that_is_not_to_be_polled_is_not_claimed(
        self, world: World, agent: tuple[str, str], fields: dict[str, Any]
    ) -> None:
        await make_store(world, agent, **fields)
        assert await polls(world) == []

    @pytest.mark.parametrize(
        ("table", "values"),
        [
            (company_agents, {"status": "inactive"}),
            (company_agents, {"template_slug": "another"}),
            (companies, {"status": "inactive"}),
        ],
        ids=["inactive agent", "other template", "inactive company"],
    )
    async def test_a_store_of_nobody_active_is_not_claimed(
        self, world: World, agent: tuple[str, str], table: Any, values: dict[str, str]
    ) -> None:
        await make_store(world, agent)
        await change(world, table, agent[0] if table is companies else agent[1], **values)
        assert await polls(world) == []

    async def test_refused_credentials_are_probed_when_due(self, world: World, agent: tuple[str, str]) -> None:
        await make_store(world, agent, status="paused", pause_reason="credentials_rejected")
        assert [work.is_paused for work in await polls(world)] == [True]

    async def test_a_one_off_run_takes_what_is_not_due_but_nothing_paused(
        self, world: World, agent: tuple[str, str]
    ) -> None:
        early = await make_store(world, agent, next_poll_at=NOW + timedelta(days=1))
        await make_store(world, agent, status="paused", pause_reason="credentials_rejected")
        assert [work.integration_id for work in await each_poll(world)] == [early]

    async def test_the_longest_due_is_claimed_first(self, world: World, agent: tuple[str, str]) -> None:
        stores = [await make_store(world, agent, next_poll_at=NOW - late * SECOND) for late in (1, 9, 5)]
        assert [work.integration_id for work in await polls(world, most=2)] == [stores[1], stores[2]]

    async def test_each_claim_is_counted(self, world: World, agent: tuple[str, str]) -> None:
        await make_store(world, agent)
        for turn in range(MOST_CLAIMS):
            assert len(await polls(world, NOW + 11 * turn * SECOND)) == 1
        assert await polls(world, NOW + timedelta(days=1)) == []

    async def test_what_another_holds_is_listed(self, world: World, agent: tuple[str, str]) -> None:
        store = await make_store(world, agent)
        await polls(world)
        async with world.database.work() as tx:
            now = [row.id for row in await PollQueue(tx).held(SCOPE, NOW)]
            later = await PollQueue(tx).held(SCOPE, NOW + 10 * SECOND)
        assert (now, later) == ([store], [])


class TestFairShare:
    """Many companies: `big` has a backlog that is older than anybody else's."""

    @pytest.fixture
    async def big(self, world: World, agent: tuple[str, str]) -> str:
        for _ in range(8):
            await make_store(world, agent, next_poll_at=NOW - timedelta(hours=1))
        return agent[0]

    @pytest.fixture
    async def small(self, world: World) -> list[str]:
        companies_made = []
        for number in range(3):
            company = await make_company(world, name=f"small {number}")
            owner = (company, await make_agent(world, company))
            for _ in range(2):
                await make_store(world, owner)
            companies_made.append(company)
        return companies_made

    async def test_when_all_fit_they_come_by_time(self, world: World, big: str, small: list[str]) -> None:
        assert len(await polls(world, most=14, is_crowded=True)) == 14

    async def test_each_company_s_first_comes_before_anyone_s_second(
        self, world: World, big: str, small: list[str]
    ) -> None:
        taken = [work.company_id for work in await polls(world, most=4, is_crowded=True)]
        assert sorted(taken) == sorted([big, *small])

    async def test_what_room_is_left_goes_to_the_longest_due(self, world: World, big: str, small: list[str]) -> None:
        taken = Counter(work.company_id for work in await polls(world, most=6, is_crowded=True))
        assert (taken[big], [taken[each] for each in small]) == (3, [1, 1, 1])

    async def test_a_company_that_weighs_more_takes_more(self, world: World, big: str, small: list[str]) -> None:
        await change(world, companies, small[1], weight=2)
        taken = Counter(work.company_id for work in await polls(world, most=5, is_crowded=True))
        assert [taken[each] for each in (big, *small)] == [1, 1, 2, 1]

    async def test_a_company_that_has_its_share_gets_no_more(self, world: World, big: str, small: list[str]) -> None:
        taken = await polls(world, full=frozenset({big}))
        assert {work.company_id for work in taken} == set(small)

    async def test_those_that_failed_last_time_take_only_their_places(
        self, world: World, agent: tuple[str, str]
    ) -> None:
        failing = [await make_store(world, agent, failures=1, next_poll_at=NOW - timedelta(days=1)) for _ in range(4)]
        sound = [await make_store(world, agent) for _ in range(2)]
        taken = {work.integration_id for work in await polls(world, most=5, suspects=2)}
        assert (len(taken & set(failing)), taken >= set(sound)) == (2, True)

    async def test_a_one_off_run_goes_on_after_the_last_one(self, world: World, agent: tuple[str, str]) -> None:
        stores = sorted([await make_store(world, agent) for _ in range(5)])
        first = await each_poll(world, most=3)
        rest = await each_poll(world, after=first[-1].integration_id if first else "")
        assert sorted(work.integration_id for work in (*first, *rest)) == stores


class TestPollFence:
    async def test_the_holder_changes_its_row(self, world: World, agent: tuple[str, str]) -> None:
        store = await make_store(world, agent)
        (work,) = await polls(world)
        async with world.database.transaction(agent[0]) as tx:
            await PollStore(tx, work).move_cursor(Cursor(watermark=NOW), NOW)
        (row,) = await rows(world, integrations)
        assert (row.id, row.watermark) == (store, NOW)

    @pytest.mark.parametrize("taken", [False, True], ids=["nobody took it", "another took it"])
    async def test_a_worker_that_stalled_changes_nothing(
        self, world: World, agent: tuple[str, str], *, taken: bool
    ) -> None:
        await make_store(world, agent)
        (work,) = await polls(world)
        late = NOW + 10 * SECOND
        if taken:
            await polls(world, late)
        before = await rows(world, integrations)
        async with world.database.transaction(agent[0]) as tx:
            store = PollStore(tx, work)
            for act in (store.move_cursor(Cursor(watermark=NOW), late), store.settle(late)):
                with pytest.raises(LeaseLost):
                    await act
        assert await rows(world, integrations) == before

    async def test_settling_gives_the_lease_back_and_forgets_the_claims(
        self, world: World, agent: tuple[str, str]
    ) -> None:
        store = await make_store(world, agent)
        (work,) = await polls(world)
        async with world.database.transaction(agent[0]) as tx:
            await PollStore(tx, work).settle(NOW, failures=0)
        (row,) = await rows(world, integrations)
        assert (await lease_of(world, integrations, store), row.claims, row.polls) == ((None, None), 0, 1)


async def rows(world: World, table: Any) -> list[Any]:
    async with world.database.work() as tx:
        return list(await tx.execute(select(table)))


class TestRenewal:
    async def test_a_held_lease_is_renewed(self, world: World, agent: tuple[str, str]) -> None:
        store = await make_store(world, agent)
        (work,) = await polls(world)
        async with world.database.work() as tx:
            held = await renew(tx, "polls", [work.token], NOW + 13 * SECOND)
        assert (held.alive, held.longer) == ({work.token}, {work.token})
        assert (await lease_of(world, integrations, store))[1] == NOW + 13 * SECOND

    async def test_a_lost_token_is_not_among_those_renewed(self, world: World, agent: tuple[str, str]) -> None:
        await make_store(world, agent)
        (lost,) = await polls(world)
        (held,) = await polls(world, NOW + 10 * SECOND)
        async with world.database.work() as tx:
            assert (await renew(tx, "polls", [lost.token, held.token], NOW + 20 * SECOND)).alive == {held.token}

    async def test_a_lease_whose_row_is_locked_is_alive_but_no_longer_than_before(
        self, world: World, agent: tuple[str, str]
    ) -> None:
        if world.database.is_sqlite:
            pytest.skip("SQLite has one writer at a time: the whole database waits")
        await make_store(world, agent)
        (work,) = await polls(world)
        async with world.database.transaction(agent[0]) as saving:
            await PollStore(saving, work).change(NOW, notices=None)
            async with world.database.work() as tx:
                held = await renew(tx, "polls", [work.token], NOW + 20 * SECOND)
        assert (held.alive, held.longer) == ({work.token}, set())

    async def test_a_page_that_is_saved_renews_its_poll(self, world: World, agent: tuple[str, str]) -> None:
        # The keeper passes over a row that is locked, so a store with page after page would lose its lease.
        store = await make_store(world, agent)
        (work,) = await polls(world)
        async with world.database.transaction(agent[0]) as tx:
            await PollStore(tx, work).move_cursor(work.cursor, NOW + 3 * SECOND)
        assert (await lease_of(world, integrations, store))[1] == NOW + 13 * SECOND

    @pytest.mark.parametrize("lane", ["polls", "sweep", "deliveries"])
    async def test_a_token_nobody_has_renews_nothing(self, world: World, lane: str) -> None:
        async with world.database.work() as tx:
            assert (await renew(tx, lane, ["nobody"], NOW)).alive == set()


class TestSweep:
    @pytest.mark.parametrize(("ahead", "claimed"), [(-SECOND, 1), (timedelta(0), 0), (SECOND, 0)])
    async def test_a_cart_is_claimed_once_its_check_is_past(
        self, world: World, agent: tuple[str, str], ahead: timedelta, claimed: int
    ) -> None:
        store = await make_store(world, agent)
        await add_carts(world, agent[0], store, 1, next_check_at=NOW + ahead)
        assert sum(len(work.cart_ids) for work in await sweep(world)) == claimed

    async def test_carts_come_in_groups_of_one_store(self, world: World, agent: tuple[str, str]) -> None:
        first, second = await make_store(world, agent), await make_store(world, agent)
        await add_carts(world, agent[0], first, 2)
        await add_carts(world, agent[0], second, 3)
        groups = {work.integration_id: len(work.cart_ids) for work in await sweep(world)}
        assert groups == {first: 2, second: 3}

    async def test_a_leased_cart_is_not_claimed_again_until_its_lease_is_over(
        self, world: World, agent: tuple[str, str]
    ) -> None:
        await add_carts(world, agent[0], await make_store(world, agent), 1)
        counts = [len(await sweep(world, NOW + late * SECOND)) for late in (0, 9, 10)]
        assert counts == [1, 0, 1]

    async def test_a_company_s_backlog_leaves_room_for_the_others(self, world: World, agent: tuple[str, str]) -> None:
        await add_carts(world, agent[0], await make_store(world, agent), CARTS_AT_ONCE + 50)
        other = await make_company(world, name="other")
        store = await make_store(world, (other, await make_agent(world, other)))
        await add_carts(world, other, store, 1, next_check_at=NOW - SECOND)
        counts = {work.company_id: len(work.cart_ids) for work in await sweep(world)}
        assert counts == {agent[0]: CARTS_AT_ONCE, other: 1}

    async def test_no_more_companies_come_than_there_is_room_for(self, world: World, agent: tuple[str, str]) -> None:
        for number in range(3):
            company = await make_company(world, name=f"company {number}")
            store = await make_store(world, (company, await make_agent(world, company)))
            await add_carts(world, company, store, 1)
        assert len(await sweep(world, most=2)) == 2

    async def test_a_worker_that_stalled_finds_none_of_its_carts(self, world: World, agent: tuple[str, str]) -> None:
        await add_carts(world, agent[0], await make_store(world, agent), 1)
        (work,) = await sweep(world)
        async with world.database.transaction(agent[0]) as tx:
            store = SweepStore(tx, agent[0])
            counts = [len(await store.load_held(work.cart_ids, work.token, NOW + late * SECOND)) for late in (0, 10)]
        assert counts == [1, 0]


async def sweep(world: World, at: datetime = NOW, most: int = 50, **how: Any) -> list[Any]:
    async with world.database.work() as tx:
        return await CartQueue(tx).claim(Lease(at, 10), room(most, **how))


class TestTwoAtOnce:
    """Two workers with connections of their own claim at the same moment: they share nothing, and leave nothing."""

    async def test_polls(self, world: World, agent: tuple[str, str]) -> None:
        stores = {await make_store(world, agent) for _ in range(20)}
        taken = await both(world, lambda tx: PollQueue(tx).claim(SCOPE, Lease(NOW, 10), room(4), due_by=NOW))
        ids = [each.integration_id for each in taken]
        assert (len(ids), set(ids)) == (20, stores)

    async def test_polls_by_turns(self, world: World, agent: tuple[str, str]) -> None:
        stores = {await make_store(world, agent) for _ in range(20)}
        crowded = room(4, is_crowded=True)
        taken = await both(world, lambda tx: PollQueue(tx).claim(SCOPE, Lease(NOW, 10), crowded, due_by=NOW))
        ids = [each.integration_id for each in taken]
        assert (len(ids), set(ids)) == (20, stores)

    async def test_carts(self, world: World, agent: tuple[str, str]) -> None:
        added = {row.id for row in await add_carts(world, agent[0], await make_store(world, agent), 450)}
        taken = await both(world, lambda tx: CartQueue(tx).claim(Lease(NOW, 10), room(4)))
        ids = [cart_id for each in taken for cart_id in each.cart_ids]
        assert (len(ids), set(ids)) == (450, added)

    async def test_destinations(self, world: World, agent: tuple[str, str]) -> None:
        store, places = await make_store(world, agent), set()
        for number in range(12):
            url = f"https://partner-{number}.example/hook"
            place = await make_destination(world, *agent, url, name=f"partner {number}")
            await add_deliveries(world, agent[0], store, place, 1, next_attempt_at=NOW)
            places.add(place)
        taken = await both(world, lambda tx: DeliveryQueue(tx).claim(Lease(NOW, 10), room(2)))
        assert (len(taken), {each.destination_id for each in taken}) == (12, places)


async def both(world: World, claim: Callable[[AsyncConnection], Awaitable[list[Any]]]) -> list[Any]:
    """Let two workers claim at once, again and again, until neither gets anything."""
    other = Database(world.settings)

    async def claimed(database: Database) -> list[Any]:
        async with database.work() as tx:
            return await claim(tx)

    taken: list[Any] = []
    try:
        while any(found := await asyncio.gather(claimed(world.database), claimed(other))):
            taken += chain(*found)
    finally:
        await other.close()
    return taken


async def test_a_cart_the_page_has_loaded_waits_for_its_commit(world: World, agent: tuple[str, str]) -> None:
    # Else the sweep or a delivery could write in between, and the page's save would take that back.
    if world.database.is_sqlite:
        pytest.skip("SQLite has one writer at a time: the whole database waits")
    store = await make_store(world, agent)
    (cart,) = await add_carts(world, agent[0], store, 1)
    async with world.database.transaction(agent[0]) as tx:
        await CartStore(tx, agent[0]).load_by_source(store, [cart.source_cart_id])
        async with world.database.work() as other:
            free = (await other.execute(select(carts.c.id).with_for_update(skip_locked=True))).all()
    assert free == []
