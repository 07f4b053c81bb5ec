"""Destinations are claimed by one worker at a time, and their deliveries taken in slices, as a list of short facts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from backend.domain.work import DeliveryWork, DestinationTurn
from backend.models import companies, deliveries, destinations, installation_state
from backend.store.cycles import InstallationStore
from backend.store.outcomes import OutcomeStore
from backend.store.work import DeliveryQueue, Lease, Room, renew
from tests.factories import make_agent, make_company, make_destination, make_integration
from tests.store.rows import add_deliveries, change, lease_of
from tests.worlds import World

NOW = datetime(2026, 11, 20, 12, 5, tzinfo=UTC)
SECOND = timedelta(seconds=1)
Outlet = tuple[str, str, str]


@pytest.fixture
async def agent(world: World) -> tuple[str, str]:
    """Return a company and its agent."""
    company = await make_company(world)
    return company, await make_agent(world, company)


@pytest.fixture
async def outlet(world: World, agent: tuple[str, str]) -> Outlet:
    """Return a company, its store and its destination, which answered well before."""
    return await make_outlet(world, agent, "partner")


async def make_outlet(world: World, agent: tuple[str, str], name: str, **fields: Any) -> Outlet:
    store = await make_integration(world, *agent, name=name)
    place = await make_destination(world, *agent, f"https://{name}.example/hook", name=name)
    await change(world, destinations, place, **{"last_success_at": NOW, **fields})
    return agent[0], store, place


async def turns(world: World, at: datetime = NOW, most: int = 50, **how: Any) -> list[DestinationTurn]:
    due_by = how.pop("due_by", None)
    async with world.database.work() as tx:
        return await DeliveryQueue(tx).claim(Lease(at, 10), Room(most, **{"suspects": most, **how}), due_by)


async def take(world: World, turn: DestinationTurn, at: datetime = NOW, most: int = 50) -> list[DeliveryWork]:
    async with world.database.transaction(turn.company_id) as tx:
        return await OutcomeStore(tx, turn.company_id).take(turn, Lease(at, 10), most, at)


async def rows(world: World, table: Any) -> list[Any]:
    async with world.database.work() as tx:
        return list(await tx.execute(select(table)))


class TestTurns:
    async def test_a_destination_that_is_owed_something_is_claimed_with_a_lease(
        self, world: World, outlet: Outlet
    ) -> None:
        await add_deliveries(world, *outlet, 3, next_attempt_at=NOW)
        (turn,) = await turns(world)
        assert (turn.destination_id, await lease_of(world, destinations, outlet[2])) == (
            outlet[2],
            (turn.token, NOW + 10 * SECOND),
        )

    async def test_one_worker_at_a_time_works_a_destination_off(self, world: World, outlet: Outlet) -> None:
        await add_deliveries(world, *outlet, 3, next_attempt_at=NOW)
        assert [len(await turns(world, NOW + late * SECOND)) for late in (0, 9, 10)] == [1, 0, 1]

    @pytest.mark.parametrize("fields", [{"next_attempt_at": NOW + SECOND}, {"state": "delivered"}, {"state": "dead"}])
    async def test_a_destination_with_nothing_due_is_left_alone(
        self, world: World, outlet: Outlet, fields: dict[str, Any]
    ) -> None:
        await add_deliveries(world, *outlet, 1, **{"next_attempt_at": NOW, **fields})
        assert await turns(world) == []

    @pytest.mark.parametrize("values", [{"status": "disabled"}, {"status": "inactive"}, {"held_until": NOW + SECOND}])
    async def test_a_destination_left_alone_keeps_what_it_is_owed(
        self, world: World, outlet: Outlet, values: dict[str, Any]
    ) -> None:
        await add_deliveries(world, *outlet, 1, next_attempt_at=NOW)
        await change(world, destinations, outlet[2], **values)
        assert (await turns(world), [row.attempts for row in await rows(world, deliveries)]) == ([], [0])

    async def test_a_run_can_ask_for_what_was_due_when_it_began(self, world: World, outlet: Outlet) -> None:
        await add_deliveries(world, *outlet, 1, next_attempt_at=NOW + SECOND)
        assert await turns(world, NOW + SECOND, due_by=NOW) == []

    @pytest.mark.parametrize(
        ("values", "is_suspect", "is_proven"),
        [({"failures": 0}, False, True), ({"failures": 1}, True, False), ({"last_success_at": None}, False, False)],
        ids=str,
    )
    async def test_one_that_failed_is_a_suspect_and_one_that_answered_well_is_proven(
        self, world: World, outlet: Outlet, *, values: dict[str, Any], is_suspect: bool, is_proven: bool
    ) -> None:
        await add_deliveries(world, *outlet, 1, next_attempt_at=NOW)
        await change(world, destinations, outlet[2], **values)
        assert [(turn.is_suspect, turn.is_proven) for turn in await turns(world)] == [(is_suspect, is_proven)]

    async def test_suspects_take_only_their_places(self, world: World, agent: tuple[str, str]) -> None:
        for number in range(4):
            outlet = await make_outlet(world, agent, f"bad-{number}", failures=2)
            await add_deliveries(world, *outlet, 1, next_attempt_at=NOW - SECOND)
        sound = await make_outlet(world, agent, "sound")
        await add_deliveries(world, *sound, 1, next_attempt_at=NOW)
        taken = await turns(world, most=5, suspects=2)
        assert (sum(turn.is_suspect for turn in taken), sound[2] in {turn.destination_id for turn in taken}) == (
            2,
            True,
        )

    async def test_nothing_is_claimed_while_deliveries_are_on_hold(self, world: World, outlet: Outlet) -> None:
        await add_deliveries(world, *outlet, 1, next_attempt_at=NOW)
        async with world.database.work() as tx:
            await InstallationStore(tx).want(is_wanted=True, interval=30, now=NOW)
            await tx.execute(update(installation_state).values(hold_reason="restored", held_at=NOW))
        assert await turns(world) == []


class TestFairShare:
    @pytest.fixture
    async def crowd(self, world: World, agent: tuple[str, str]) -> dict[str, str]:
        """Return the companies: one with four destinations that waited for long, three with one each."""
        for number in range(4):
            outlet = await make_outlet(world, agent, f"big-{number}")
            await add_deliveries(world, *outlet, 5, next_attempt_at=NOW - timedelta(hours=1))
        made = {"big": agent[0]}
        for number in range(3):
            company = await make_company(world, name=f"small {number}")
            outlet = await make_outlet(world, (company, await make_agent(world, company)), f"small-{number}")
            await add_deliveries(world, *outlet, 1, next_attempt_at=NOW)
            made[f"small-{number}"] = company
        return made

    async def test_each_company_s_first_comes_before_anyone_s_second(self, world: World, crowd: dict[str, str]) -> None:
        assert {turn.company_id for turn in await turns(world, most=4)} == set(crowd.values())

    async def test_a_company_that_weighs_more_brings_more(self, world: World, crowd: dict[str, str]) -> None:
        await change(world, companies, crowd["big"], weight=3)
        taken = [turn.company_id for turn in await turns(world, most=6)]
        assert (taken.count(crowd["big"]), len(set(taken))) == (3, 4)

    async def test_a_company_that_has_its_share_gets_no_more(self, world: World, crowd: dict[str, str]) -> None:
        taken = {turn.company_id for turn in await turns(world, full=frozenset({crowd["big"]}))}
        assert taken == set(crowd.values()) - {crowd["big"]}


class TestSlices:
    async def test_attempts_are_counted_when_a_delivery_is_taken(self, world: World, outlet: Outlet) -> None:
        await add_deliveries(world, *outlet, 1, next_attempt_at=NOW)
        taken = []
        for late in (0, 10):
            (turn,) = await turns(world, NOW + late * SECOND)
            taken += [work.attempts for work in await take(world, turn, NOW + late * SECOND)]
        assert taken == [1, 2]

    async def test_the_first_attempt_s_time_stays(self, world: World, outlet: Outlet) -> None:
        await add_deliveries(world, *outlet, 1, next_attempt_at=NOW)
        times = []
        for late in (0, 10):
            (turn,) = await turns(world, NOW + late * SECOND)
            times += [work.first_attempt_at for work in await take(world, turn, NOW + late * SECOND)]
        assert times == [NOW, NOW]

    async def test_the_longest_due_are_taken_first(self, world: World, outlet: Outlet) -> None:
        added = [
            (await add_deliveries(world, *outlet, 1, next_attempt_at=NOW - late * SECOND))[0] for late in (1, 9, 5)
        ]
        (turn,) = await turns(world)
        assert [work.id for work in await take(world, turn, most=2)] == [added[1], added[2]]

    async def test_what_was_not_begun_is_given_back_uncounted_with_the_destination(
        self, world: World, outlet: Outlet
    ) -> None:
        (row_id,) = await add_deliveries(world, *outlet, 1, next_attempt_at=NOW)
        (turn,) = await turns(world)
        await take(world, turn)
        async with world.database.transaction(outlet[0]) as tx:
            await OutcomeStore(tx, outlet[0]).end_turn(turn, [row_id], None)
        (again,) = await turns(world)
        assert [work.attempts for work in await take(world, again)] == [1]

    async def test_a_worker_that_stalled_holds_nothing(self, world: World, outlet: Outlet) -> None:
        (row_id,) = await add_deliveries(world, *outlet, 1, next_attempt_at=NOW)
        (turn,) = await turns(world)
        await take(world, turn)
        async with world.database.transaction(outlet[0]) as tx:
            store = OutcomeStore(tx, outlet[0])
            rows_held = [await store.still_held([row_id], turn.token, NOW + late * SECOND) for late in (0, 10)]
            held = [await store.hold(turn, Lease(NOW + late * SECOND, 10.0)) for late in (0, 10)]
        turns_held = [target is not None for target in held]
        assert (rows_held, turns_held) == ([{row_id}, set()], [True, False])

    async def test_a_renewal_reaches_the_destination_and_what_was_taken(self, world: World, outlet: Outlet) -> None:
        (row_id,) = await add_deliveries(world, *outlet, 1, next_attempt_at=NOW)
        (turn,) = await turns(world)
        await take(world, turn)
        until = NOW + 13 * SECOND
        async with world.database.work() as tx:
            await renew(tx, "deliveries", [turn.token], until)
        ends = [
            (await lease_of(world, table, key))[1] for table, key in ((destinations, outlet[2]), (deliveries, row_id))
        ]
        assert ends == [until, until]

    async def test_a_renewal_does_not_wait_for_a_row_that_is_being_settled(self, world: World, outlet: Outlet) -> None:
        if world.database.is_sqlite:
            pytest.skip("SQLite has one writer at a time: the whole database waits")
        (row_id,) = await add_deliveries(world, *outlet, 1, next_attempt_at=NOW)
        (turn,) = await turns(world)
        await take(world, turn)
        async with world.database.transaction(outlet[0]) as settling:
            await OutcomeStore(settling, outlet[0]).still_held([row_id], turn.token, NOW)
            async with world.database.work() as tx:
                alive = await renew(tx, "deliveries", [turn.token], NOW + 13 * SECOND)
        assert (alive.longer, (await lease_of(world, deliveries, row_id))[1]) == ({turn.token}, NOW + 10 * SECOND)

    async def test_each_slice_renews_its_destination(self, world: World, outlet: Outlet) -> None:
        # The keeper passes over a row that is locked, so a destination with very much to do would lose its lease.
        await add_deliveries(world, *outlet, 1, next_attempt_at=NOW)
        (turn,) = await turns(world)
        async with world.database.transaction(outlet[0]) as tx:
            assert await OutcomeStore(tx, outlet[0]).hold(turn, Lease(NOW + 3 * SECOND, 10.0))
        assert (await lease_of(world, destinations, outlet[2]))[1] == NOW + 13 * SECOND
