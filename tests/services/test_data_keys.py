"""Another version of a data key: everything is sealed anew while the service runs, and nothing is lost on the way."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from datetime import timedelta
from typing import Any

import pyotp
import pytest
from sqlalchemy import insert, update

from backend.config import ROOT
from backend.errors import Unavailable
from backend.models import cart_events, data_keys, destinations, integrations, people, quarantine, subject_keys
from backend.services import data_keys as module
from backend.services.audit import INSTALLATION, note
from backend.services.audit_trail import AuditTrail
from backend.services.data_keys import DataKeyRotation
from backend.services.integrations import IntegrationService
from backend.services.keyring import Keyring
from backend.services.second_factor import SecondFactor
from backend.store.people import PeopleStore, PersonRow
from backend.store.sealed import SEALED, SealedStore, sealed_for
from tests.factories import make_agent, make_company, make_integration
from tests.services.line import Line

NOW = timedelta(0)  # makes another version in any case


@pytest.fixture(autouse=True)
def _small_commits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AT_ONCE", 2)


@pytest.fixture
async def full(line: Line) -> Line:
    """Return a company that has something in every sealed column, as the service itself put it there.

    Its partner took nothing yet: a record of a hand-off names people, and would keep the first version.
    """
    for number in range(3):
        line.add(f"c{number}", 45, customer={"email": f"ada{number}@example.com"})
    line.add("bad", 45, total="ten")
    line.partner.inject("status", status=500, times=99)
    await line.run()
    line.partner.faults.clear()
    return line


def rotation(line: Line, *rest: Any) -> DataKeyRotation:
    """Return the rotation as another process carries it out."""
    return DataKeyRotation(line.world.database, line.clock, line.world.keyring, *rest)


async def versions(line: Line) -> dict[str, set[int]]:
    """Return which versions each sealed column names."""
    found = {}
    for each in sealed_for(line.company):
        rows = await line.rows(each.table, each.table.c[each.value].is_not(None))
        found[each.table.name] = {getattr(row, each.version) for row in rows}
    return found


async def opened(line: Line, keyring: Keyring) -> list[Any]:
    """Return everything that is sealed, opened at its place as the service opens it."""
    found: list[Any] = []
    async with line.world.database.transaction(line.company) as tx:
        for row in await line.rows(integrations):
            place = (line.company, "integrations", "credentials_sealed", row.id)
            found.append(await keyring.open_json(tx, place, row.credentials_sealed, row.credentials_version))
        for row in await line.rows(destinations):
            place = (line.company, "destinations", "secrets_sealed", row.id)
            found.append(await keyring.open_json(tx, place, row.secrets_sealed, row.secrets_version))
        for row in await line.rows(quarantine):
            place = (line.company, "quarantine", "record_sealed", row.id)
            found.append(await keyring.open_json(tx, place, row.record_sealed, row.record_version))
        carts = sorted({row.cart_id for row in await line.rows(cart_events) if row.personal_sealed})
        keys = (await keyring.subjects(tx, line.company, carts, {}, line.clock.now()))._keys  # noqa: SLF001
        found.extend(keys[cart] for cart in carts)
    return found


def another_process(line: Line) -> Keyring:
    return Keyring(line.world.keyring._master)  # noqa: SLF001  the same master key


def all_at(version: int) -> dict[str, set[int]]:
    return {each.table.name: {version} for each in sealed_for("any company")}


async def test_everything_is_sealed_anew_and_opens_as_before(full: Line) -> None:
    before = await opened(full, another_process(full))
    assert await versions(full) == all_at(1)
    done = await rotation(full).rotate(full.company, NOW)
    assert (done.version, done.is_new, done.broken) == (2, True, set())
    assert await versions(full) == all_at(2)
    assert await opened(full, another_process(full)) == before


async def test_the_sealed_bytes_are_other_ones(full: Line) -> None:
    before = {row.wrapped for row in await full.rows(subject_keys)}
    await rotation(full).rotate(full.company, NOW)
    assert before & {row.wrapped for row in await full.rows(subject_keys)} == set()


async def test_a_process_that_runs_meanwhile_goes_on_and_seals_with_the_new_version(full: Line) -> None:
    await rotation(full).rotate(full.company, NOW)
    full.clock.move(hours=2)
    full.add("c9", 45, customer={"email": "eve@example.com"})
    await full.run()
    assert "c9" in full.effects()
    assert await versions(full) == all_at(2)


async def test_another_company_s_values_are_left_alone(full: Line) -> None:
    other = await make_company(full.world, "Other")
    await make_integration(full.world, other, await make_agent(full.world, other))
    await rotation(full).rotate(full.company, NOW)
    assert {row.company_id: row.credentials_version for row in await full.rows(integrations)} == {
        full.company: 2,
        other: 1,
    }


async def test_the_run_after_the_one_that_emptied_a_version_removes_it(full: Line) -> None:
    first = await rotation(full).rotate(full.company, NOW)
    second = await rotation(full).rotate(full.company)
    assert (first.removed, first.kept, second.removed, second.kept) == ([], {1: 0}, [1], {})
    assert [row.version for row in await full.rows(data_keys)] == [2]
    assert await opened(full, another_process(full))


async def test_a_version_that_signed_heads_is_kept_and_its_heads_hold(full: Line) -> None:
    trail = AuditTrail(full.world.database, full.clock, another_process(full))
    async with full.world.database.transaction(full.company) as tx:
        await note(tx, full.company, full.clock.now(), "thing.done", "thing")
    await trail.sign_due()
    await rotation(full).rotate(full.company, NOW)
    done = await rotation(full).rotate(full.company)
    assert (done.removed, done.kept) == ([], {1: 1})
    assert (
        await AuditTrail(full.world.database, full.clock, another_process(full)).verify(full.company)
    ).broken is None


async def test_a_version_under_which_people_are_named_in_records_is_kept(full: Line) -> None:
    async with full.world.database.transaction(full.company) as tx:
        await note(tx, full.company, full.clock.now(), "delivery.handed_off", "d1", key_version=1, people=["ab"])
    await rotation(full).rotate(full.company, NOW)
    assert (await rotation(full).rotate(full.company)).kept == {1: 1}


async def test_a_young_version_is_not_followed_by_another(full: Line) -> None:
    await rotation(full).rotate(full.company, NOW)
    young = await rotation(full).rotate(full.company)
    full.clock.move(hours=25)
    old = await rotation(full).rotate(full.company)
    assert [(each.version, each.is_new) for each in (young, old)] == [(2, False), (3, True)]


async def test_two_runs_at_once_make_one_version_and_finish(full: Line) -> None:
    first, second = await asyncio.gather(*(rotation(full).rotate(full.company, timedelta(hours=1)) for _ in range(2)))
    assert {first.version, second.version} == {1}
    full.clock.move(hours=2)
    both = await asyncio.gather(*(rotation(full).rotate(full.company, timedelta(hours=1)) for _ in range(2)))
    assert ({each.version for each in both}, sum(each.is_new for each in both)) == ({2}, 1)
    assert await versions(full) == all_at(2)


async def test_credentials_changed_while_it_runs_are_the_ones_that_stay(full: Line) -> None:
    world = full.world
    stores = [await make_integration(world, full.company, full.agent) for _ in range(10)]
    service = IntegrationService(world.database, full.clock, world.settings, another_process(full), world.http)

    async def change_all() -> None:
        for number in range(3):
            for store in stores:
                await service.rotate_credentials(full.company, store, {"token": f"{store}-{number}"})

    done, _ = await asyncio.gather(rotation(full).rotate(full.company, NOW), change_all())
    assert done.version == 2
    async with world.database.reading(full.company) as tx:
        for row in await full.rows(integrations, integrations.c.id.in_(stores)):
            place = (full.company, "integrations", "credentials_sealed", row.id)
            found = await another_process(full).open_json(tx, place, row.credentials_sealed, row.credentials_version)
            assert (found, row.credentials_version) == ({"token": f"{row.id}-2"}, 2)


async def test_what_was_being_sealed_with_the_old_version_when_it_began_is_sealed_anew_too(full: Line) -> None:
    (known,) = await full.rows(quarantine)
    place = (full.company, "quarantine", "record_sealed", "late")
    async with full.world.database.transaction(full.company) as tx:
        sealed, version = await another_process(full).seal_json(tx, place, {"record": "late"}, full.clock.now())
        running = asyncio.create_task(rotation(full).rotate(full.company, NOW))
        await asyncio.wait([running], timeout=0.5)  # long enough to finish, if it did not wait for this transaction
        columns = known._mapping  # noqa: SLF001  a row's documented way to its columns by name
        row = {**columns, "id": "late", "record_sealed": sealed, "record_version": version}
        await tx.execute(insert(quarantine).values(row))
    await running
    assert (version, await versions(full)) == (1, all_at(2))


async def test_a_value_that_changed_since_it_was_read_is_not_written_over(full: Line) -> None:
    column = SEALED[0]
    async with full.world.database.transaction(full.company) as tx:
        (row,) = await SealedStore(tx, full.company).older(column, 2, "", 10)
    changed = row.value[:-1] + bytes([row.value[-1] ^ 1])
    async with full.world.database.transaction(full.company) as tx:
        await tx.execute(update(integrations).values(credentials_sealed=changed))
        assert await SealedStore(tx, full.company).replace(row, b"what was read, sealed anew", 2) is False
    assert [each.credentials_sealed for each in await full.rows(integrations)] == [changed]


async def test_a_value_that_no_key_opens_is_told_and_left_and_keeps_its_key(full: Line) -> None:
    async with full.world.database.transaction(full.company) as tx:
        await tx.execute(update(destinations).values(secrets_sealed=b"\x01 broken"))
    done = await rotation(full).rotate(full.company, NOW)
    assert (done.broken, done.kept) == ({f"destinations/{full.destination}"}, {1: 1})
    assert (await rotation(full).rotate(full.company)).removed == []


async def test_a_person_s_second_factor_is_sealed_anew_and_the_installation_s_versions_stay(full: Line) -> None:
    database, now = full.world.database, full.clock.now()
    person = PersonRow(
        id="p1",
        email="ada@example.com",
        name="Ada",
        password_hash="none",
        totp_sealed=None,
        totp_key_version=None,
        has_second_factor=False,
        totp_step=None,
        recovery_hashes=None,
        created_at=now,
        password_changed_at=now,
        disabled_at=None,
    )
    async with database.work() as tx:
        await PeopleStore(tx).add(person)
    factor = SecondFactor(database, full.clock, another_process(full))
    code = pyotp.TOTP((await factor.begin(person)).secret).at(now)
    for _ in range(2):
        await rotation(full).rotate(INSTALLATION, NOW)
    (row,) = await full.rows(people)
    kept = await full.rows(data_keys, data_keys.c.company_id == INSTALLATION)
    assert (row.totp_key_version, sorted(each.version for each in kept)) == (3, [1, 2, 3])
    await SecondFactor(database, full.clock, another_process(full)).confirm("p1", code)
    assert (await full.rows(people))[0].has_second_factor


async def test_a_destroyed_subject_key_stays_destroyed_and_keeps_no_version(full: Line) -> None:
    async with full.world.database.transaction(full.company) as tx:
        await tx.execute(update(subject_keys).values(wrapped=None, destroyed_at=full.clock.now()))
    await rotation(full).rotate(full.company, NOW)
    assert (await rotation(full).rotate(full.company)).removed == [1]
    assert {row.wrapped for row in await full.rows(subject_keys)} == {None}


async def test_one_that_reads_what_a_removed_version_sealed_is_told_to_try_again(full: Line) -> None:
    (row,) = await full.rows(integrations)
    for hours in (NOW, timedelta(hours=1)):
        await rotation(full).rotate(full.company, hours)
    place = (full.company, "integrations", "credentials_sealed", row.id)
    async with full.world.database.reading(full.company) as tx:
        with pytest.raises(Unavailable, match="version 1"):
            await another_process(full).open_json(tx, place, row.credentials_sealed, row.credentials_version)


@pytest.mark.parametrize("nth", [1, 2, 3, 5])
async def test_a_run_that_was_killed_after_any_commit_is_gone_on_with(full: Line, nth: int) -> None:
    before = await opened(full, another_process(full))
    given = [full.world.settings.async_database_url, str(full.world.settings.master_key), full.company, str(nth)]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.services.cut_off_rotation", *given, cwd=ROOT, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"reached\n"
    process.kill()
    await process.wait()
    left = {each for found in (await versions(full)).values() for each in found}
    assert left == {1, 2}
    assert await opened(full, another_process(full)) == before
    done = await rotation(full).rotate(full.company)
    assert (done.version, done.is_new, await versions(full)) == (2, False, all_at(2))
    assert await opened(full, another_process(full)) == before
