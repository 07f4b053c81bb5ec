"""A master key that does not fit the database is refused before anything is sealed with it."""

from __future__ import annotations

import os

import pytest

from backend.errors import SetupProblem
from backend.services.keyring import Keyring, check_master_key
from tests.factories import make_company
from tests.worlds import World


async def test_the_key_that_sealed_the_database_is_taken(world: World) -> None:
    await make_company(world)
    await check_master_key(world.database, world.keyring)


async def test_another_key_is_refused_and_says_what_to_restore(world: World) -> None:
    await make_company(world)
    with pytest.raises(SetupProblem, match="restore MASTER_KEY"):
        await check_master_key(world.database, Keyring(os.urandom(32)))


async def test_an_empty_database_takes_any_key(world: World) -> None:
    await check_master_key(world.database, Keyring(os.urandom(32)))
