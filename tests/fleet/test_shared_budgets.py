"""Budgets that all workers share over a real Redis, which is killed, flushed and read back from an old file."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta

import pytest
import structlog
from aiohttp import web
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from backend.clock import Clock
from backend.domain.buckets import Ask, Bucket, Rate
from backend.domain.ids import new_id
from backend.outbound import HttpRequest, Outbound, OutboundPolicy
from backend.services.budgets import Budgets, BudgetSpent, Times, store_key
from backend.services.redis_budgets import MARK, PREFIX, PROBE_EVERY, RedisKeeper
from tests.fleet.redis_server import RedisServer
from tests.pace import REQUEST, CountingStore, SetTime, alone, among_eight, limited, over_limit

pytestmark = pytest.mark.redis

WORKERS = 8
LIMIT = Rate(5, 2)
STEADY_SECONDS = 20
SLOW = Rate(10, 0.01)
BUCKET, FIELDS = f"{PREFIX}k", ["level", "at", "held"]
WHOLE = st.integers(0, 60).map(float)  # so that a difference is none at all, or counts
ASKS = st.builds(Ask, st.just(Rate(50, 1e-9)), WHOLE, WHOLE, WHOLE, st.sampled_from([0.0, 0.0, 0.0, 1000.0]))
LONGEST = 60.0  # seconds that anything is waited for


@pytest.fixture(autouse=True)
def lines() -> Iterator[list[structlog.typing.EventDict]]:
    with structlog.testing.capture_logs() as captured:
        yield captured


class LimitedStore:
    """A store over HTTP that notes when each request arrived."""

    def __init__(self) -> None:
        self.arrived: list[float] = []
        self.more = asyncio.Event()
        self.url = ""

    async def hears_more(self) -> None:
        """Wait for one more request."""
        self.more.clear()
        async with asyncio.timeout(LONGEST):
            await self.more.wait()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Serve on a free port."""
        app = web.Application()
        app.add_routes([web.get("/", self._answer)])
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
            yield
        finally:
            await runner.cleanup()

    async def _answer(self, _request: web.Request) -> web.Response:
        self.arrived.append(time.monotonic())
        self.more.set()
        return web.json_response({})


@asynccontextmanager
async def eight_workers(url: str, store: LimitedStore) -> AsyncIterator[None]:
    """Let eight workers, each with connections and a keeper of its own, ask one store as fast as they may."""
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(store.running())
        tasks = []
        for _ in range(WORKERS):
            http = Outbound(OutboundPolicy(allow_loopback=True))
            budgets = Budgets(RedisKeeper(url), http, Times(Clock()), among_eight)
            stack.push_async_callback(http.aclose)
            stack.push_async_callback(budgets.aclose)
            tasks.append(asyncio.create_task(keep_asking(budgets, store.url)))
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
            assert {type(end) for end in ended} == {asyncio.CancelledError}


async def keep_asking(budgets: Budgets, url: str) -> None:
    paced, request = budgets.open(limited(LIMIT)), HttpRequest("GET", url, allow_http=True)
    while True:
        try:
            await paced.send(request)
        except BudgetSpent as spent:
            await asyncio.sleep((spent.retry_after or timedelta(0)).total_seconds())


class TestEightWorkers:
    async def test_the_limit_is_kept_and_used(self, redis: RedisServer) -> None:
        store = LimitedStore()
        async with eight_workers(redis.url, store):
            await store.hears_more()
            await asyncio.sleep(STEADY_SECONDS)
        seconds = store.arrived[-1] - store.arrived[0]
        assert over_limit(store.arrived, LIMIT) == 0
        assert len(store.arrived) >= 0.9 * LIMIT.per_second * seconds

    async def test_twenty_kills_and_flushes_change_nothing_in_that(self, redis: RedisServer) -> None:
        store = LimitedStore()
        async with eight_workers(redis.url, store):
            for turn in range(20):
                await store.hears_more()
                if turn % 2:
                    await redis.ask("FLUSHALL")
                else:
                    await redis.kill()
                    await redis.start()
            await store.hears_more()
        assert over_limit(store.arrived, LIMIT) == 0


async def never() -> bool:
    raise AssertionError("Redis is there, so nobody has to ask")


async def always() -> bool:
    return True


@pytest.fixture
async def client(redis: RedisServer) -> AsyncIterator[Redis]:
    """Return a client of a server that is old enough to be believed."""
    async with Redis.from_url(redis.url) as opened:
        await come_of_age(opened)
        yield opened


async def come_of_age(client: Redis) -> None:
    """Wait until what the server holds now is certainly younger than the server."""
    await client.connection_pool.disconnect()  # what a server before it left behind
    age = (await client.info("server"))["uptime_in_seconds"]
    await asyncio.sleep(max(3 - age, 0))


@pytest.fixture
async def keeper(redis: RedisServer) -> AsyncIterator[RedisKeeper]:
    opened = RedisKeeper(redis.url)
    yield opened
    await opened.aclose()


class TestForgetting:
    async def test_a_flush_leaves_an_empty_bucket(self, keeper: RedisKeeper, client: Redis) -> None:
        await keeper.answer("k", Ask(SLOW, 0, back=10), never)
        await client.flushall()
        assert (await keeper.answer("k", Ask(SLOW), never)).left == pytest.approx(0, abs=0.1)

    async def test_without_one_it_is_still_there(self, keeper: RedisKeeper, client: Redis) -> None:
        await keeper.answer("k", Ask(SLOW, 0, back=10), never)
        assert (await keeper.answer("k", Ask(SLOW), never)).left == pytest.approx(9, abs=0.1)

    async def test_an_old_file_read_back_leaves_an_empty_bucket(
        self, redis: RedisServer, keeper: RedisKeeper, client: Redis
    ) -> None:
        await keeper.answer("k", Ask(SLOW, 0, back=10), never)
        old, mark = await client.hmget(BUCKET, FIELDS), await client.get(MARK)
        await keeper.answer("k", Ask(SLOW, 10), never)
        await redis.kill()
        await redis.start()
        await come_of_age(client)
        await client.hset(BUCKET, mapping={name: value or b"" for name, value in zip(FIELDS, old, strict=True)})
        await client.set(MARK, mark or b"")
        assert (await keeper.answer("k", Ask(SLOW), never)).left == pytest.approx(0, abs=0.1)

    async def test_a_bucket_that_went_because_it_was_full_is_full(self, keeper: RedisKeeper, client: Redis) -> None:
        await client.set(MARK, "1")
        assert (await keeper.answer("k", Ask(Rate(10, 100), 0), never)).left == 10

    async def test_what_is_kept_goes_by_itself(self, keeper: RedisKeeper, client: Redis) -> None:
        await keeper.answer("k", Ask(Rate(10, 2)), never)
        assert 0 < await client.pttl(BUCKET) <= 70_000

    async def test_a_hold_is_kept_to_its_end(self, keeper: RedisKeeper, client: Redis) -> None:
        await keeper.answer("k", Ask(Rate(10, 2), 0, hold=3600), never)
        assert await client.pttl(BUCKET) > 3_600_000


class TestTheScript:
    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.lists(ASKS, max_size=8))
    @pytest.mark.usefixtures("client")
    async def test_it_decides_as_the_bucket_does(self, keeper: RedisKeeper, steps: list[Ask]) -> None:
        """With next to no flow, so that the time between two looks decides nothing."""
        key, bucket = new_id(), Bucket(0.0, 0.0)
        for step in steps:
            here, there = bucket.answer(step, 0.0), await keeper.answer(key, step, never)
            assert there.left == pytest.approx(here.left, abs=1e-3)
            assert there.wait == pytest.approx(here.wait, rel=1e-3, abs=60)

    async def test_a_request_costs_one_round_trip(self, keeper: RedisKeeper, client: Redis) -> None:
        await keeper.answer("k", Ask(SLOW), never)  # the first one also hands over the script
        await client.config_resetstat()
        for _ in range(5):
            await keeper.answer("k", Ask(SLOW), never)
        stats = await client.info("commandstats")
        assert {name: stats[name]["calls"] for name in stats if "eval" in name} == {"cmdstat_evalsha": 5}

    async def test_no_name_of_a_store_or_company_is_kept(self, keeper: RedisKeeper, client: Redis) -> None:
        clock = SetTime()
        with pytest.raises(BudgetSpent):
            await Budgets(keeper, CountingStore(clock), clock.times, alone).open(limited(SLOW)).send(REQUEST)
        kept = {key.decode() async for key in client.scan_iter("*")}
        assert kept == {MARK, PREFIX + store_key(limited(SLOW))}


class TestRedisAway:
    async def test_a_store_of_one_integration_is_polled_on_within_its_limit(
        self, redis: RedisServer, keeper: RedisKeeper
    ) -> None:
        clock = SetTime()
        store = CountingStore(clock)
        paced = Budgets(keeper, store, clock.times, alone).open(limited(SLOW))
        await redis.kill()
        for _ in range(9):  # of ten at once, less the margin
            await paced.send(REQUEST)
        with pytest.raises(BudgetSpent):
            await paced.send(REQUEST)

    async def test_a_store_of_several_integrations_waits(self, redis: RedisServer, keeper: RedisKeeper) -> None:
        clock = SetTime()
        store = CountingStore(clock)
        paced = Budgets(keeper, store, clock.times, among_eight).open(limited(SLOW))
        await redis.kill()
        with pytest.raises(BudgetSpent):
            await clock.run(paced.send(REQUEST))
        assert store.came_at == []

    async def test_what_was_spent_meanwhile_counts_when_it_is_back(
        self, redis: RedisServer, keeper: RedisKeeper, client: Redis
    ) -> None:
        clock = SetTime()
        store = CountingStore(clock)
        paced = Budgets(keeper, store, clock.times, alone).open(limited(SLOW))
        await redis.kill()
        for _ in range(9):
            await paced.send(REQUEST)
        await redis.start()
        await come_of_age(client)
        key = store_key(limited(SLOW))
        other = RedisKeeper(redis.url)
        assert (await other.answer(key, Ask(SLOW, 0, back=9), never)).left > 8
        await other.aclose()
        await asyncio.sleep(PROBE_EVERY)
        with pytest.raises(BudgetSpent):
            await paced.send(REQUEST)

    async def test_it_is_told_once_and_again_when_it_is_back(
        self, redis: RedisServer, lines: list[structlog.typing.EventDict]
    ) -> None:
        clock = SetTime()
        keeper = RedisKeeper(redis.url, clock.ticks)
        await redis.kill()
        for _ in range(3):
            clock.seconds += 2
            await keeper.answer("k", Ask(SLOW), always)
        await redis.start()
        clock.seconds += 2
        await keeper.answer("k", Ask(SLOW), always)
        await keeper.aclose()
        assert [line["event"] for line in lines] == ["budgets.redis_away", "budgets.redis_back"]

    async def test_the_status_says_so(self, redis: RedisServer, keeper: RedisKeeper) -> None:
        said = [await keeper.describe()]
        await redis.kill()
        said.append(await keeper.describe())
        await redis.start()
        said.append(await keeper.describe())
        assert [words.split()[0] for words in said] == ["shared", "Redis", "shared"]
