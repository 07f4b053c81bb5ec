"""Another master key takes the place of the old one while both are known, and nothing sealed is touched."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from backend.crypto import key_fingerprint, new_key
from backend.errors import SetupProblem
from backend.models import data_keys
from backend.services import keyring as module
from backend.services.keyring import Keyring, check_master_key
from backend.store.work.keys import WrappedKeys
from tests.factories import make_company
from tests.worlds import World

OLD, NEW = new_key(), new_key()


@pytest.fixture
async def sealed(world: World) -> dict[str, tuple[bytes, int]]:
    """Return what three companies sealed under the old key, by company."""
    world.keyring = Keyring(OLD)
    found = {}
    for name in "abc":
        company = await make_company(world, name)
        async with world.database.transaction(company) as tx:
            found[company] = await world.keyring.seal_json(tx, place(company), {"name": name}, world.clock.now())
    return found


def place(company: str) -> tuple[str, str, str, str]:
    return (company, "integrations", "credentials_sealed", "row")


async def opened(world: World, keyring: Keyring, sealed: dict[str, tuple[bytes, int]]) -> list[Any]:
    found = []
    for company, value in sealed.items():
        async with world.database.reading(company) as tx:
            found.append(await keyring.open_json(tx, place(company), *value))
    return found


async def masters(world: World) -> set[str]:
    async with world.database.work() as tx:
        return set((await tx.execute(select(data_keys.c.master_key))).scalars())


ALL = [{"name": name} for name in "abc"]


async def test_a_process_that_knows_both_keys_opens_what_either_wrapped(
    world: World, sealed: dict[str, tuple[bytes, int]]
) -> None:
    assert await opened(world, Keyring(NEW, [OLD]), sealed) == ALL
    assert await opened(world, Keyring(OLD, [NEW]), sealed) == ALL


async def test_after_the_rotation_the_new_key_alone_opens_everything(
    world: World, sealed: dict[str, tuple[bytes, int]]
) -> None:
    before = sealed.copy()
    assert await Keyring(NEW, [OLD]).rewrap(world.database) == 3
    assert (await opened(world, Keyring(NEW), sealed), sealed) == (ALL, before)
    assert await masters(world) == {key_fingerprint(NEW)}
    with pytest.raises(SetupProblem):
        await opened(world, Keyring(OLD), sealed)


async def test_a_process_that_runs_meanwhile_notices_nothing(
    world: World, sealed: dict[str, tuple[bytes, int]]
) -> None:
    running = Keyring(OLD, [NEW])
    first = await opened(world, running, sealed)
    await Keyring(NEW, [OLD]).rewrap(world.database)
    assert (first, await opened(world, running, sealed)) == (ALL, ALL)
    assert await opened(world, Keyring(OLD, [NEW]), sealed) == ALL


async def test_a_rotation_that_was_cut_off_is_gone_on_with(
    world: World, sealed: dict[str, tuple[bytes, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REWRAPPED_AT_ONCE", 1)
    real, calls = WrappedKeys.rewrap, 0

    async def cut_off(self: WrappedKeys, *values: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise ConnectionResetError
        await real(self, *values)

    monkeypatch.setattr(WrappedKeys, "rewrap", cut_off)
    with pytest.raises(Exception, match="the connection to the database broke"):
        await Keyring(NEW, [OLD]).rewrap(world.database)
    assert await masters(world) == {key_fingerprint(NEW), key_fingerprint(OLD)}
    assert await opened(world, Keyring(NEW, [OLD]), sealed) == ALL
    assert await Keyring(NEW, [OLD]).rewrap(world.database) == 2
    assert await opened(world, Keyring(NEW), sealed) == ALL


async def test_a_second_rotation_finds_nothing_to_do(world: World, sealed: dict[str, tuple[bytes, int]]) -> None:
    await Keyring(NEW, [OLD]).rewrap(world.database)
    assert await Keyring(NEW, [OLD]).rewrap(world.database) == 0


async def test_a_key_that_nobody_here_knows_is_left_as_it_is(
    world: World, sealed: dict[str, tuple[bytes, int]]
) -> None:
    with pytest.raises(SetupProblem):
        await Keyring(NEW).rewrap(world.database)
    assert (await masters(world), await opened(world, Keyring(OLD), sealed)) == ({key_fingerprint(OLD)}, ALL)


async def test_a_start_with_both_keys_is_let_pass(world: World, sealed: dict[str, tuple[bytes, int]]) -> None:
    await check_master_key(world.database, Keyring(NEW, [OLD]))
    with pytest.raises(SetupProblem):
        await check_master_key(world.database, Keyring(NEW, [new_key()]))
