"""Integrations: connected once, checked by their adapter, never showing a credential; what a change does to a poll."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from backend.domain.ids import new_id
from backend.errors import BadInput, Conflict, NotFound
from backend.models import integrations as table
from backend.models import poll_runs
from backend.services.integrations import Integration, IntegrationChanges, IntegrationDraft, IntegrationService
from tests.factories import make_agent, make_company, make_integration
from tests.services.test_agent_integrations import make_cart
from tests.worlds import World

SHOP = {"base_url": "https://shop.example/api"}
TOKEN = {"token": "custom-token-1"}


@pytest.fixture
def service(world: World) -> IntegrationService:
    return IntegrationService(world.database, world.clock, world.settings, world.keyring, world.http)


@pytest.fixture
async def company_id(world: World) -> str:
    return await make_company(world)


@pytest.fixture
async def agent_id(world: World, company_id: str) -> str:
    return await make_agent(world, company_id)


def draft(agent_id: str, **fields: Any) -> IntegrationDraft:
    usual = {"agent_id": agent_id, "name": "main", "platform": "custom", "settings": SHOP, "credentials": TOKEN}
    return IntegrationDraft.model_validate(usual | fields)


async def stored(world: World, company_id: str, integration_id: str) -> dict[str, Any]:
    """Return an integration's row."""
    async with world.database.reading(company_id) as tx:
        return dict((await tx.execute(select(table).where(table.c.id == integration_id))).mappings().one())


async def set_row(world: World, company_id: str, integration_id: str, **values: Any) -> None:
    async with world.database.transaction(company_id) as tx:
        await tx.execute(update(table).where(table.c.id == integration_id).values(**values))


async def rejected(world: World, company_id: str, agent_id: str) -> str:
    """Add an integration whose credentials the store rejected, with a probe due in six hours."""
    later = world.clock.now() + timedelta(hours=6)
    return await make_integration(
        world, company_id, agent_id, status="paused", pause_reason="credentials_rejected", refusals=4, failures=4,
        first_refused_at=world.clock.now(), next_poll_at=later, waiting_until=later, last_error_code="unauthorized",
    )  # fmt: skip


async def test_a_new_integration_is_due_at_once(
    service: IntegrationService, world: World, company_id: str, agent_id: str
) -> None:
    made = await service.create(company_id, draft(agent_id))
    assert (made.status, made.store_id, made.next_poll_at <= world.clock.now()) == ("active", "shop.example/api", True)


async def test_credentials_are_named_and_never_shown(
    service: IntegrationService, company_id: str, agent_id: str
) -> None:
    made = await service.create(company_id, draft(agent_id))
    assert (made.has_credentials, made.credential_names) == (True, ("token",))
    assert "custom-token-1" not in repr(made)


async def test_a_draft_does_not_print_its_credentials(agent_id: str) -> None:
    assert "custom-token-1" not in repr(draft(agent_id))


async def test_credentials_are_sealed_at_rest(
    service: IntegrationService, world: World, company_id: str, agent_id: str
) -> None:
    made = await service.create(company_id, draft(agent_id))
    assert b"custom-token-1" not in (await stored(world, company_id, made.id))["credentials_sealed"]


@pytest.mark.parametrize(
    ("fields", "field", "told"),
    [
        ({"platform": "osc"}, "platform", "use one of bigcommerce, custom, magento, mock, shopify, woocommerce"),
        ({"settings": {}}, "settings.base_url", "settings.base_url is missing"),
        ({"settings": SHOP | {"colour": 1}}, "settings.colour", "settings.colour is not known"),
        ({"settings": SHOP | {"options": {"auth": "magic"}}}, "settings.options.auth", "bearer"),
        ({"settings": {"base_url": "http://shop.example"}}, "settings", "allow_http"),
        ({"platform": "shopify", "settings": {"shop": "acme", "base_url": "http://shop.example"},
          "credentials": {"access_token": "shpat_1"}}, "settings.base_url", "allow_http: true"),
        ({"settings": {"base_url": "https://10.0.0.1"}}, "settings.base_url", "private"),
        ({"settings": {"base_url": "https://shop.example:22"}}, "settings.base_url", "port 22"),
        ({"settings": {"base_url": "https://shop.example/" + "a" * 600}}, "settings", "too long"),
        ({"settings": SHOP | {"options": {"fields": {"id": "a\x00"}}}}, "settings", "cannot be stored"),
        ({"credentials": {}}, "credentials", "give a token"),
        ({"credentials": {"token": "t", "secret": "s"}}, "credentials", "give a token"),
        ({"credentials": {"tokn": "very-secret"}}, "credentials.tokn", "credentials.tokn is not known"),
    ],
)  # fmt: skip
async def test_what_the_adapter_does_not_take_is_refused_by_field(
    service: IntegrationService, company_id: str, agent_id: str, fields: dict[str, Any], field: str, told: str
) -> None:
    with pytest.raises(BadInput) as refused:
        await service.create(company_id, draft(agent_id, **fields))
    assert refused.value.field == field
    assert told in f"{refused.value} {refused.value.remedy}"
    assert "very-secret" not in f"{refused.value} {refused.value.remedy}"


async def test_a_store_without_https_can_be_allowed(
    service: IntegrationService, company_id: str, agent_id: str
) -> None:
    made = await service.create(
        company_id, draft(agent_id, settings={"base_url": "http://a.example", "allow_http": True})
    )
    assert made.settings == {"base_url": "http://a.example", "allow_http": True}


async def test_a_store_is_connected_once_per_company(
    service: IntegrationService, world: World, company_id: str, agent_id: str
) -> None:
    await service.create(company_id, draft(agent_id))
    other = await make_agent(world, company_id, name="Other")
    with pytest.raises(Conflict, match="already connected as main"):
        await service.create(company_id, draft(other, name="again", settings={"base_url": "https://SHOP.example/api/"}))


async def test_two_companies_may_connect_the_same_store(
    service: IntegrationService, world: World, company_id: str, agent_id: str
) -> None:
    await service.create(company_id, draft(agent_id))
    other = await make_company(world, "Bolt")
    made = await service.create(other, draft(await make_agent(world, other)))
    assert made.store_id == "shop.example/api"


async def test_a_name_is_taken_once_per_agent(service: IntegrationService, company_id: str, agent_id: str) -> None:
    await service.create(company_id, draft(agent_id))
    with pytest.raises(Conflict, match="already an integration named main"):
        await service.create(company_id, draft(agent_id, settings={"base_url": "https://other.example"}))


async def test_an_integration_needs_an_agent_of_its_company(
    service: IntegrationService, world: World, company_id: str
) -> None:
    other = await make_company(world, "Bolt")
    with pytest.raises(NotFound):
        await service.create(company_id, draft(await make_agent(world, other)))


async def test_lists_can_ask_for_agent_and_status(
    service: IntegrationService, world: World, company_id: str, agent_id: str
) -> None:
    wanted = await make_integration(world, company_id, agent_id, status="paused")
    await make_integration(world, company_id, agent_id)
    await make_integration(world, company_id, await make_agent(world, company_id, name="Other"), status="paused")
    page = await service.list(company_id, status="paused", agent_id=agent_id)
    assert [item.id for item in page.items] == [wanted]


async def test_settings_are_laid_over_the_stored_ones(
    service: IntegrationService, company_id: str, agent_id: str
) -> None:
    made = await service.create(company_id, draft(agent_id, settings=SHOP | {"allow_http": True}))
    options = {"page_size": 50}
    changed = await service.change(
        company_id, made.id, IntegrationChanges(settings={"options": options, "allow_http": None})
    )
    assert changed.settings == SHOP | {"options": options}


async def test_a_store_with_carts_stays_the_same_store(
    service: IntegrationService, world: World, company_id: str, agent_id: str
) -> None:
    made = await service.create(company_id, draft(agent_id))
    await make_cart(world, company_id, agent_id, made.id)
    with pytest.raises(BadInput, match="another store"):
        await service.change(company_id, made.id, IntegrationChanges(settings={"base_url": "https://other.example"}))


async def test_a_store_without_carts_can_become_another_and_is_read_from_the_start(
    service: IntegrationService, world: World, company_id: str, agent_id: str
) -> None:
    made = await service.create(company_id, draft(agent_id))
    await set_row(world, company_id, made.id, watermark=world.clock.now(), page_token="p")
    changes = IntegrationChanges(settings={"base_url": "https://other.example"})
    changed = await service.change(company_id, made.id, changes)
    row = await stored(world, company_id, made.id)
    assert (changed.store_id, row["watermark"], row["page_token"]) == ("other.example", None, None)


async def test_a_change_does_not_lead_to_a_store_that_is_connected_already(
    service: IntegrationService, company_id: str, agent_id: str
) -> None:
    await service.create(company_id, draft(agent_id))
    second = await service.create(company_id, draft(agent_id, name="b", settings={"base_url": "https://b.example"}))
    with pytest.raises(Conflict):
        await service.change(company_id, second.id, IntegrationChanges(settings=SHOP))


async def test_an_unset_interval_follows_the_polling_interval(
    service: IntegrationService, company_id: str, agent_id: str
) -> None:
    made = await service.create(company_id, draft(agent_id, poll_interval_seconds=300))
    changed = await service.change(company_id, made.id, IntegrationChanges(poll_interval_seconds=None))
    assert changed.poll_interval_seconds is None


async def test_new_credentials_are_tried_at_once_and_forget_the_refusals(
    service: IntegrationService, world: World, company_id: str, agent_id: str
) -> None:
    integration_id = await rejected(world, company_id, agent_id)
    changed = await service.rotate_credentials(company_id, integration_id, {"token": "new"})
    row = await stored(world, company_id, integration_id)
    assert (changed.status, changed.pause_reason, changed.waiting_until, changed.last_error_code) == (
        "active", None, None, None,
    )  # fmt: skip
    assert (row["refusals"], row["failures"], row["first_refused_at"]) == (0, 0, None)
    assert changed.next_poll_at <= world.clock.now()


async def test_new_credentials_open_again(
    service: IntegrationService, world: World, company_id: str, agent_id: str
) -> None:
    made = await service.create(company_id, draft(agent_id))
    await service.rotate_credentials(company_id, made.id, {"token": "new"})
    row = await stored(world, company_id, made.id)
    place = (company_id, "integrations", "credentials_sealed", made.id)
    async with world.database.reading(company_id) as tx:
        opened = await world.keyring.open_json(tx, place, row["credentials_sealed"], row["credentials_version"])
    assert opened == {"token": "new"}


async def test_bad_new_credentials_change_nothing(
    service: IntegrationService, world: World, company_id: str, agent_id: str
) -> None:
    made = await service.create(company_id, draft(agent_id))
    before = await stored(world, company_id, made.id)
    with pytest.raises(BadInput):
        await service.rotate_credentials(company_id, made.id, {"tokn": "new"})
    assert await stored(world, company_id, made.id) == before


async def test_new_credentials_do_not_lift_a_pause_of_the_operator(
    service: IntegrationService, company_id: str, agent_id: str
) -> None:
    made = await service.create(company_id, draft(agent_id))
    await service.pause(company_id, made.id)
    assert (await service.rotate_credentials(company_id, made.id, {"token": "new"})).status == "paused"


@pytest.mark.parametrize("deed", ["pause", "rotate_credentials", "change", "deactivate"])
async def test_a_change_of_the_set_up_ends_the_poll_in_flight(
    service: IntegrationService, world: World, company_id: str, agent_id: str, deed: str
) -> None:
    made = await service.create(company_id, draft(agent_id))
    until = world.clock.now() + timedelta(seconds=10)
    await set_row(world, company_id, made.id, lease_token="worker", lease_expires_at=until, claims=3)
    await {
        "pause": lambda: service.pause(company_id, made.id),
        "rotate_credentials": lambda: service.rotate_credentials(company_id, made.id, {"token": "new"}),
        "change": lambda: service.change(company_id, made.id, IntegrationChanges(settings={"options": {}})),
        "deactivate": lambda: service.change(company_id, made.id, IntegrationChanges(status="inactive")),
    }[deed]()
    row = await stored(world, company_id, made.id)
    assert (row["lease_token"], row["lease_expires_at"], row["claims"]) == (None, None, 0)


async def test_a_pause_holds_until_resumed(service: IntegrationService, company_id: str, agent_id: str) -> None:
    made = await service.create(company_id, draft(agent_id))
    paused = await service.pause(company_id, made.id)
    resumed = await service.resume(company_id, made.id)
    assert [(each.status, each.pause_reason) for each in (paused, resumed)] == [
        ("paused", "paused by operator"), ("active", None),
    ]  # fmt: skip


async def test_resuming_rejected_credentials_probes_at_once_and_stays_paused_until_they_work(
    service: IntegrationService, world: World, company_id: str, agent_id: str
) -> None:
    integration_id = await rejected(world, company_id, agent_id)
    resumed = await service.resume(company_id, integration_id)
    assert (resumed.status, resumed.pause_reason, resumed.waiting_until) == ("paused", "credentials_rejected", None)
    assert resumed.next_poll_at <= world.clock.now()


@pytest.mark.parametrize("deed", ["pause", "resume"])
async def test_a_removed_integration_is_neither_paused_nor_resumed(
    service: IntegrationService, world: World, company_id: str, agent_id: str, deed: str
) -> None:
    integration_id = await make_integration(world, company_id, agent_id, status="inactive")
    with pytest.raises(Conflict, match="was removed"):
        await getattr(service, deed)(company_id, integration_id)


async def test_an_integration_that_brought_nothing_is_deleted(
    service: IntegrationService, company_id: str, agent_id: str
) -> None:
    made = await service.create(company_id, draft(agent_id))
    await service.remove(company_id, made.id)
    with pytest.raises(NotFound):
        await service.get(company_id, made.id)


@pytest.mark.parametrize("trace", ["cart", "run"])
async def test_an_integration_with_history_is_deactivated(
    service: IntegrationService, world: World, company_id: str, agent_id: str, trace: str
) -> None:
    made = await service.create(company_id, draft(agent_id))
    if trace == "cart":
        await make_cart(world, company_id, agent_id, made.id)
    else:
        run = {"cycle_id": "c", "worker_id": "w", "outcome": "failed", "elapsed_ms": 1, "counts": {}}
        keys = {"company_id": company_id, "id": new_id(), "integration_id": made.id, "started_at": world.clock.now()}
        async with world.database.transaction(company_id) as tx:
            await tx.execute(insert(poll_runs), [run | keys])
    await service.remove(company_id, made.id)
    assert (await service.get(company_id, made.id)).status == "inactive"


async def test_a_removed_store_is_not_connected_anew_but_made_active_again(
    service: IntegrationService, world: World, company_id: str, agent_id: str
) -> None:
    made = await service.create(company_id, draft(agent_id))
    await make_cart(world, company_id, agent_id, made.id)
    await service.remove(company_id, made.id)
    with pytest.raises(Conflict) as refused:
        await service.create(company_id, draft(agent_id, name="again"))
    assert "active again" in refused.value.remedy
    revived: Integration = await service.change(company_id, made.id, IntegrationChanges(status="active"))
    assert revived.status == "active"


@pytest.mark.parametrize("deed", ["get", "remove", "pause", "resume", "verify"])
async def test_an_integration_of_another_company_is_not_there(
    service: IntegrationService, world: World, company_id: str, deed: str
) -> None:
    other = await make_company(world, "Bolt")
    theirs = await make_integration(world, other, await make_agent(world, other))
    with pytest.raises(NotFound):
        await getattr(service, deed)(company_id, theirs)
