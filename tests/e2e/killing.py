"""One worker is killed at a named moment, another one finishes the work."""

from __future__ import annotations

import asyncio
import random
import signal

from simulator.faults import Fault
from tests.e2e.processes import LIMIT, Victim, Victims
from tests.e2e.scene import Account, Scene, until

BYTES_SENT = "bytes_sent"
BUSY = 1.5  # seconds that two workers are at least busy with the carts of `scene.set_up(world, 60)`
# The moment, and how often it comes at least while the carts of `scene.set_up(world, 10)` are worked off. That the
# bytes are sent only the receiver can tell; the others are told by the engine.
MOMENTS = {
    "page_fetched": 8,
    "before_commit": 8,
    "after_commit": 8,
    "delivery_claimed": 3,
    BYTES_SENT: 10,
    "answer_read": 10,
}


async def kill_at(scene: Scene, victims: Victims, moment: str, nth: int) -> Account:
    """Kill one worker when the moment comes for the nth time, let another finish, and take account."""
    victim = await start_until(scene, victims, moment, nth)
    await victim.kill()
    scene.partner.faults.clear()
    await scene.note_kill()
    survivor = await victims.start(scene.orders())
    return await _let_finish(scene, survivor)


async def kill_one_of_two(scene: Scene, victims: Victims, luck: random.Random) -> Account:
    """Kill one of two workers at any time at all; the other one goes on. On SQLite the second one only stands by."""
    workers = [await victims.start(scene.orders()) for _ in range(2)]
    doomed = workers.pop(0 if scene.world.settings.is_sqlite else luck.randrange(2))
    await asyncio.sleep(luck.uniform(0, BUSY))
    await doomed.kill()
    await scene.note_kill()
    return await _let_finish(scene, workers[0])


async def _let_finish(scene: Scene, survivor: Victim) -> Account:
    try:
        await scene.finished()
    except TimeoutError as error:
        scene.account.faults.append(str(error))
    code = await survivor.end()
    account = await scene.close_account()
    if code != 0:
        account.faults.append(f"the survivor ended with {code}")
    return account


async def start_until(scene: Scene, victims: Victims, moment: str, nth: int) -> Victim:
    """Start a worker and return it stopped at the nth coming of the moment."""
    if moment != BYTES_SENT:
        victim = await victims.start(scene.orders(moment, nth))
        await victim.hears("reached")
        await victim.stopped()
        return victim
    held = hold_answer(scene, nth)
    victim = await victims.start(scene.orders())
    await until(lambda: held.times == 0)
    victim.send(signal.SIGSTOP)
    await victim.stopped()
    return victim


def hold_answer(scene: Scene, nth: int) -> Fault:
    """Let the partner never end its answer to the nth message; `times` becomes 0 when that has come.

    If nth is even it has acted on the message before, if odd it never will.
    """
    kind = "hang" if nth % 2 else "accepted_then_drip"
    return scene.partner.inject(kind, after=nth - 1, match="/hook/", seconds=LIMIT)
