"""A worker stands still past its lease, another one does all the work, and then the first one goes on."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Set
from contextlib import asynccontextmanager, closing
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import text

from backend.models import abandonment_log, cart_events, carts, deliveries, delivery_attempts, delivery_carts
from backend.services.wiring import build_services
from tests.e2e.killing import BYTES_SENT, start_until
from tests.e2e.processes import Victim, Victims
from tests.e2e.scene import LEASE, Account, Scene, until

TABLES = (carts, cart_events, abandonment_log, deliveries, delivery_carts, delivery_attempts)
# Between "before commit" and the commit no lease can run out unseen: the row, or all of SQLite, is locked until then.
MOMENTS = ("page_fetched", "after_commit", "delivery_claimed", BYTES_SENT, "answer_read")
IN_TRANSACTION = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND state <> 'idle'
"""


async def stall_at(scene: Scene, victims: Victims, moment: str, nth: int) -> Account:
    """Stop one worker at the moment, past its lease, let it go on when the work is done, and take account."""
    stalled = await start_until(scene, victims, moment, nth)
    while not await _is_at_rest(scene):
        await _stop_again(stalled, moment)
    scene.partner.faults.clear()
    await scene.note_kill()
    await asyncio.sleep(LEASE)
    await _finish_beside(scene)
    before = await _rows(scene)
    stalled.send(signal.SIGCONT)
    await _hand_off_one_more(scene)
    code = await stalled.end()
    after = await _rows(scene)
    account = await scene.close_account()
    if {row: after.get(row) for row in before} != before:
        account.faults.append("the late worker changed rows")
    if not await _belongs_to("s0-late", scene, after.keys() - before.keys()):
        account.faults.append("the late worker added rows")
    if code != 0:
        account.faults.append(f"the late worker ended with {code}")
    return account


async def _is_at_rest(scene: Scene) -> bool:
    """Whether the stopped process holds no locks; twice, as what it sent may not have been read yet."""
    for pause in (0.1, 0):
        if await _is_in_a_transaction(scene):
            return False
        await asyncio.sleep(pause)
    return True


async def _is_in_a_transaction(scene: Scene) -> bool:
    """Whether other work of the stopped process holds locks, which nobody could do anything about."""
    if not scene.world.settings.is_sqlite:
        async with scene.world.database.engine.connect() as connection:  # as the login, which sees its own states
            return bool((await connection.execute(text(IN_TRANSACTION))).scalar_one())
    with closing(sqlite3.connect(scene.world.settings.sqlite_path, timeout=0, isolation_level=None)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return True
    return False


async def _stop_again(stalled: Victim, moment: str) -> None:
    """Let the process go on with all but what it was stopped at, and stop it again a moment later."""
    if moment != BYTES_SENT:
        stalled.voice.send("again")
        stalled.send(signal.SIGCONT)
        await stalled.hears("reached")
    else:
        stalled.send(signal.SIGCONT)
        await asyncio.sleep(0.01)
        stalled.send(signal.SIGSTOP)
    await stalled.stopped()


async def _hand_off_one_more(scene: Scene) -> None:
    """Let one more cart come, and wait until the worker that was stopped has dealt with it."""
    scene.abandon("s0", "s0-late", datetime.now().astimezone() - timedelta(minutes=2))
    await scene.finished()


async def _finish_beside(scene: Scene) -> None:
    """Do all the work in this process, as `--once` would beside a running worker."""
    async with _other_worker(scene) as run_once:

        async def is_done() -> bool:
            await run_once()
            return await scene.has_all()

        await until(is_done)


@asynccontextmanager
async def _other_worker(scene: Scene) -> AsyncIterator[Callable[[], Awaitable[Any]]]:
    services = await build_services(scene.world.settings.model_copy(update={"lease_seconds": LEASE}))
    try:
        yield services.poller.run_once
    finally:
        await services.aclose()


async def _belongs_to(cart: str, scene: Scene, keys: Set[tuple[str, str]]) -> bool:
    """Whether each of these rows is about one cart, or about the delivery that it is in."""
    rows = await _rows(scene)
    owner = next(row.id for (table, _), row in rows.items() if table == "carts" and row.source_cart_id == cart)
    places = [row for (table, _), row in rows.items() if table == "delivery_carts" and row.cart_id == owner]
    mine = {owner, *(place.delivery_id for place in places)}
    return all({getattr(rows[key], name, None) for name in ("id", "cart_id", "delivery_id")} & mine for key in keys)


async def _rows(scene: Scene) -> dict[tuple[str, str], Any]:
    """Return every row that the work is about, by table and id."""
    return {(table.name, row.id): row for table in TABLES for row in await scene.rows(table)}
