"""Celery rings the lanes: workers per lane, beat, Flower; and what becomes of carts when messages or Redis are lost."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

import httpx
import pytest

from backend.models import carts, deliveries, workers
from tests.e2e.killing import hold_answer
from tests.e2e.scene import THRESHOLD, Account, Scene, until
from tests.fleet.commands import NEVER, Fleet
from tests.fleet.redis_server import RedisServer, free_port

pytestmark = pytest.mark.redis

LANES = ("polls", "sweep", "deliveries")
OFTEN = "1"  # seconds between two safety ticks


async def has_pending(scene: Scene) -> bool:
    """Whether a delivery waits."""
    return bool(await scene.rows(deliveries, deliveries.c.state == "pending"))


async def has_none_pending(scene: Scene) -> bool:
    """Whether no delivery waits."""
    return not await has_pending(scene)


def leave_more(scene: Scene, count: int, first: int = 0) -> None:
    """Leave more carts in a store, late enough for the next poll to see them; numbered from `first` on."""
    left = datetime.now().astimezone() - timedelta(minutes=THRESHOLD + 1)
    for number in range(first, first + count):
        scene.abandon("s0", f"s0-late{number}", left)


async def has_read_them(scene: Scene, count: int) -> bool:
    """Whether all that were left later are stored."""
    return [row.source_cart_id[:7] for row in await scene.rows(carts)].count("s0-late") == count


async def faultless(scene: Scene) -> bool:
    """Wait until every cart has arrived; return whether none was lost, doubled or otherwise wronged."""
    await scene.finished()
    account: Account = await scene.close_account()
    assert (account.lost, account.doubled, account.faults) == ([], [], [])
    return True


@pytest.mark.parametrize("app", ["backend.celery_app", "app.celery"])
async def test_worker_and_beat_as_printed_hand_every_cart_off_once(scene: Scene, fleet: Fleet, app: str) -> None:
    worker = await fleet.worker(app=app, SAFETY_TICK_SECONDS=NEVER)
    beat = await fleet.beat(app)
    assert await faultless(scene)
    assert (await worker.end(), await beat.end()) == (0, 0)


async def test_a_worker_per_lane_hands_every_cart_off_once(scene: Scene, fleet: Fleet) -> None:
    await fleet.beat()
    await asyncio.gather(*(fleet.worker("-Q", lane, SAFETY_TICK_SECONDS=NEVER) for lane in LANES))
    assert await faultless(scene)


async def test_a_worker_of_one_queue_signs_in_for_that_lane_only(scene: Scene, fleet: Fleet) -> None:
    worker = await fleet.worker("-Q", "deliveries")
    (row,) = await scene.rows(workers)
    assert (row.role, row.lanes, row.bell, row.runs_loops) == ("celery", "deliveries", "celery", True)
    assert (await worker.end(), await scene.rows(workers)) == (0, [])


async def test_a_worker_of_one_queue_delivers_what_others_have_polled(scene: Scene, fleet: Fleet) -> None:
    polls = await fleet.plain_worker("--lanes", "polls,sweep")
    await until(lambda: has_pending(scene))
    assert (await polls.end(), scene.arrived()) == (0, [])
    await fleet.worker("-Q", "deliveries", SAFETY_TICK_SECONDS=NEVER)
    await fleet.beat()
    asked = len(scene.store.requests)
    await until(lambda: has_none_pending(scene))
    assert (len(scene.arrived()) > 0, len(scene.store.requests)) == (True, asked)


async def test_with_every_message_lost_the_safety_tick_hands_every_cart_off(scene: Scene, fleet: Fleet) -> None:
    await fleet.worker(SAFETY_TICK_SECONDS=OFTEN)  # and no beat
    assert await faultless(scene)


async def test_with_redis_killed_and_flushed_the_safety_tick_hands_every_cart_off(
    scene: Scene, redis: RedisServer, fleet: Fleet
) -> None:
    worker = await fleet.worker(SAFETY_TICK_SECONDS=OFTEN)
    beat = await fleet.beat()
    await until(lambda: len(scene.arrived()) > 0)
    await redis.kill()
    leave_more(scene, 20)
    assert await faultless(scene)
    assert (worker.process.returncode, beat.process.returncode) == (None, None)


async def test_a_worker_starts_works_and_ends_in_order_without_any_broker(
    scene: Scene, redis: RedisServer, fleet: Fleet
) -> None:
    await redis.kill()
    worker = await fleet.worker(SAFETY_TICK_SECONDS=OFTEN)
    assert await faultless(scene)
    assert await worker.end() == 0


async def test_a_worker_told_to_end_cuts_off_what_outlasts_the_drain_limit(scene: Scene, fleet: Fleet) -> None:
    held = hold_answer(scene, 1)
    worker = await fleet.worker(DRAIN_SECONDS="0.5", DELIVERY_DEADLINE_SECONDS="60")
    await until(lambda: held.times == 0)
    assert (await worker.end(), await scene.rows(workers)) == (0, [])
    assert await has_pending(scene)


async def test_messages_are_heard_again_when_redis_comes_back_empty(
    scene: Scene, redis: RedisServer, fleet: Fleet
) -> None:
    await fleet.worker(SAFETY_TICK_SECONDS=NEVER)
    await fleet.beat()
    await until(scene.has_all)
    await redis.kill()
    leave_more(scene, 20)
    assert await redis.start()
    assert await faultless(scene)


async def test_however_often_redis_goes_away_worker_and_beat_live_on_and_are_heard(
    scene: Scene, redis: RedisServer, fleet: Fleet
) -> None:
    programs = [await fleet.worker(SAFETY_TICK_SECONDS=NEVER), await fleet.beat()]
    await until(scene.has_all)
    for number in range(5):
        await redis.kill()
        leave_more(scene, 5, first=5 * number)
        await asyncio.sleep(1 + number / 2)  # the broker is missed, tried again and missed again
        assert await redis.start()
        await until(scene.has_all)
    assert await faultless(scene)
    assert [await program.end() for program in programs] == [0, 0]


async def test_messages_to_a_lane_that_nobody_works_on_do_not_pile_up(redis: RedisServer, fleet: Fleet) -> None:
    await fleet.beat()

    async def all_rung() -> bool:
        return [await redis.ask("LLEN", lane) for lane in LANES] == [":1"] * 3

    await until(all_rung)
    await asyncio.sleep(3)  # three times the time between two messages
    assert await all_rung()


async def test_killing_one_of_two_workers_loses_and_doubles_nothing(scene: Scene, fleet: Fleet) -> None:
    await fleet.beat()
    doomed, _ = await asyncio.gather(fleet.worker(), fleet.worker())
    await until(lambda: len(scene.arrived()) > 0)
    leave_more(scene, 40)
    await until(lambda: len(scene.arrived()) > 30)
    # They are dated before the last poll, so a kill before they are read would look like a cursor that is ahead.
    await until(lambda: has_read_them(scene, 40))
    await doomed.kill()
    await scene.note_kill()
    assert await faultless(scene)


async def test_several_workers_of_one_machine_are_told_apart_in_flower(fleet: Fleet) -> None:
    port = free_port()
    await fleet.start("celery", "-A", "backend.celery_app", "flower", f"--port={port}", "--address=127.0.0.1")
    started = await asyncio.gather(fleet.worker("-Q", "polls"), fleet.worker("-Q", "sweep"))
    shown: set[str] = set()

    async def both_are_shown() -> bool:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
            try:
                found = (await client.get("/workers", params={"json": 1})).json()["data"]
            except httpx.TransportError:
                return False
        shown.update(worker["hostname"].partition("@")[0] for worker in found)
        return len(shown) == len(started)

    await until(both_are_shown)
    assert shown == {f"worker-{command.process.pid}" for command in started}
