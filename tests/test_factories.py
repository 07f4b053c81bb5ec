"""The builders that other tests stand on write rows that the product can read back."""

from __future__ import annotations

from sqlalchemy import select

from backend.models import destinations, integrations
from tests.factories import make_agent, make_company, make_destination, make_integration
from tests.worlds import World


async def test_a_made_integration_opens_with_the_worlds_keys(world: World) -> None:
    company = await make_company(world)
    made = await make_integration(world, company, await make_agent(world, company), credentials={"token": "t-1"})
    async with world.database.reading(company) as tx:
        row = (await tx.execute(select(integrations))).one()
        place = (company, "integrations", "credentials_sealed", made)
        opened = await world.keyring.open_json(tx, place, row.credentials_sealed, row.credentials_version)
    assert opened == {"token": "t-1"}


async def test_a_made_destination_opens_with_the_worlds_keys(world: World) -> None:
    company = await make_company(world)
    agent = await make_agent(world, company)
    made = await make_destination(world, company, agent, "https://partner.example/hook", "whsec_" + "A" * 32)
    async with world.database.reading(company) as tx:
        row = (await tx.execute(select(destinations))).one()
        place = (company, "destinations", "secrets_sealed", made)
        opened = await world.keyring.open_json(tx, place, row.secrets_sealed, row.secrets_version)
    assert opened == ["whsec_" + "A" * 32]
