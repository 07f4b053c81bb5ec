"""The background loops within a process: who runs them on which database, and that start and stop are obeyed."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog
from sqlalchemy import select

from backend.domain.signing import make_secret
from backend.errors import Unavailable
from backend.models import poll_cycles, workers
from backend.services.wiring import Services, build_services
from backend.store.cycles import InstallationStore
from backend.worker import LoopLock, Post, Worker
from simulator.custom import CustomSimulator
from simulator.partner import PartnerSimulator
from tests.factories import make_agent, make_company, make_destination, make_integration
from tests.worlds import World

PATIENCE = 15.0  # seconds until a test that waits for the loops has failed


@pytest.fixture(autouse=True)
def collector() -> Iterator[None]:
    """Put the garbage collector back as it was: a worker sets it for the whole process."""
    before = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*before)


@dataclass
class Scene:
    """One store and one partner in real time, and processes that work on them."""

    world: World
    store: CustomSimulator
    partner: PartnerSimulator

    def add(self, cart_id: str) -> None:
        """Put a cart into the store that is idle for long enough."""
        self.store.add_cart("s0", cart_id, self.world.clock.now() - timedelta(minutes=45))

    def effects(self) -> list[str]:
        """Return the carts that arrived."""
        return sorted(effect.source_cart_id for effect in self.partner.hook("p").effects.values())

    @asynccontextmanager
    async def process(self, **settings: Any) -> AsyncIterator[Services]:
        """Return the services of a process whose worker runs while the block lasts."""
        services = await build_services(self.world.settings.model_copy(update={"drain_seconds": 1.0, **settings}))
        try:
            async with Worker(services, Post("test")).running():
                yield services
        finally:
            await services.aclose()

    async def rows(self, table: Any) -> list[Any]:
        """Return all rows of a table."""
        async with self.world.database.overview() as tx:
            return list(await tx.execute(select(table)))


@pytest.fixture
async def scene(world: World) -> AsyncIterator[Scene]:
    """Return a scene on both databases."""
    store, partner, secret = CustomSimulator(), PartnerSimulator(), make_secret()
    store.add_tenant("s0")
    partner.register("p", [secret])
    async with AsyncExitStack() as stack:
        store_url = await stack.enter_async_context(store.running())
        partner_url = await stack.enter_async_context(partner.running())
        company = await make_company(world)
        agent = await make_agent(world, company)
        settings = {"base_url": f"{store_url}/s0", "allow_http": True}
        await make_integration(world, company, agent, settings=settings, credentials={"token": "token-s0"})
        await make_destination(world, company, agent, f"{partner_url}/hook/p", secret)
        yield Scene(world, store, partner)


async def until(holds: Callable[[], Any]) -> None:
    """Wait until something holds; fail when it does not within a time that is long for any machine."""
    async with asyncio.timeout(PATIENCE):
        while True:
            found = holds()
            if await found if isinstance(found, Awaitable) else found:
                return
            await asyncio.sleep(0.05)


class TestWantedState:
    async def test_nothing_is_polled_before_the_start(self, scene: Scene) -> None:
        async with scene.process() as services:
            await until(lambda: scene.rows(workers))
            assert not (await services.poller.rhythm()).is_wanted
        assert (scene.store.requests, await scene.rows(poll_cycles)) == ([], [])

    async def test_a_start_is_obeyed_and_carts_arrive(self, scene: Scene) -> None:
        scene.add("c1")
        async with scene.process() as services:
            await services.poller.start(5)
            await until(lambda: scene.effects() == ["c1"])

    async def test_a_start_by_another_process_is_obeyed_too(self, scene: Scene) -> None:
        async with scene.process(), scene.process() as other:
            await other.poller.start(5)
            await until(lambda: scene.store.requests)

    async def test_a_stop_is_obeyed(self, scene: Scene) -> None:
        async with scene.process() as services:
            async with services.database.work() as tx:  # a second, less than anybody may ask for
                await InstallationStore(tx).want(is_wanted=True, interval=1, now=services.clock.now())
            await until(lambda: len(scene.store.requests) > 1)
            await services.poller.stop()
            await asyncio.sleep(1.5)  # it looks at the wanted state every second
            asked = len(scene.store.requests)
            await asyncio.sleep(2)
        assert len(scene.store.requests) == asked

    async def test_what_was_wanted_before_a_restart_still_is(self, scene: Scene) -> None:
        async with scene.process() as services:
            await services.poller.start(5)
        scene.add("c1")
        async with scene.process():
            await until(lambda: scene.effects() == ["c1"])


class TestSignIn:
    async def test_a_worker_signs_in_and_out(self, scene: Scene) -> None:
        async with scene.process() as services:
            (row,) = await scene.rows(workers)
            assert (row.id, row.role, row.runs_loops) == (services.leases.worker_id, "test", True)
        assert await scene.rows(workers) == []

    async def test_the_status_tells_of_it(self, scene: Scene) -> None:
        async with scene.process() as services:
            status = await services.poller.status()
        assert [worker["alive"] for worker in status["workers"]] == [True]
        assert status["loops_here"] is True


class TestTwoProcesses:
    async def test_on_sqlite_the_second_serves_without_loops_and_takes_over(self, scene: Scene) -> None:
        if not scene.world.settings.is_sqlite:
            pytest.skip("PostgreSQL has many writers: every process runs the loops")
        async with scene.process() as second_to_be:
            assert second_to_be.status.loops_here
            async with scene.process() as services:
                here, note = services.status.loops_here, services.status.loops_note
        assert (here, "another process" in note) == (False, True)
        async with AsyncExitStack() as first:
            await first.enter_async_context(scene.process())
            async with scene.process() as services:
                await first.aclose()
                await until(lambda: services.status.loops_here)
                await services.poller.start(5)
                await until(lambda: scene.store.requests)

    async def test_on_postgresql_both_run_the_loops_and_no_cart_arrives_twice(self, scene: Scene) -> None:
        if scene.world.settings.is_sqlite:
            pytest.skip("SQLite has one writer: one process runs the loops")
        for number in range(20):
            scene.add(f"c{number:02}")
        async with scene.process() as first, scene.process() as second:
            assert (first.status.loops_here, second.status.loops_here) == (True, True)
            await first.poller.start(5)
            await until(lambda: len(scene.effects()) == 20)
        assert scene.partner.hook("p").report()["doubled_effects"] == 0


async def test_a_database_that_is_away_is_a_line_and_no_trace(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    # Bells ring twice a second for each lane: traces would fill the log for as long as an outage lasts.
    async def away(*_: Any) -> bool:
        raise Unavailable("the database does not answer")

    async with scene.process() as services:
        await services.poller.start(5)
        monkeypatch.setattr(type(services.poller), "ring", away)
        with structlog.testing.capture_logs() as lines:
            await until(lambda: any(line["event"] == "bell.failed" for line in lines))
    (told, *_) = [line for line in lines if line["event"] == "bell.failed"]
    assert (told["log_level"], told["reason"]) == ("warning", "the database does not answer")


class TestLock:
    def test_one_holds_it_at_a_time(self, tmp_path: Path) -> None:
        first, second = LoopLock(tmp_path / "carts.db"), LoopLock(tmp_path / "carts.db")
        took = [first.take(), second.take(), first.take()]
        first.release()
        took.append(second.take())
        second.release()
        assert took == [True, False, True, True]

    def test_another_database_has_another_lock(self, tmp_path: Path) -> None:
        first, second = LoopLock(tmp_path / "a.db"), LoopLock(tmp_path / "b.db")
        assert (first.take(), second.take()) == (True, True)
        first.release()
        second.release()
