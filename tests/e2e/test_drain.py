"""A worker that is told to end: what is in flight ends, or is recorded as cut off and goes again soon."""

from __future__ import annotations

from datetime import timedelta

from backend.domain.backoff import DELIVERY_DELAYS
from backend.models import deliveries, delivery_attempts, destinations
from tests.e2e.killing import hold_answer
from tests.e2e.processes import victims
from tests.e2e.scene import set_up, until
from tests.worlds import World


async def test_an_attempt_cut_off_by_the_drain_limit_is_recorded_as_unknown(world: World) -> None:
    async with set_up(world, 10) as scene, victims() as started:
        held = hold_answer(scene, nth=2)
        worker = await started.start(scene.orders(drain_seconds=0.5))
        await until(lambda: held.times == 0)
        code = await worker.end()
        [attempt] = await scene.rows(delivery_attempts, delivery_attempts.c.outcome == "outcome_unknown")
        [delivery] = await scene.rows(deliveries, deliveries.c.id == attempt.delivery_id)
    soon = attempt.started_at + timedelta(seconds=0.5) + DELIVERY_DELAYS[1]
    assert code == 0
    assert (delivery.state, delivery.attempts, delivery.lease_token) == ("pending", 1, None)
    assert soon <= delivery.next_attempt_at


async def test_what_was_cut_off_does_not_count_against_the_partner(world: World) -> None:
    async with set_up(world, 10) as scene, victims() as started:
        held = hold_answer(scene, nth=1)
        worker = await started.start(scene.orders(drain_seconds=0.5))
        await until(lambda: held.times == 0)
        await worker.end()
        [destination] = await scene.rows(destinations)
    assert (destination.failures, destination.held_until) == (0, None)


async def test_what_was_cut_off_is_sent_again_and_has_one_effect(world: World) -> None:
    async with set_up(world, 10) as scene, victims() as started:
        held = hold_answer(scene, nth=2)
        worker = await started.start(scene.orders(drain_seconds=0.5))
        await until(lambda: held.times == 0)
        await worker.end()
        await scene.note_kill()
        scene.partner.faults.clear()
        await started.start(scene.orders())
        await scene.finished()
        account = await scene.close_account()
    assert (account.lost, account.doubled, account.faults, account.repeated) == ([], [], [], 1)


async def test_an_answer_that_comes_within_the_drain_limit_counts(world: World) -> None:
    async with set_up(world, 10) as scene, victims() as started:
        slow = scene.partner.inject("slow", match="/hook/", seconds=1)
        worker = await started.start(scene.orders())
        await until(lambda: slow.times == 0)
        code = await worker.end()
        attempts = await scene.rows(delivery_attempts)
    assert code == 0
    assert {attempt.outcome for attempt in attempts} == {"delivered"}


async def test_a_worker_told_to_end_begins_nothing_more(world: World) -> None:
    async with set_up(world, 10) as scene, victims() as started:
        slow = scene.partner.inject("slow", match="/hook/", seconds=1)
        worker = await started.start(scene.orders())
        await until(lambda: slow.times == 0)
        await worker.end()
        left = await scene.rows(deliveries, deliveries.c.state == "pending")
    assert left
    assert {(delivery.attempts, delivery.lease_token) for delivery in left} == {(0, None)}
