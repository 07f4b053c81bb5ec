"""Destinations: addresses that may be called, secrets shown once, and the one every agent gets from the settings."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError
from sqlalchemy import insert, select, update

from backend.domain.signing import secret_bytes
from backend.errors import BadInput, Conflict, NotFound, SetupProblem
from backend.models import deliveries
from backend.models import destinations as table
from backend.services.destinations import DestinationChanges, DestinationDraft, DestinationService
from tests.factories import make_agent, make_company, make_destination, make_integration
from tests.worlds import World

URL = "https://partner.example/hook"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_" + "B" * 32


@pytest.fixture
def service(world: World) -> DestinationService:
    return DestinationService(world.database, world.clock, world.settings, world.keyring)


@pytest.fixture
async def company_id(world: World) -> str:
    return await make_company(world)


@pytest.fixture
async def agent_id(world: World, company_id: str) -> str:
    return await make_agent(world, company_id)


def draft(agent_id: str, **fields: Any) -> DestinationDraft:
    return DestinationDraft.model_validate({"agent_id": agent_id, "name": "partner", "url": URL} | fields)


async def live_secrets(world: World, company_id: str, destination_id: str) -> list[str]:
    """Open the stored secrets of a destination."""
    place = (company_id, "destinations", "secrets_sealed", destination_id)
    async with world.database.reading(company_id) as tx:
        row = (await tx.execute(select(table).where(table.c.id == destination_id))).one()
        opened: list[str] = await world.keyring.open_json(tx, place, row.secrets_sealed, row.secrets_version)
    return opened


async def test_a_secret_that_was_given_is_not_given_back(
    service: DestinationService, world: World, company_id: str, agent_id: str
) -> None:
    made = await service.create(company_id, draft(agent_id, secret=SECRET))
    assert (made.secret, made.destination.secret_hints) == (None, ("whsec_…LaSw",))
    assert await live_secrets(world, company_id, made.destination.id) == [SECRET]


async def test_a_secret_that_was_made_is_shown_once(
    service: DestinationService, world: World, company_id: str, agent_id: str
) -> None:
    made = await service.create(company_id, draft(agent_id))
    assert made.secret is not None
    assert len(secret_bytes(made.secret)) == 32
    assert await live_secrets(world, company_id, made.destination.id) == [made.secret]
    assert made.secret not in repr(made) + repr(await service.get(company_id, made.destination.id))


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"secret": "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}, "secret"),
        ({"secret": "whsec_c2hvcnQ="}, "secret"),
        ({"secret": "whsec_not base64"}, "secret"),
        ({"url": "http://partner.example/hook"}, "url"),
        ({"url": "https://192.168.1.1/hook"}, "url"),
        ({"url": "https://partner.example:25/hook"}, "url"),
        ({"url": "https://a:b@partner.example/hook"}, "url"),
        ({"url": "https://part ner.example/hook"}, "url"),
    ],
)
async def test_an_address_or_secret_that_cannot_serve_is_refused(
    service: DestinationService, company_id: str, agent_id: str, fields: dict[str, str], field: str
) -> None:
    with pytest.raises(BadInput) as refused:
        await service.create(company_id, draft(agent_id, **fields))
    assert (refused.value.field, bool(refused.value.remedy)) == (field, True)


@pytest.mark.parametrize("carts", [0, 101])
def test_a_payload_has_one_to_a_hundred_carts(carts: int) -> None:
    with pytest.raises(ValidationError):
        draft("a", max_carts_per_payload=carts)


async def test_plain_http_on_this_machine_needs_leave(
    service: DestinationService, world: World, company_id: str, agent_id: str
) -> None:
    strict = world.settings.model_copy(update={"outbound_allow_loopback": False})
    with pytest.raises(BadInput):
        await DestinationService(world.database, world.clock, strict, world.keyring).create(
            company_id, draft(agent_id, url="http://127.0.0.1:9102/hook")
        )
    made = await service.create(company_id, draft(agent_id, url="http://127.0.0.1:9102/hook"))
    assert made.destination.url == "http://127.0.0.1:9102/hook"


async def test_a_name_is_taken_once_per_agent(service: DestinationService, company_id: str, agent_id: str) -> None:
    await service.create(company_id, draft(agent_id))
    with pytest.raises(Conflict, match="already a destination named partner"):
        await service.create(company_id, draft(agent_id))


async def test_a_new_secret_signs_beside_the_old_one(
    service: DestinationService, world: World, company_id: str, agent_id: str
) -> None:
    made = await service.create(company_id, draft(agent_id, secret=SECRET))
    rotated = await service.rotate_secret(company_id, made.destination.id)
    assert await live_secrets(world, company_id, made.destination.id) == [rotated.secret, SECRET]


async def test_a_new_secret_can_replace_the_old_one_at_once(
    service: DestinationService, world: World, company_id: str, agent_id: str
) -> None:
    made = await service.create(company_id, draft(agent_id, secret=SECRET))
    rotated = await service.rotate_secret(company_id, made.destination.id, OTHER, keep_old=False)
    assert rotated.secret is None
    assert await live_secrets(world, company_id, made.destination.id) == [OTHER]


async def test_old_secrets_can_be_dropped(
    service: DestinationService, world: World, company_id: str, agent_id: str
) -> None:
    made = await service.create(company_id, draft(agent_id, secret=SECRET))
    await service.rotate_secret(company_id, made.destination.id, OTHER)
    dropped = await service.drop_old_secrets(company_id, made.destination.id)
    assert dropped.secret_hints == ("whsec_…BBBB",)
    assert await live_secrets(world, company_id, made.destination.id) == [OTHER]


async def test_at_most_ten_secrets_are_live(service: DestinationService, company_id: str, agent_id: str) -> None:
    made = await service.create(company_id, draft(agent_id))
    for _ in range(12):
        await service.rotate_secret(company_id, made.destination.id)
    assert len((await service.get(company_id, made.destination.id)).secret_hints) == 10


@pytest.mark.parametrize("changes", [{"status": "active"}, {"url": "https://partner.example/new"}])
async def test_enabling_and_moving_begin_with_a_clean_slate(
    service: DestinationService, world: World, company_id: str, agent_id: str, changes: dict[str, str]
) -> None:
    until = world.clock.now() + timedelta(hours=1)
    destination_id = await make_destination(
        world, company_id, agent_id, URL, status="disabled", status_reason="410", failures=9, held_until=until
    )
    changed = await service.change(company_id, destination_id, DestinationChanges.model_validate(changes))
    assert (changed.failures, changed.held_until, changed.status_reason) == (0, None, None)


async def test_a_destination_says_who_disabled_it(service: DestinationService, company_id: str, agent_id: str) -> None:
    made = await service.create(company_id, draft(agent_id))
    changed = await service.change(company_id, made.destination.id, DestinationChanges(status="disabled"))
    assert changed.status_reason == "disabled by operator"


async def test_an_address_is_checked_when_it_changes(
    service: DestinationService, company_id: str, agent_id: str
) -> None:
    made = await service.create(company_id, draft(agent_id))
    with pytest.raises(BadInput):
        await service.change(company_id, made.destination.id, DestinationChanges(url="http://partner.example"))


async def test_lists_can_ask_for_agent_and_status(
    service: DestinationService, world: World, company_id: str, agent_id: str
) -> None:
    wanted = await make_destination(world, company_id, agent_id, URL, status="disabled")
    await make_destination(world, company_id, agent_id, URL)
    await make_destination(world, company_id, await make_agent(world, company_id, name="B"), URL, status="disabled")
    page = await service.list(company_id, status="disabled", agent_id=agent_id)
    assert [item.id for item in page.items] == [wanted]


async def test_an_unused_destination_is_deleted(service: DestinationService, company_id: str, agent_id: str) -> None:
    made = await service.create(company_id, draft(agent_id))
    await service.remove(company_id, made.destination.id)
    with pytest.raises(NotFound):
        await service.get(company_id, made.destination.id)


async def test_a_destination_with_deliveries_is_deactivated(
    service: DestinationService, world: World, company_id: str, agent_id: str
) -> None:
    made = await service.create(company_id, draft(agent_id))
    keys = {"company_id": company_id, "id": "d", "destination_id": made.destination.id, "agent_id": agent_id}
    row = {"type": "cart.abandoned", "webhook_id": "w", "state": "pending", "body": b"", "cart_count": 1, "attempts": 0}
    store = {"integration_id": await make_integration(world, company_id, agent_id), "created_at": world.clock.now()}
    async with world.database.transaction(company_id) as tx:
        await tx.execute(insert(deliveries), [keys | row | store])
    await service.remove(company_id, made.destination.id)
    assert (await service.get(company_id, made.destination.id)).status == "inactive"


async def test_two_workers_may_give_the_default_at_once(world: World, agent_id: str) -> None:
    service = with_default(world)
    made = await asyncio.gather(service.ensure_default(), service.ensure_default())
    assert sorted(len(each) for each in made) == [0, 1]


@pytest.mark.parametrize("deed", ["get", "remove", "rotate_secret", "drop_old_secrets"])
async def test_a_destination_of_another_company_is_not_there(
    service: DestinationService, world: World, company_id: str, deed: str
) -> None:
    other = await make_company(world, "Bolt")
    theirs = await make_destination(world, other, await make_agent(world, other), URL)
    with pytest.raises(NotFound):
        await getattr(service, deed)(company_id, theirs)


def with_default(world: World, **settings: Any) -> DestinationService:
    """Return the service of an installation that has a default destination."""
    fields = {"external_api_url": URL, "external_api_secret": SECRET} | settings
    changed = replace(world, settings=world.settings.model_copy(update=fields))
    return DestinationService(changed.database, changed.clock, changed.settings, changed.keyring)


async def test_an_agent_without_a_destination_gets_the_default_one(
    world: World, company_id: str, agent_id: str
) -> None:
    service = with_default(world)
    made = await service.ensure_default()
    found = (await service.list(company_id)).items
    assert [(each.id, each.agent_id, each.name, each.url) for each in found] == [(*made, agent_id, "default", URL)]
    assert await live_secrets(world, company_id, made[0]) == [SECRET]


async def test_the_default_is_given_once(world: World, agent_id: str) -> None:
    service = with_default(world)
    await service.ensure_default()
    assert await service.ensure_default() == []


@pytest.mark.parametrize("fields", [{"template_slug": "newsletter"}, {"status": "inactive"}])
async def test_only_polled_agents_get_the_default(world: World, company_id: str, fields: dict[str, str]) -> None:
    await make_agent(world, company_id, **fields)
    assert await with_default(world).ensure_default() == []


async def test_an_agent_whose_destination_was_removed_gets_no_default(
    world: World, company_id: str, agent_id: str
) -> None:
    destination_id = await make_destination(world, company_id, agent_id, URL)
    async with world.database.transaction(company_id) as tx:
        await tx.execute(update(table).where(table.c.id == destination_id).values(status="inactive"))
    assert await with_default(world).ensure_default() == []


async def test_without_the_setting_there_is_no_default(world: World, agent_id: str) -> None:
    assert await with_default(world, external_api_url="").ensure_default() == []


@pytest.mark.parametrize(
    ("settings", "name"),
    [({"external_api_secret": "short"}, "EXTERNAL_API_SECRET"), ({"external_api_url": "ftp://x"}, "EXTERNAL_API_URL")],
)
async def test_a_default_that_cannot_serve_names_its_setting(
    world: World, agent_id: str, settings: dict[str, str], name: str
) -> None:
    with pytest.raises(SetupProblem, match=name):
        await with_default(world, **settings).ensure_default()
