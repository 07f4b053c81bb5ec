"""Connection tests: what is wrong and what to do, and how many carts each look-back would hand off."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from backend.services import first_poll
from backend.services.connection_reports import ConnectionReport
from backend.services.integrations import IntegrationDraft, IntegrationService
from simulator.custom import CustomSimulator
from tests.factories import make_agent, make_company, make_destination, make_integration
from tests.worlds import World


@pytest.fixture
async def store() -> AsyncIterator[CustomSimulator]:
    simulator = CustomSimulator()
    simulator.add_tenant("s0")
    async with simulator.running():
        yield simulator


class Desk:
    """A company with one agent, and a draft for the simulated store."""

    def __init__(self, world: World, store: CustomSimulator, company_id: str, agent_id: str) -> None:
        self.world, self.store, self.company_id, self.agent_id = world, store, company_id, agent_id
        self.service = IntegrationService(world.database, world.clock, world.settings, world.keyring, world.http)

    def settings(self, **options: Any) -> dict[str, Any]:
        return {"base_url": f"{self.store.base_url}/s0", "allow_http": True, "options": options}

    def add(self, cart_id: str, idle: timedelta, **fields: Any) -> None:
        self.store.add_cart("s0", cart_id, self.world.clock.now() - idle, **fields)

    async def report(self, token: str = "token-s0", lookback: int = 3, **options: Any) -> ConnectionReport:
        draft = IntegrationDraft(
            agent_id=self.agent_id, name="main", platform="custom", settings=self.settings(**options),
            credentials={"token": token}, initial_lookback_days=lookback,
        )  # fmt: skip
        return await self.service.verify_draft(self.company_id, draft)

    async def counts(self, **asked: Any) -> list[tuple[int, int, bool]]:
        report = await self.report(**asked)
        return [(each.days, each.carts, each.at_least) for each in report.first_poll]


@pytest.fixture
async def desk(world: World, store: CustomSimulator) -> Desk:
    company_id = await make_company(world)
    return Desk(world, store, company_id, await make_agent(world, company_id))


def problems(report: ConnectionReport) -> dict[str, str]:
    return {finding.name: finding.remedy for finding in report.findings if not finding.ok}


async def test_each_look_back_shows_what_it_would_hand_off(desk: Desk) -> None:
    for cart_id, days in (("a", 0.5), ("b", 2), ("c", 5), ("d", 20), ("e", 25)):
        desk.add(cart_id, timedelta(days=days))
    assert await desk.counts() == [(1, 1, False), (3, 2, False), (7, 3, False), (30, 5, False)]


async def test_only_what_would_be_handed_off_counts(desk: Desk) -> None:
    now = desk.world.clock.now()
    desk.add("abandoned", timedelta(hours=1))
    desk.add("fresh", timedelta(minutes=5))
    desk.add("anonymous", timedelta(hours=1), customer=None)
    desk.add("empty", timedelta(hours=1), items=[], total="0.00")
    desk.add("bought", timedelta(hours=2))
    desk.store.complete("s0", "bought", now - timedelta(hours=1))
    assert await desk.counts() == [(1, 1, False), (3, 1, False), (7, 1, False), (30, 1, False)]


async def test_a_destination_that_takes_uncontactable_carts_has_them_counted(desk: Desk) -> None:
    url = "https://partner.example/hook"
    await make_destination(desk.world, desk.company_id, desk.agent_id, url, include_uncontactable=True)
    desk.add("anonymous", timedelta(hours=1), customer=None)
    assert (await desk.counts())[0] == (1, 1, False)


async def test_the_chosen_look_back_is_among_the_choices(desk: Desk) -> None:
    report = await desk.report(lookback=14)
    assert [(each.days, each.is_chosen) for each in report.first_poll] == [
        (1, False), (3, False), (7, False), (14, True), (30, False),
    ]  # fmt: skip


async def test_a_busy_store_is_answered_for_its_newest_days_and_at_least_for_the_rest(desk: Desk) -> None:
    for number in range(12):
        desk.add(f"old{number}", timedelta(days=20, minutes=number))
    for number in range(3):
        desk.add(f"new{number}", timedelta(hours=2, minutes=number))
    report = await desk.report(page_size=1)
    assert [(each.days, each.carts, each.at_least) for each in report.first_poll] == [
        (1, 3, False), (3, 3, False), (7, 3, False), (30, 11, True),
    ]  # fmt: skip


async def test_the_walk_ends_after_so_many_pages(desk: Desk) -> None:
    for number in range(40):
        desk.add(f"c{number}", timedelta(hours=2, minutes=number))
    report = await desk.report(page_size=1)
    assert (report.pages, report.first_poll[0].at_least) == (first_poll.MOST_PAGES, True)


async def test_the_walk_ends_after_so_much_time(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_poll, "LONGEST", timedelta(0))
    assert [each.at_least for each in (await desk.report()).first_poll] == [True] * 4


async def test_a_test_saves_nothing(desk: Desk) -> None:
    desk.add("a", timedelta(hours=1))
    await desk.report()
    assert (await desk.service.list(desk.company_id)).items == ()


async def test_a_good_connection_has_no_problems(desk: Desk) -> None:
    report = await desk.report()
    assert (report.ok, problems(report), report.store_id) == (True, {}, desk.store.base_url.partition("//")[2] + "/s0")


async def test_refused_credentials_are_a_finding_with_a_remedy(desk: Desk) -> None:
    report = await desk.report(token="wrong")
    assert "Check the credentials" in problems(report)["credentials_refused"]
    assert report.first_poll == ()


@pytest.mark.parametrize("kind", ["status", "html", "reset", "truncated"])
async def test_a_sick_store_is_a_finding_and_never_an_error(desk: Desk, kind: str) -> None:
    desk.store.inject(kind, times=1000)
    report = await desk.report()
    assert problems(report)
    assert all(problems(report).values()), "a problem without a remedy"


async def test_a_store_that_falls_ill_after_the_check_is_a_finding(desk: Desk) -> None:
    desk.add("a", timedelta(hours=1))
    desk.add("b", timedelta(hours=1))
    desk.store.inject("odd_next", options={"next_cursor": 7}, after=1)
    report = await desk.report()
    assert "first_poll" in problems(report)


async def test_an_address_that_is_not_called_is_a_finding(desk: Desk) -> None:
    integration_id = await make_integration(
        desk.world, desk.company_id, desk.agent_id, settings={"base_url": "https://nowhere.invalid"}
    )
    assert not (await desk.service.verify(desk.company_id, integration_id)).ok


async def test_a_stored_connection_is_tested_as_it_is_stored(desk: Desk) -> None:
    desk.add("a", timedelta(hours=1))
    integration_id = await make_integration(
        desk.world, desk.company_id, desk.agent_id, settings=desk.settings(), credentials={"token": "token-s0"}
    )
    report = await desk.service.verify(desk.company_id, integration_id)
    assert (report.ok, report.first_poll[0].carts) == (True, 1)


async def test_a_stored_connection_that_the_settings_no_longer_allow_is_a_finding(desk: Desk) -> None:
    integration_id = await make_integration(
        desk.world, desk.company_id, desk.agent_id, settings={"base_url": "https://shop.example:22"}
    )
    report = await desk.service.verify(desk.company_id, integration_id)
    assert problems(report) == {"settings.base_url": "use one of the ports 80, 443, 8080, 8443"}


async def test_a_store_that_is_connected_already_is_told_before_saving(desk: Desk) -> None:
    draft = IntegrationDraft(
        agent_id=desk.agent_id, name="main", platform="custom", settings=desk.settings(),
        credentials={"token": "token-s0"},
    )  # fmt: skip
    await desk.service.create(desk.company_id, draft)
    assert problems(await desk.report()) == {"store": "change the integration main instead"}


@pytest.mark.parametrize(
    ("fields", "remedy"),
    [
        ({"status": "inactive"}, "Make the agent active."),
        ({"template_slug": "newsletter"}, "Use an agent made from ecommerce-abandoned-cart."),
    ],
)
async def test_an_agent_that_is_not_polled_is_a_finding(desk: Desk, fields: dict[str, str], remedy: str) -> None:
    desk.agent_id = await make_agent(desk.world, desk.company_id, name="Other", **fields)
    assert problems(await desk.report())["agent"] == remedy


async def test_a_platform_that_is_not_polled_is_a_finding(desk: Desk) -> None:
    narrow = desk.world.settings.model_copy(update={"platforms": ("shopify",)})
    world = replace(desk.world, settings=narrow)
    desk.service = IntegrationService(world.database, world.clock, world.settings, world.keyring, world.http)
    assert problems(await desk.report()) == {"platform": "Add it to the setting PLATFORMS."}


async def test_a_mock_is_tested_without_any_store(desk: Desk) -> None:
    draft = IntegrationDraft(agent_id=desk.agent_id, name="mock", platform="mock", settings={"options": {"seed": "s"}})
    report = await desk.service.verify_draft(desk.company_id, draft)
    assert (report.ok, report.first_poll[0].carts > 0) == (True, True)
