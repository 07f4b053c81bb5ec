"""Chains on real databases: written by many at once, signed once a day, and whatever is changed afterwards shows."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
import structlog
from sqlalchemy import delete, text, update

from backend.domain.acting import acting_as
from backend.domain.audit import INSTALLATION, Break, Link
from backend.errors import Unavailable
from backend.logs import redact
from backend.models import audit_log
from backend.services.audit import note
from backend.services.audit_trail import AuditTrail
from backend.services.keyring import Keyring
from backend.store.audit import AuditStore
from tests.databases import PostgresServer
from tests.factories import make_company
from tests.services.line import SetClock
from tests.worlds import World, opened_world


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def trail(world: World, clock: SetClock) -> AuditTrail:
    return AuditTrail(world.database, clock, world.keyring)


async def record(world: World, company: str, clock: SetClock, count: int = 1) -> None:
    for number in range(count):
        async with world.database.work() as tx:
            await note(tx, company, clock.now(), "thing.done", f"thing{number}", fields=["name"])


async def tamper(world: World, statement: Any) -> None:
    """Change stored records as only the database's owner can."""
    async with world.database.engine.begin() as connection:
        if not world.database.is_sqlite:
            await connection.execute(text("ALTER TABLE audit_log NO FORCE ROW LEVEL SECURITY"))
        await connection.execute(statement)


async def test_a_chain_that_nobody_touched_holds(world: World, trail: AuditTrail, clock: SetClock) -> None:
    company = await make_company(world)
    await record(world, company, clock, 5)
    await trail.sign_due()
    found = await trail.verify(company)
    assert (found.records, found.signed, found.broken) == (5, 5, None)


async def test_many_that_write_at_once_make_one_chain(world: World, trail: AuditTrail, clock: SetClock) -> None:
    company = await make_company(world)
    await asyncio.gather(*(record(world, company, clock, 5) for _ in range(8)))
    found = await trail.verify(company)
    assert (found.records, found.broken) == (40, None)


async def fail_after_a_record(world: World, company: str, clock: SetClock) -> None:
    async with world.database.transaction(company) as tx:
        await note(tx, company, clock.now(), "thing.done", "lost")
        raise RuntimeError


async def test_what_is_rolled_back_leaves_no_record_and_no_gap(
    world: World, trail: AuditTrail, clock: SetClock
) -> None:
    company = await make_company(world)
    await record(world, company, clock)
    with pytest.raises(RuntimeError):
        await fail_after_a_record(world, company, clock)
    await record(world, company, clock)
    assert (await trail.verify(company)).records == 2


CHANGES = {
    "edited": (update(audit_log).where(audit_log.c.seq == 3).values(actor="key:other"), 3),
    "deleted": (delete(audit_log).where(audit_log.c.seq == 3), 3),
    "moved": (update(audit_log).where(audit_log.c.seq == 3).values(seq=30), 3),
    "cut off": (delete(audit_log).where(audit_log.c.seq > 2), 3),
    "given another time": (update(audit_log).where(audit_log.c.seq == 1).values(at=SetClock().now() + timedelta(1)), 1),
    "moved before the first": (update(audit_log).where(audit_log.c.seq == 4).values(seq=0), 1),
    "of another kind": (text("UPDATE audit_log SET details = '3' WHERE seq = 4"), 4),
    "of a time that cannot be": (text("UPDATE audit_log SET at = '20000-01-01' WHERE seq = 4"), 4),
}
ODD = ["hash = 'text'", "before = 3", "actor = x'ff'", "subject = CAST(x'ff' AS TEXT)", "seq = 'first'"]


@pytest.mark.parametrize(("statement", "seq"), CHANGES.values(), ids=CHANGES)
async def test_a_record_that_was_changed_is_named(
    world: World, trail: AuditTrail, clock: SetClock, statement: Any, seq: int
) -> None:
    company = await make_company(world)
    await record(world, company, clock, 5)
    await trail.sign_due()
    await tamper(world, statement)
    broken = (await trail.verify(company)).broken
    assert broken is not None
    assert (broken.company_id, broken.seq) == (company, seq)


@pytest.mark.parametrize("assignment", ODD)
async def test_a_value_that_only_sqlite_takes_is_named_too(sqlite_url: str, clock: SetClock, assignment: str) -> None:
    async with opened_world(sqlite_url) as world:
        company, trail = await make_company(world), AuditTrail(world.database, clock, world.keyring)
        await record(world, company, clock, 5)
        await tamper(world, text(f"UPDATE audit_log SET {assignment} WHERE seq = 4"))
        broken = (await trail.verify(company)).broken
        assert broken is not None
        assert broken.seq == 4


async def test_a_signed_head_that_cannot_be_read_is_told(sqlite_url: str, clock: SetClock) -> None:
    async with opened_world(sqlite_url) as world:
        company, trail = await make_company(world), AuditTrail(world.database, clock, world.keyring)
        await record(world, company, clock)
        await trail.sign_due()
        await tamper(world, text("UPDATE audit_heads SET signature = 'text'"))
        assert (await trail.verify(company)).broken == Break(company, 1, "a signed head cannot be read")


async def read_while_the_session_ends(world: World, server: PostgresServer, company: str) -> list[Link]:
    async with world.database.reading(company) as tx:
        pid = (await tx.execute(text("SELECT pg_backend_pid()"))).scalar_one()
        server.execute(f"SELECT pg_terminate_backend({pid})")
        return [link async for link in AuditStore(tx, company).links()]


async def test_a_database_that_goes_away_is_not_a_broken_chain(
    postgresql_url: str, postgres_server: PostgresServer, clock: SetClock
) -> None:
    async with opened_world(postgresql_url) as world:
        company = await make_company(world)
        await record(world, company, clock, 2)
        with pytest.raises(Unavailable):
            await read_while_the_session_ends(world, postgres_server, company)


async def test_a_chain_that_grew_is_signed_once_a_day(world: World, trail: AuditTrail, clock: SetClock) -> None:
    company = await make_company(world)
    signed = []
    for hours, grows in ((0, 1), (1, 1), (24, 0), (24, 0)):
        clock.move(hours=hours)
        await record(world, company, clock, grows)
        signed.append(len(await trail.sign_due()))
    assert signed == [1, 0, 1, 0]


async def test_a_signed_head_is_logged_so_that_it_can_be_kept_elsewhere(
    world: World, trail: AuditTrail, clock: SetClock
) -> None:
    await record(world, INSTALLATION, clock)
    with structlog.testing.capture_logs() as lines:
        (head,) = await trail.sign_due()
    (line,) = [line for line in lines if line["event"] == "audit.head_signed"]
    assert (line["company_id"], line["seq"], line["hash"]) == (INSTALLATION, 1, head.hash.hex())
    assert redact(None, "info", dict(line)) == line  # nothing of it is masked in the log


async def test_a_chain_that_is_gone_whole_is_missed(world: World, trail: AuditTrail, clock: SetClock) -> None:
    await record(world, INSTALLATION, clock)
    await trail.sign_due()
    await tamper(world, text("DELETE FROM audit_log"))
    assert await trail.chains() == [INSTALLATION]
    assert (await trail.verify(INSTALLATION)).broken is not None


async def test_heads_kept_elsewhere_show_a_chain_that_was_cut_here_with_its_heads(
    world: World, trail: AuditTrail, clock: SetClock
) -> None:
    company = await make_company(world)
    await record(world, company, clock, 5)
    kept = await trail.sign_due()
    await tamper(world, delete(audit_log).where(audit_log.c.seq > 2))
    await tamper(world, text("DELETE FROM audit_heads") if world.database.is_sqlite else text("TRUNCATE audit_heads"))
    assert (await trail.verify(company)).broken is None
    assert (await trail.verify(company, kept)).broken == Break(
        company, 3, "it is missing: the chain was signed up to number 5"
    )


async def test_another_process_verifies_with_the_same_master_key(
    world: World, trail: AuditTrail, clock: SetClock
) -> None:
    company = await make_company(world)
    await record(world, company, clock)
    await trail.sign_due()
    other = AuditTrail(world.database, clock, Keyring(world.keyring._master))  # noqa: SLF001
    assert (await other.verify(company)).broken is None


async def test_a_record_names_who_acted(world: World, trail: AuditTrail, clock: SetClock) -> None:
    company = await make_company(world)
    with acting_as("person:p1"):
        await record(world, company, clock)
    await record(world, company, clock)
    assert [each.actor for each in (await trail.records(company)).items] == ["service", "person:p1"]
