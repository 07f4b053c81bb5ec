"""Data keys and subject keys on real databases, and that no secret lies in one in the clear."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from sqlalchemy import select, update

from backend.crypto import SealBroken, new_key, unseal
from backend.errors import SetupProblem
from backend.models import cart_events, data_keys, destinations, integrations, metadata
from backend.services.keyring import Keyring
from tests.factories import make_agent, make_company, make_destination, make_integration
from tests.services.line import Line
from tests.worlds import World

PLACE = ("", "integrations", "credentials_sealed", "row")
TOKEN = "shpat_a-token-nobody-else-has"
SECRET = "whsec_QXNlY3JldG9mdGhpcnR5dHdvYnl0ZXNmb3JzdXJlMQ=="


async def test_a_company_gets_one_data_key(world: World) -> None:
    company = await make_company(world)
    async with world.database.transaction(company) as tx:
        versions = [await keyring.newest_version(tx, company, world.clock.now()) for keyring in (world.keyring,) * 3]
        assert (versions, len((await tx.execute(select(data_keys))).all())) == ([1, 1, 1], 1)


async def test_what_one_process_sealed_another_opens(world: World) -> None:
    company = await make_company(world)
    place = (company, *PLACE[1:])
    async with world.database.transaction(company) as tx:
        sealed, version = await world.keyring.seal_json(tx, place, {"token": TOKEN}, world.clock.now())
    other = Keyring(world.keyring._master)  # noqa: SLF001  the same master key in another process
    async with world.database.reading(company) as tx:
        assert await other.open_json(tx, place, sealed, version) == {"token": TOKEN}


async def make_and_fail(world: World, company: str) -> None:
    async with world.database.transaction(company) as tx:
        await world.keyring.newest_version(tx, company, world.clock.now())
        raise RuntimeError


async def test_a_key_whose_making_was_rolled_back_seals_nothing(world: World) -> None:
    company, other = "company", Keyring(world.keyring._master)  # noqa: SLF001  as above
    with pytest.raises(RuntimeError):
        await make_and_fail(world, company)
    async with world.database.transaction(company) as tx:
        await other.newest_version(tx, company, world.clock.now())
    async with world.database.transaction(company) as tx:
        sealed = await world.keyring.seal_json(tx, (company, *PLACE[1:]), {"token": TOKEN}, world.clock.now())
        assert await other.open_json(tx, (company, *PLACE[1:]), *sealed) == {"token": TOKEN}


async def test_another_master_key_is_a_set_up_problem(world: World) -> None:
    company = await make_company(world)
    place = (company, *PLACE[1:])
    async with world.database.transaction(company) as tx:
        sealed, version = await world.keyring.seal_json(tx, place, {"token": TOKEN}, world.clock.now())
        with pytest.raises(SetupProblem, match="MASTER_KEY"):
            await Keyring(new_key()).open_json(tx, place, sealed, version)


@pytest.mark.parametrize("column", ["credentials_sealed"])
async def test_credentials_copied_to_another_row_do_not_open(world: World, column: str) -> None:
    company = await make_company(world)
    agent = await make_agent(world, company)
    mine, theirs = [await make_integration(world, company, agent) for _ in range(2)]
    async with world.database.transaction(company) as tx:
        query = select(integrations.c[column]).where(integrations.c.id == theirs)
        sealed = (await tx.execute(query)).scalar_one()
        await tx.execute(update(integrations).where(integrations.c.id == mine).values({column: sealed}))
        with pytest.raises(SealBroken):
            await world.keyring.open_json(tx, (company, "integrations", column, mine), sealed, 1)


async def test_a_company_s_credentials_do_not_open_for_another(world: World) -> None:
    one, other = await make_company(world, "A"), await make_company(world, "B")
    async with world.database.transaction(one) as tx:
        sealed, version = await world.keyring.seal_json(tx, (one, *PLACE[1:]), {"t": TOKEN}, world.clock.now())
    async with world.database.transaction(other) as tx:
        with pytest.raises(SealBroken):
            await world.keyring.open_json(tx, (other, *PLACE[1:]), sealed, version)


async def dumped(world: World) -> bytes:
    """Return everything the database holds, as bytes: SQLite's own dump, or each row of PostgreSQL as text."""
    if world.settings.is_sqlite:
        with closing(sqlite3.connect(world.settings.sqlite_path)) as connection:
            rows = [row for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
                    for row in connection.execute(f'SELECT * FROM "{name}"')]  # fmt: skip
            return repr(rows).encode()
    async with world.database.overview() as tx:
        found = [tuple(row) for table in metadata.tables.values() for row in await tx.execute(select(table))]
    return repr(found).encode()


async def test_no_secret_lies_in_the_database_in_the_clear(world: World) -> None:
    company = await make_company(world)
    agent = await make_agent(world, company)
    await make_integration(world, company, agent, credentials={"token": TOKEN})
    await make_destination(world, company, agent, "https://partner.example/hook", SECRET)
    everything = await dumped(world)
    assert b"https://partner.example/hook" in everything  # so the dump does hold the rows
    assert [part for part in (TOKEN, SECRET, SECRET[6:30]) if part.encode() in everything] == []


async def test_a_cart_s_events_hold_nobody_s_name_in_the_clear(line: Line) -> None:
    line.add("c1", 45, customer={"email": "ada@example.com", "first": "Adelheid", "phone": "+493012345678"})
    await line.run()
    events = repr([tuple(row) for row in await line.rows(cart_events)])
    assert "c1" in events
    assert [part for part in ("ada@example.com", "Adelheid", "+493012345678", "/cart/c1") if part in events] == []


async def test_an_event_s_person_opens_with_the_cart_s_own_key(line: Line) -> None:
    line.add("c1", 10, customer={"email": "ada@example.com"})
    await line.run()
    (event,) = await line.rows(cart_events)
    async with line.world.database.transaction(line.company) as tx:
        subjects = await line.base.keyring.subjects(tx, line.company, [event.cart_id], {}, line.clock.now())
    _, key = subjects._keys[event.cart_id]  # noqa: SLF001  as erasure's test must look inside
    place = f"{line.company}/cart_events/personal_sealed/{event.cart_id}/{event.seq}"
    assert b"ada@example.com" in unseal(key, event.personal_sealed, place)
    with pytest.raises(SealBroken):
        unseal(key, event.personal_sealed, place.replace(f"/{event.seq}", "/99"))


async def test_the_tables_that_hold_secrets_hold_them_sealed(world: World) -> None:
    named = [
        f"{table.name}.{column.name}"
        for table in metadata.tables.values()
        for column in table.columns
        if any(word in column.name for word in ("secret", "credential", "token", "password"))
        and not column.name.endswith(("_sealed", "_version"))
    ]
    # Tokens of leases and pages are no secrets; of a password there is its argon2id hash.
    assert sorted(named) == sorted(
        [
            "integrations.page_token",
            "people.password_changed_at",
            "people.password_hash",
            *(f"{table}.lease_token" for table in ("integrations", "carts", "deliveries", "destinations")),
        ]
    )
    assert {"secrets_sealed"} <= set(destinations.c.keys())
