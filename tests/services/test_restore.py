"""A database that came from a backup sends nothing until somebody releases it; one that merely rested does."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from backend.config import Settings
from backend.db import Database
from backend.errors import BadInput
from backend.models import carts, deliveries, installation_state
from backend.services.restore import DeliveryHold
from backend.store.cycles import CycleStore, InstallationStore
from tests.databases import PostgresServer
from tests.services.line import Line, running_line
from tests.worlds import opened_world

PLACES = ["sqlite", "postgresql"]


def hold_of(line: Line, **settings: Any) -> DeliveryHold:
    """Return the hold as another process on the same database would have it."""
    return DeliveryHold(line.world.settings.model_copy(update=settings), line.base.database, line.clock)


async def reason(line: Line) -> str | None:
    (row,) = await line.rows(installation_state)
    found: str | None = row.hold_reason
    return found


async def leave_a_delivery(line: Line) -> None:
    """Leave one delivery that the partner did not take."""
    line.partner.inject("status", status=503)
    line.add("cart-1", minutes_ago=60)
    await line.run()
    line.partner.faults.clear()
    line.clock.move(minutes=10)
    await hold_of(line).check()  # a worker is there


# -- a start that finds nothing wrong ----------------------------------------------------------------------------------


async def test_the_first_start_holds_nothing(line: Line) -> None:
    await hold_of(line).check()
    assert await reason(line) is None


async def test_a_restart_holds_nothing(line: Line) -> None:
    await leave_a_delivery(line)
    await hold_of(line).check()
    assert await reason(line) is None


async def test_the_first_start_leaves_the_wanted_state_to_the_settings(line: Line) -> None:
    await hold_of(line, polling_interval=45).check()
    assert (await line.engine.poller.rhythm()).interval == 45
    await hold_of(line, polling_interval=60).check()
    assert (await line.engine.poller.rhythm()).interval == 60


async def test_a_start_leaves_a_set_interval_alone(line: Line) -> None:
    await line.engine.poller.start(300)
    await hold_of(line, polling_interval=45).check()
    assert (await line.engine.poller.rhythm()).interval == 300


async def test_starts_at_the_same_moment_hold_nothing(line: Line) -> None:
    await leave_a_delivery(line)
    await asyncio.gather(*(hold_of(line).check() for _ in range(4)))
    assert await reason(line) is None


# -- while held --------------------------------------------------------------------------------------------------------


async def test_held_deliveries_stay_while_polls_go_on(line: Line) -> None:
    await hold_of(line).hold("tests")
    line.add("cart-1", minutes_ago=60)
    report = await line.run()
    assert (report["carts_new"], report["deliveries_made"], line.effects()) == (1, 1, [])


async def test_a_release_lets_them_go_once(line: Line) -> None:
    hold = hold_of(line)
    await hold.hold("tests")
    line.add("cart-1", minutes_ago=60)
    await line.run()
    await hold.release()
    await line.run()
    assert line.effects() == ["cart-1"]


async def test_what_was_bought_while_held_is_never_sent(line: Line) -> None:
    hold = hold_of(line)
    await hold.hold("tests")
    line.add("cart-1", minutes_ago=60)
    await line.run()
    line.add("cart-1", minutes_ago=0, completed_at=line.clock.now().isoformat())
    line.clock.move(minutes=5)
    await line.run()
    await hold.release()
    await line.run()
    assert line.effects() == []


async def test_a_hold_attempts_nothing_and_counts_no_attempt(line: Line) -> None:
    await hold_of(line).hold("tests")
    line.add("cart-1", minutes_ago=60)
    await line.run()
    (delivery,) = await line.rows(deliveries)
    assert (delivery.state, delivery.attempts, delivery.lease_token) == ("pending", 0, None)


async def test_hold_and_release_say_whether_they_changed_anything(line: Line) -> None:
    hold = hold_of(line)
    done = [await hold.hold("one"), await hold.hold("two"), await hold.release(), await hold.release()]
    assert [(each["held"], each["changed"]) for each in done] == [
        (True, True), (True, False), (False, True), (False, False),
    ]  # fmt: skip


async def test_the_older_reason_stays(line: Line) -> None:
    await hold_of(line).hold("one")
    await hold_of(line).hold("two")
    assert await reason(line) == "one"


@pytest.mark.parametrize("words", ["", "  ", "x" * 301, "a\0b"])
async def test_a_hold_needs_a_reason_that_can_be_kept(line: Line, words: str) -> None:
    with pytest.raises(BadInput):
        await hold_of(line).hold(words)


async def test_a_release_holds_over_a_restart(line: Line) -> None:
    await leave_a_delivery(line)
    await hold_of(line).hold("tests")
    await hold_of(line).release()
    await hold_of(line).check()
    assert await reason(line) is None


async def test_a_restart_does_not_release(line: Line) -> None:
    await hold_of(line).hold("tests")
    await hold_of(line).check()
    assert await reason(line) == "tests"


# -- the plan ----------------------------------------------------------------------------------------------------------


async def test_the_plan_counts_what_waits_and_what_the_gate_would_allow(line: Line) -> None:
    await hold_of(line).hold("tests")
    for number in range(3):
        line.add(f"cart-{number}", minutes_ago=60)
    await line.run()
    async with line.base.database.work() as tx:
        await tx.execute(update(carts).where(carts.c.source_cart_id == "cart-0").values(state="converted"))
    line.clock.move(minutes=2)
    plan = await hold_of(line).plan()
    assert (plan["deliveries_waiting"], plan["carts_asked"], plan["carts_allowed"]) == (1, 3, 2)
    assert plan["oldest_waiting_seconds"] == 120


async def test_the_plan_tells_which_stores_were_not_read_since(line: Line) -> None:
    await line.run()
    line.clock.move(minutes=5)
    await hold_of(line).hold("tests")
    before = await hold_of(line).plan()
    line.clock.move(minutes=5)
    await line.run()
    after = await hold_of(line).plan()
    assert (before["stores"], before["stores_read_since"], after["stores_read_since"]) == (1, 0, 1)
    assert "1 of 1 stores were not read" in before["in_words"]
    assert "not read" not in after["in_words"]


async def test_the_status_says_why_deliveries_are_held(line: Line) -> None:
    before = (await line.engine.poller.status())["deliveries_held"]
    await hold_of(line).hold("tests")
    held = (await line.engine.poller.status())["deliveries_held"]
    assert (before, held["reason"]) == (None, "tests")
    assert "POST /deliveries/release" in held["what_to_do"]


# -- SQLite: the file beside it ----------------------------------------------------------------------------------------


@pytest.fixture
async def small(sqlite_url: str) -> AsyncIterator[Line]:
    """Return a line on SQLite with a delivery waiting."""
    async with opened_world(sqlite_url) as world, running_line(world) as line:
        await leave_a_delivery(line)
        yield line


def mark(line: Line) -> Path:
    path = line.world.settings.sqlite_path
    return path.with_name(path.name + ".alive")


def back_up(line: Line) -> Path:
    """Back up as docs/restore.md says."""
    path = line.world.settings.sqlite_path
    copy = path.with_name("backup.db")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("VACUUM INTO ?", (str(copy),))
    return copy


async def put_back(line: Line, copy: Path) -> None:
    """Stop, restore as docs/restore.md says, and begin again."""
    path = line.world.settings.sqlite_path
    await line.base.database.close()
    await line.world.database.close()
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    shutil.copyfile(copy, path)
    await line.base.leases.aclose()
    await line.base.http.aclose()
    line.restart()


async def test_a_restored_backup_sends_nothing_until_it_is_released(small: Line) -> None:
    copy = back_up(small)
    small.clock.move(seconds=1)
    await hold_of(small).check()
    await small.run()
    assert small.effects() == ["cart-1"]
    await put_back(small, copy)
    sent = len(small.partner.hook("p").messages)
    await hold_of(small).check()
    await small.run()
    assert "put back" in str(await reason(small))
    assert len(small.partner.hook("p").messages) == sent
    await hold_of(small).release()
    await small.run()
    assert small.effects() == ["cart-1"]


async def test_a_backup_of_a_running_service_is_known_by_its_last_sign_of_life(small: Line) -> None:
    copy = back_up(small)
    small.clock.move(seconds=4)
    async with small.base.database.work() as tx:
        await InstallationStore(tx).sign_in(worker(small))
    await hold_of(small).watch()
    await put_back(small, copy)
    await hold_of(small).check()
    assert "put back" in str(await reason(small))


def worker(line: Line) -> dict[str, Any]:
    now = line.clock.now()
    return {
        "id": "w", "host": "h", "pid": 1, "role": "worker", "runs_loops": True, "started_at": now, "seen_at": now,
    }  # fmt: skip


async def test_a_computer_that_slept_for_days_holds_nothing(small: Line) -> None:
    small.clock.move(days=3)
    await hold_of(small).check()
    assert await reason(small) is None


async def test_a_database_that_was_carried_elsewhere_is_held(small: Line) -> None:
    mark(small).unlink()
    await hold_of(small).check()
    assert "from elsewhere" in str(await reason(small))


async def test_another_database_in_its_place_is_held(small: Line) -> None:
    mark(small).write_text('{"id": "another", "alive_at": "2020-01-01T00:00:00+00:00"}')
    await hold_of(small).check()
    assert "not the one" in str(await reason(small))


@pytest.mark.parametrize("content", ["{", "[]", '{"id": 1}', '{"id": "a", "alive_at": "yesterday"}'])
async def test_a_file_that_cannot_be_read_is_no_proof(small: Line, content: str) -> None:
    mark(small).write_text(content)
    await hold_of(small).check()
    assert "not the one" in str(await reason(small))


async def test_the_hold_comes_once_for_one_restore(small: Line) -> None:
    mark(small).unlink()
    await hold_of(small).check()
    await hold_of(small).release()
    await hold_of(small).check()
    assert await reason(small) is None


async def test_the_file_is_its_owners_alone(small: Line) -> None:
    assert stat.S_IMODE(mark(small).stat().st_mode) == 0o600


async def test_a_restored_backup_that_was_never_used_holds_nothing(sqlite_url: str) -> None:
    async with opened_world(sqlite_url) as world, running_line(world) as line:
        await hold_of(line).check()
        mark(line).unlink()
        await hold_of(line).check()
        assert await reason(line) is None


async def test_a_restored_backup_is_held_though_nothing_waits_in_it_yet(small: Line) -> None:
    # Carts that were handed off after the backup are found again by the first poll.
    await small.run()
    assert not await small.rows(deliveries, deliveries.c.state == "pending")
    mark(small).unlink()
    await hold_of(small).check()
    assert "from elsewhere" in str(await reason(small))


# -- PostgreSQL: where the database is ---------------------------------------------------------------------------------


@pytest.fixture
async def large(postgresql_url: str) -> AsyncIterator[Line]:
    """Return a line on PostgreSQL with a delivery waiting."""
    async with opened_world(postgresql_url) as world, running_line(world) as line:
        await leave_a_delivery(line)
        yield line


@asynccontextmanager
async def copied(line: Line, server: PostgresServer) -> AsyncIterator[DeliveryHold]:
    """Give the hold of a copy of the line's database."""
    await line.base.database.close()
    await line.world.database.close()
    name = server.create(template=str(line.base.database.engine.url.database))
    settings = line.world.settings.model_copy(update={"database_url": server.url(name)})
    database = Database(Settings(_env_file=None, **settings.model_dump(include={"database_url", "master_key"})))
    try:
        yield DeliveryHold(settings, database, line.clock)
    finally:
        await database.close()
        server.drop(name)


async def test_a_copy_of_a_postgresql_database_is_held(large: Line, postgres_server: PostgresServer) -> None:
    async with copied(large, postgres_server) as hold:
        await hold.check()
        state = await hold.state()
    assert state is not None
    assert "restored or copied" in state["reason"]


async def test_a_table_restored_in_the_same_database_is_held(large: Line, postgres_server: PostgresServer) -> None:
    database = str(large.base.database.engine.url.database)
    postgres_server.execute(
        "BEGIN; CREATE TABLE dumped AS TABLE installation_state; "
        "DROP TABLE installation_state; ALTER TABLE dumped RENAME TO installation_state; "
        "ALTER TABLE installation_state ADD PRIMARY KEY (id); "
        "ALTER TABLE installation_state OWNER TO cart_owner; "
        "GRANT SELECT, INSERT, UPDATE, DELETE ON installation_state TO cart_app, cart_worker; COMMIT",
        database,
    )
    await large.base.database.close()
    await hold_of(large).check()
    assert "restored or copied" in str(await reason(large))


async def test_a_running_process_notices_that_its_database_was_replaced(large: Line) -> None:
    async with large.base.database.work() as tx:
        await tx.execute(update(installation_state).values(place="elsewhere"))
    await hold_of(large).watch()
    assert "restored or copied" in str(await reason(large))


@pytest.mark.parametrize(("minutes", "guard", "is_held"), [(59, 60, False), (61, 60, True), (6000, 0, False)])
async def test_a_database_that_nobody_used_for_long_may_be_a_snapshot(
    large: Line, minutes: int, guard: int, is_held: bool
) -> None:
    large.clock.move(minutes=minutes)
    await hold_of(large, restore_guard_minutes=guard).check()
    assert ("restored snapshot" in str(await reason(large))) is is_held


async def test_a_cycle_of_older_code_is_a_sign_of_life(large: Line) -> None:
    large.clock.move(hours=5)
    async with large.base.database.work() as tx:
        await CycleStore(tx).begin("beat", "beat", 30, large.clock.now() - timedelta(minutes=30))
    await hold_of(large).check()
    assert await reason(large) is None


async def test_a_database_with_nothing_to_send_is_not_held_for_its_age(large: Line) -> None:
    await large.run()
    assert not await large.rows(deliveries, deliveries.c.state == "pending")
    large.clock.move(days=3)
    await hold_of(large).check()
    assert await reason(large) is None


async def test_a_sign_in_is_stamped_every_few_seconds_only(line: Line) -> None:
    await hold_of(line).check()
    stamps: list[datetime] = []
    for _ in range(8):
        line.clock.move(seconds=1)
        async with line.base.database.work() as tx:
            await InstallationStore(tx).sign_in(worker(line))
        (row,) = await line.rows(installation_state)
        stamps.append(row.alive_at)
    assert len(set(stamps)) == 3
