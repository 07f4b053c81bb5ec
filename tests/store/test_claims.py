"""Claims and leases, as a list of short facts."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Any

import pytest
from sqlalchemy import select

from backend.db import Database
from backend.domain.backoff import BREAKER_OPENS_AT
from backend.domain.cursor import Cursor
from backend.domain.work import PollWork
from backend.errors import LeaseLost
from backend.models import carts, companies, company_agents, deliveries, destinations, integrations
from backend.store.carts import CartStore
from backend.store.outcomes import OutcomeStore
from backend.store.polls import PollStore
from backend.store.sweeps import SweepStore
from backend.store.work import MOST_CLAIMS, Lease, Scope, WorkStore
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


async def make_store(world: World, agent: tuple[str, str], **fields: Any) -> str:
    return await make_integration(world, *agent, **{"next_poll_at": NOW - SECOND, **fields})


async def polls(world: World, at: datetime = NOW, most: int = 50, **how: Any) -> list[PollWork]:
    async with world.database.work() as tx:
        return await WorkStore(tx).claim_polls(SCOPE, Lease(at, 10), most, **{"due_by": at, **how})


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
        assert [work.integration_id for work in await polls(world, due_by=None)] == [early]

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
            now = [row.id for row in await WorkStore(tx).held(SCOPE, NOW)]
            later = await WorkStore(tx).held(SCOPE, NOW + 10 * SECOND)
        assert (now, later) == ([store], [])


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
            held = await WorkStore(tx).renew("poll", [work.token], NOW + 13 * SECOND)
        assert (held, (await lease_of(world, integrations, store))[1]) == ({work.token}, NOW + 13 * SECOND)

    async def test_a_lost_token_is_not_among_those_renewed(self, world: World, agent: tuple[str, str]) -> None:
        await make_store(world, agent)
        (lost,) = await polls(world)
        (held,) = await polls(world, NOW + 10 * SECOND)
        async with world.database.work() as tx:
            assert await WorkStore(tx).renew("poll", [lost.token, held.token], NOW + 20 * SECOND) == {held.token}

    @pytest.mark.parametrize("lane", ["poll", "sweep", "delivery"])
    async def test_a_token_nobody_has_renews_nothing(self, world: World, lane: str) -> None:
        async with world.database.work() as tx:
            assert await WorkStore(tx).renew(lane, ["nobody"], NOW) == set()


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

    async def test_a_worker_that_stalled_finds_none_of_its_carts(self, world: World, agent: tuple[str, str]) -> None:
        await add_carts(world, agent[0], await make_store(world, agent), 1)
        (work,) = await sweep(world)
        async with world.database.transaction(agent[0]) as tx:
            store = SweepStore(tx, agent[0])
            counts = [len(await store.load_held(work.cart_ids, work.token, NOW + late * SECOND)) for late in (0, 10)]
        assert counts == [1, 0]


async def sweep(world: World, at: datetime = NOW, most: int = 500) -> list[Any]:
    async with world.database.work() as tx:
        return await WorkStore(tx).claim_carts(Lease(at, 10), most)


async def outbox(world: World, at: datetime = NOW, most: int = 100, share: int = 100, **how: Any) -> list[Any]:
    async with world.database.work() as tx:
        return await WorkStore(tx).claim_deliveries(Lease(at, 10), most, share, **how)


@pytest.fixture
async def outlet(world: World, agent: tuple[str, str]) -> tuple[str, str, str]:
    """Return a company, its store and its destination."""
    store = await make_store(world, agent)
    return agent[0], store, await make_destination(world, *agent, "https://partner.example/hook")


class TestDeliveries:
    async def test_attempts_are_counted_at_claim(self, world: World, outlet: tuple[str, str, str]) -> None:
        await add_deliveries(world, *outlet, 1, next_attempt_at=NOW)
        taken = [(await outbox(world, NOW + late * SECOND)) for late in (0, 10)]
        assert [[work.attempts for work in works] for works in taken] == [[1], [2]]

    async def test_the_first_attempt_s_time_stays(self, world: World, outlet: tuple[str, str, str]) -> None:
        await add_deliveries(world, *outlet, 1, next_attempt_at=NOW)
        taken = [(await outbox(world, NOW + late * SECOND))[0].first_attempt_at for late in (0, 10)]
        assert taken == [NOW, NOW]

    @pytest.mark.parametrize("fields", [{"next_attempt_at": NOW + SECOND}, {"state": "delivered"}, {"state": "dead"}])
    async def test_what_is_not_due_is_not_claimed(
        self, world: World, outlet: tuple[str, str, str], fields: dict[str, Any]
    ) -> None:
        await add_deliveries(world, *outlet, 1, **{"next_attempt_at": NOW, **fields})
        assert await outbox(world) == []

    @pytest.mark.parametrize("values", [{"status": "disabled"}, {"status": "inactive"}, {"held_until": NOW + SECOND}])
    async def test_a_destination_left_alone_keeps_what_it_is_owed(
        self, world: World, outlet: tuple[str, str, str], values: dict[str, Any]
    ) -> None:
        await add_deliveries(world, *outlet, 1, next_attempt_at=NOW)
        await change(world, destinations, outlet[2], **values)
        assert (await outbox(world), [row.attempts for row in await rows(world, deliveries)]) == ([], [0])

    async def test_a_destination_on_probation_gets_one(self, world: World, outlet: tuple[str, str, str]) -> None:
        first, *_ = await add_deliveries(world, *outlet, 5, next_attempt_at=NOW)
        await change(world, destinations, outlet[2], failures=BREAKER_OPENS_AT, held_until=NOW)
        assert [work.id for work in await outbox(world)] == [first]

    async def test_no_destination_takes_more_than_its_share(
        self, world: World, agent: tuple[str, str], outlet: tuple[str, str, str]
    ) -> None:
        other = await make_destination(world, *agent, "https://other.example/hook")
        await add_deliveries(world, *outlet, 9, next_attempt_at=NOW - SECOND)
        await add_deliveries(world, *outlet[:2], other, 2, next_attempt_at=NOW)
        taken = [work.destination_id for work in await outbox(world, share=3)]
        assert (taken.count(outlet[2]), taken.count(other)) == (3, 2)

    async def test_what_was_not_begun_is_given_back_uncounted(self, world: World, outlet: tuple[str, str, str]) -> None:
        (row_id,) = await add_deliveries(world, *outlet, 1, next_attempt_at=NOW)
        (work,) = await outbox(world)
        async with world.database.transaction(outlet[0]) as tx:
            await OutcomeStore(tx, outlet[0]).release([row_id], work.token)
        (again,) = await outbox(world)
        assert again.attempts == 1

    async def test_a_worker_that_stalled_holds_nothing(self, world: World, outlet: tuple[str, str, str]) -> None:
        (row_id,) = await add_deliveries(world, *outlet, 1, next_attempt_at=NOW)
        (work,) = await outbox(world)
        async with world.database.transaction(outlet[0]) as tx:
            store = OutcomeStore(tx, outlet[0])
            held = [await store.still_held([row_id], work.token, NOW + late * SECOND) for late in (0, 10)]
        assert held == [{row_id}, set()]

    async def test_a_run_can_ask_for_what_was_due_when_it_began(
        self, world: World, outlet: tuple[str, str, str]
    ) -> None:
        (first,) = await add_deliveries(world, *outlet, 1, next_attempt_at=NOW)
        await add_deliveries(world, *outlet, 1, next_attempt_at=NOW + SECOND)
        assert [work.id for work in await outbox(world, NOW + SECOND, due_by=NOW)] == [first]

    async def test_more_destinations_than_are_looked_up_at_once(
        self, world: World, agent: tuple[str, str], outlet: tuple[str, str, str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("backend.store.work.DESTINATIONS_AT_ONCE", 2)
        added = set()
        for number in range(5):
            url = f"https://partner-{number}.example/hook"
            place = await make_destination(world, *agent, url, name=f"partner {number}")
            added |= set(await add_deliveries(world, *outlet[:2], place, 1, next_attempt_at=NOW))
        assert {work.id for work in await outbox(world)} == added


class TestTwoAtOnce:
    """Two workers with connections of their own claim at the same moment: they share nothing, and leave nothing."""

    async def test_polls(self, world: World, agent: tuple[str, str]) -> None:
        stores = {await make_store(world, agent) for _ in range(20)}
        taken = await both(world, lambda work: work.claim_polls(SCOPE, Lease(NOW, 10), 4, due_by=NOW))
        ids = [each.integration_id for each in taken]
        assert (len(ids), set(ids)) == (20, stores)

    async def test_carts(self, world: World, agent: tuple[str, str]) -> None:
        added = {row.id for row in await add_carts(world, agent[0], await make_store(world, agent), 60)}
        taken = await both(world, lambda work: work.claim_carts(Lease(NOW, 10), 10))
        ids = [cart_id for each in taken for cart_id in each.cart_ids]
        assert (len(ids), set(ids)) == (60, added)

    async def test_deliveries(self, world: World, outlet: tuple[str, str, str]) -> None:
        added = set(await add_deliveries(world, *outlet, 60, next_attempt_at=NOW))
        taken = await both(world, lambda work: work.claim_deliveries(Lease(NOW, 10), 10, 10))
        assert (len(taken), {each.id for each in taken}) == (60, added)
        assert {row.attempts for row in await rows(world, deliveries)} == {1}


async def both(world: World, claim: Callable[[WorkStore], Awaitable[list[Any]]]) -> list[Any]:
    """Let two workers claim at once, again and again, until neither gets anything."""
    other = Database(world.settings)

    async def claimed(database: Database) -> list[Any]:
        async with database.work() as tx:
            return await claim(WorkStore(tx))

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
