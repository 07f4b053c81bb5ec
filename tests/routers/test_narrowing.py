"""Whoever may see some companies only gets every list, figure and page of just those."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx
import pytest

from backend.domain.access import Role
from backend.domain.health import Kind
from backend.errors import NotFound
from backend.services.overview import Paging
from backend.store.alerts import Alarm, AlertStore
from backend.store.cycles import InstallationStore
from backend.store.listings import CartFilter, DeliveryFilter
from tests.factories import make_agent, make_company, make_destination
from tests.routers.conftest import Web
from tests.routers.test_keys import bearer, key_of
from tests.services.acts import add_store
from tests.services.line import Line

LISTS = (
    "/polling/status", "/api/v1/companies", "/api/v1/cycles", "/api/v1/alerts",
    "/", "/console/live", "/carts", "/deliveries",
)  # fmt: skip
NAMING = [path for path in LISTS if path != "/api/v1/cycles"]
CLOSED = ("/deliveries/hold", "/console/hold", "/metrics", "/api/v1/keys", "/api/v1/audit")


@dataclass(slots=True)
class Two:
    """Acme, with two abandoned carts, and Bolt, with one; each has an alert, and a partner it was handed to."""

    web: Web
    line: Line
    acme: str
    bolt: str

    async def ask(self, path: str, role: Role = Role.VIEWER, company: str | None = "bolt") -> httpx.Response:
        """Ask as a role of Bolt, or of all companies (None)."""
        key = await key_of(self.web, role, self.bolt if company else None)
        return await self.web.client.get(path, headers=bearer(key))


@pytest.fixture
async def two(web: Web, line: Line) -> Two:
    bolt = await make_company(line.world, "Bolt")
    agent = await make_agent(line.world, bolt, name="bolt agent")
    store = await add_store(line, "s1", bolt, agent)
    line.partner.register("q", [line.secret])
    await make_destination(line.world, bolt, agent, f"{line.partner.base_url}/hook/q", line.secret, name="bolt partner")
    ago = line.clock.now() - timedelta(minutes=45)
    for number in range(2):
        line.store.add_cart("s0", f"acme-cart-{number}", ago, total="77.00")
    line.store.add_cart("s1", "bolt-cart", ago, total="5.00")
    await line.run()
    async with line.world.database.work() as tx:
        alarms = [
            Alarm(company, "integration", subject, Kind.NOT_ADVANCING.value, f"{name} stands still")
            for company, subject, name in ((line.company, line.integration, "Acme"), (bolt, store, "Bolt"))
        ]
        await AlertStore(tx).raise_all(alarms, line.clock.now())
    return Two(web, line, line.company, bolt)


@pytest.mark.parametrize("path", LISTS)
async def test_a_caller_of_one_company_is_told_nothing_of_another(two: Two, path: str) -> None:
    answer = await two.ask(path)
    told = [word for word in (two.acme, two.line.integration, "Acme", "acme-cart") if word in answer.text]
    assert (answer.status_code, told) == (200, [])


@pytest.mark.parametrize("path", NAMING)
async def test_a_caller_of_one_company_sees_what_is_theirs(two: Two, path: str) -> None:
    text = (await two.ask(path)).text
    assert "bolt-cart" in text if path == "/carts" else "Bolt" in text


@pytest.mark.parametrize("path", NAMING)
async def test_a_caller_of_all_companies_sees_both(two: Two, path: str) -> None:
    text = (await two.ask(path, company=None)).text
    assert ("Acme" in text, "Bolt" in text) == (True, True)


@pytest.mark.parametrize("path", CLOSED)
async def test_what_concerns_the_installation_stays_closed(two: Two, path: str) -> None:
    assert (await two.ask(path, Role.OWNER)).status_code == 403


class TestStatus:
    async def test_every_figure_is_the_company_s_own(self, two: Two) -> None:
        mine, all_of_it = [(await two.ask("/polling/status", company=who)).json() for who in ("bolt", None)]
        figures = [
            (told["totals"]["carts_new"], told["deliveries"]["delivered"], told["alerts_open"]) for told in
            (mine, all_of_it)
        ]  # fmt: skip
        assert figures == [(1, 1, 1), (3, 2, 2)]

    async def test_lanes_count_the_company_s_own_rows(self, two: Two) -> None:
        two.web.services.clock.now = lambda: two.line.clock.now() + timedelta(days=1)  # type: ignore[method-assign]
        counted = []
        for who in ("bolt", None):
            lanes = (await two.ask("/polling/status", company=who)).json()["lanes"]
            counted.append({lane["lane"]: lane["due"] for lane in lanes}["polls"])
        assert counted == [1, 2]

    async def test_workers_are_shown_to_callers_of_all_companies_only(self, two: Two) -> None:
        now = two.line.clock.now()
        worker = {"id": "w", "host": "inside", "pid": 7, "role": "runner", "runs_loops": True}
        async with two.web.services.database.work() as tx:
            await InstallationStore(tx).sign_in(worker | {"started_at": now, "seen_at": now})
        mine, all_of_it = [(await two.ask("/polling/status", company=who)).json() for who in ("bolt", None)]
        assert (mine["workers"], mine["fleet"], mine["loops_note"]) == ([], None, "")
        assert (all_of_it["workers"][0]["host"], all_of_it["fleet"]["workers_per_lane"]["polls"]) == ("inside", 1)

    @pytest.mark.parametrize("path", ["/polling/status", "/", "/console/live"])
    async def test_a_hold_is_told_without_its_reason(self, two: Two, path: str) -> None:
        await two.web.services.hold.hold("the partner of Acme moves")
        text = (await two.ask(path)).text
        assert ("held for the whole installation" in text, "Acme" in text) == (True, False)


class TestCycles:
    async def test_a_cycle_s_sums_are_the_company_s_own(self, two: Two) -> None:
        cycle = (await two.ask("/api/v1/cycles")).json()["items"][0]["cycle_id"]
        counted = [
            (await two.ask(f"/api/v1/cycles/{cycle}", company=who)).json()["carts_new"] for who in ("bolt", None)
        ]
        assert counted == [1, 3]

    async def test_the_value_in_a_list_is_the_company_s_own(self, two: Two) -> None:
        told = (await two.ask("/api/v1/cycles")).json()["items"][0]
        assert (told["total_recovery_value"], told["agents_found"]) == ({"USD": 5.0}, 1)


class TestFilters:
    @pytest.mark.parametrize("path", ["/carts", "/deliveries"])
    async def test_another_company_s_store_filters_like_one_that_does_not_exist(self, two: Two, path: str) -> None:
        answers = [
            (await two.ask(f"{path}?integration_id={store}")).text for store in (two.line.integration, "nowhere")
        ]
        assert answers[0].replace(two.line.integration, "nowhere") == answers[1]

    async def test_a_search_finds_nothing_of_another_company(self, two: Two) -> None:
        assert "No cart is like that" in (await two.ask("/carts?search=acme-cart")).text


class TestButtons:
    @pytest.mark.parametrize("role", [Role.VIEWER, Role.OWNER])
    async def test_a_company_s_callers_are_shown_no_button_of_the_installation(self, two: Two, role: Role) -> None:
        text = (await two.ask("/", role)).text
        assert [word for word in ("<button", "/console/hold", "/console/start") if word in text] == []

    @pytest.mark.parametrize(("role", "shown"), [(Role.VIEWER, False), (Role.OPERATOR, True)])
    async def test_the_buttons_are_shown_to_those_who_may_press_them(self, two: Two, role: Role, shown: bool) -> None:
        texts = [(await two.ask(path, role, None)).text for path in ("/", "/console/hold")]
        assert ["<button" in text for text in texts] == [shown, shown]

    @pytest.mark.parametrize(("role", "shown"), [(Role.VIEWER, False), (Role.ANALYST, True)])
    @pytest.mark.parametrize("path", ["/carts", "/deliveries", "/"])
    async def test_details_are_linked_for_those_who_may_open_them(
        self, two: Two, path: str, role: Role, shown: bool
    ) -> None:
        assert (f"/{two.bolt}/" in (await two.ask(path, role)).text) == shown


class TestSeveralCompanies:
    """A person may be known in several companies, and sees these together."""

    @pytest.fixture
    async def third(self, two: Two) -> frozenset[str]:
        """Return Bolt and a third company; Acme is not among them."""
        return frozenset({two.bolt, await make_company(two.line.world, "Cask")})

    async def test_lists_are_of_these_companies(self, two: Two, third: frozenset[str]) -> None:
        overview = two.web.services.overview
        found = [
            await overview.carts(third, CartFilter(), Paging()),
            await overview.deliveries(third, DeliveryFilter(), Paging()),
            await two.web.services.alerts.alerts(third, None, Paging()),
        ]
        assert [{row["company"] for row in listed.items} for listed in found] == [{"Bolt"}] * 3
        assert {row.name for row in (await two.web.services.companies.list(only=third)).items} == {"Bolt", "Cask"}

    async def test_figures_are_of_these_companies(self, two: Two, third: frozenset[str]) -> None:
        status, console = await two.web.services.poller.status(third), await two.web.services.overview.console(third)
        assert (status["totals"]["carts_new"], len(status["integrations"])) == (1, 1)
        assert console["counts"] == {"companies": 2, "company_agents": 1, "integrations": 1, "destinations": 1}
        assert (console["cart_states"], len(console["destinations"])) == ({"abandoned": 1}, 1)

    async def test_a_caller_of_none_sees_nothing(self, two: Two) -> None:
        nobody: frozenset[str] = frozenset()
        listed = await two.web.services.overview.carts(nobody, CartFilter(), Paging())
        assert (listed.items, (await two.web.services.poller.status(nobody))["integrations"]) == ([], [])


class TestACompanyItself:
    """Name, status and weight of a company concern the others: whether a name is free tells of theirs."""

    async def change(self, two: Two, company: str | None, **changes: Any) -> httpx.Response:
        key = await key_of(two.web, Role.OWNER, company)
        return await two.web.client.patch(f"/api/v1/companies/{two.bolt}", json=changes, headers=bearer(key))

    @pytest.mark.parametrize(
        "changes", [{"name": "Acme"}, {"name": "Free"}, {"weight": 9}, {"status": "active"}], ids=str
    )
    async def test_its_own_people_cannot_change_what_concerns_others(self, two: Two, changes: dict[str, Any]) -> None:
        answer = await self.change(two, two.bolt, **changes)
        assert (answer.status_code, "in all companies" in answer.json()["detail"]) == (403, True)

    async def test_its_own_people_change_its_card(self, two: Two) -> None:
        assert (await self.change(two, two.bolt, country="US")).json()["country"] == "US"

    async def test_an_operator_of_all_companies_changes_everything(self, two: Two) -> None:
        answer = await self.change(two, None, name="Bolt & Co", weight=2)
        assert (answer.status_code, answer.json()["name"], answer.json()["weight"]) == (200, "Bolt & Co", 2)


async def test_alerts_of_a_company_that_is_not_there_are_not_found(two: Two) -> None:
    with pytest.raises(NotFound):
        await two.web.services.alerts.alerts_of("nowhere", None, Paging())
