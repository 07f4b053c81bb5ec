"""Every route that changes something writes who did it, in the commit of what was done."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError

from backend.domain.access import Role
from backend.domain.audit import INSTALLATION
from backend.models import audit_log
from backend.routers import people_pages
from backend.routers.guard import routes_of
from backend.store.people import PeopleStore
from tests.factories import make_agent, make_company, make_destination, make_integration
from tests.routers.conftest import Web
from tests.routers.persons import make_person
from tests.routers.test_keys import bearer, key_of
from tests.routers.test_roles import GUARDED, methods_of, needed

# They look at a store and change nothing; what a press on a page does, the route behind it does.
CHANGES_NOTHING = {"verify_draft", "verify_integration"}
# What people do with their own account: test_account.py.
OWN_ACCOUNT = {route.name for route in GUARDED if needed(route).role is None}
# Buttons of people_pages.py, which call what the routes do: test_account_pages.py.
BUTTONS = {route.name for route in routes_of(people_pages.router)}


class Scene:
    """A company with an agent, a store and a destination, and a key that changes them."""

    def __init__(self, web: Web, company: str, ids: dict[str, str], headers: dict[str, str]) -> None:
        self.web, self.company, self.ids, self.headers = web, company, ids, headers

    async def ask(self, method: str, path: str, body: Any = None) -> Any:
        path = path.format(c=f"/api/v1/companies/{self.company}", **self.ids)
        answer = await self.web.client.request(method, path, json=body, headers=self.headers)
        assert answer.status_code < 300, (path, answer.text)
        return answer.json() if answer.content else None

    async def press(self, path: str, **form: str) -> None:
        answer = await self.web.client.post(path, data=form, headers=self.headers)
        assert answer.status_code < 400, (path, answer.text)

    async def records(self) -> list[Any]:
        async with self.web.world.database.overview() as tx:
            query = select(audit_log).where(audit_log.c.company_id.in_([self.company, INSTALLATION]))
            return list(await tx.execute(query.order_by(audit_log.c.at, audit_log.c.seq)))


@pytest.fixture
async def scene(web: Web) -> Scene:
    company = await make_company(web.world, "Acme")
    agent = await make_agent(web.world, company, id="agent")
    ids = {
        "agent": agent,
        "store": await make_integration(web.world, company, agent, platform="mock", settings={}, credentials={}),
        "partner": await make_destination(web.world, company, agent, "https://partner.example/hook"),
    }
    return Scene(web, company, ids, bearer(await key_of(web, Role.OWNER)))


Deed = Callable[[Scene], Awaitable[Any]]


def asking(method: str, path: str, body: Any = None) -> Deed:
    async def deed(scene: Scene) -> None:
        await scene.ask(method, path, body)

    return deed


def pressing(path: str, *before: str, **form: str) -> Deed:
    async def deed(scene: Scene) -> None:
        for each in (*before, path):
            await scene.press(each, **form)

    return deed


def on_key(path: str, method: str, rest: str = "") -> Deed:
    async def deed(scene: Scene) -> None:
        made = await scene.ask("POST", path, {"name": "k", "role": "viewer"})
        await scene.ask(method, f"{path}/{made['api_key']['id']}{rest}")

    return deed


async def release(scene: Scene) -> None:
    await scene.ask("POST", "/deliveries/hold", {"reason": "why"})
    await scene.ask("POST", "/deliveries/release")


async def stop(scene: Scene) -> None:
    await scene.ask("POST", "/polling/start")
    await scene.ask("POST", "/polling/stop")


def on_person(method: str, rest: str, body: Any = None, first: str = "") -> Deed:
    async def deed(scene: Scene) -> None:
        path = f"/api/v1/people/{await person(scene)}"
        if first:
            await scene.ask("POST", path + first)
        await scene.ask(method, path + rest, body)

    return deed


async def person(scene: Scene) -> str:
    """Let somebody in who has a second factor; return their id."""
    made = await make_person(scene.web, role=Role.VIEWER, company=scene.company)
    async with scene.web.world.database.work() as tx:
        await PeopleStore(tx).change(made, has_second_factor=True, totp_sealed=b"x", totp_key_version=1)
    return made


async def set_role_in_company(scene: Scene) -> None:
    await scene.ask("PUT", f"{{c}}/people/{await person(scene)}/role", {"role": "operator"})


def withdrawing(place: str) -> Deed:
    async def deed(scene: Scene) -> None:
        made = await scene.ask("POST", f"{place}/invitations", ADA)
        await scene.ask("DELETE", f"{place}/invitations/{made['link']['id']}")

    return deed


ADA = {"email": "ada@example.com", "role": "viewer"}
STORE = {"agent_id": "agent", "name": "second", "platform": "mock"}
PARTNER = {"agent_id": "agent", "name": "second", "url": "https://partner.example/hook"}
# Route -> what makes it change something, and the last record that is then there.
DEEDS: dict[str, tuple[Deed, str]] = {
    "start": (asking("POST", "/polling/start"), "polling.started"),
    "stop": (stop, "polling.stopped"),
    "test_once": (asking("POST", "/polling/abandoned-cart/test-once"), "polling.test_once"),
    "create_company": (asking("POST", "/api/v1/companies", {"name": "Bolt"}), "key.created"),
    "change_company": (asking("PATCH", "{c}", {"country": "US"}), "company.changed"),
    "remove_company": (asking("DELETE", "{c}"), "company.removed"),
    "create_agent": (asking("POST", "{c}/agents", {"name": "second"}), "agent.created"),
    "change_agent": (asking("PATCH", "{c}/agents/{agent}", {"name": "b"}), "agent.changed"),
    "remove_agent": (asking("DELETE", "{c}/agents/{agent}"), "agent.removed"),
    "create_integration": (asking("POST", "{c}/integrations", STORE), "integration.created"),
    "change_integration": (asking("PATCH", "{c}/integrations/{store}", {"name": "b"}), "integration.changed"),
    "rotate_credentials": (
        asking("PUT", "{c}/integrations/{store}/credentials", {"credentials": {}}),
        "integration.credentials_rotated",
    ),
    "pause_integration": (asking("POST", "{c}/integrations/{store}/pause"), "integration.paused"),
    "resume_integration": (asking("POST", "{c}/integrations/{store}/resume"), "integration.resumed"),
    "remove_integration": (asking("DELETE", "{c}/integrations/{store}"), "integration.removed"),
    "create_destination": (asking("POST", "{c}/destinations", PARTNER), "destination.created"),
    "change_destination": (asking("PATCH", "{c}/destinations/{partner}", {"name": "b"}), "destination.changed"),
    "rotate_secret": (asking("PUT", "{c}/destinations/{partner}/secret", {}), "destination.secret_rotated"),
    "drop_old_secrets": (asking("POST", "{c}/destinations/{partner}/drop-old-secrets"), "destination.secret_rotated"),
    "remove_destination": (asking("DELETE", "{c}/destinations/{partner}"), "destination.removed"),
    "hold": (asking("POST", "/deliveries/hold", {"reason": "why"}), "deliveries.held"),
    "release": (release, "deliveries.released"),
    "create_key": (asking("POST", "/api/v1/keys", {"name": "k", "role": "viewer"}), "key.created"),
    "rotate_key": (on_key("/api/v1/keys", "POST", "/rotate"), "key.rotated"),
    "revoke_key": (on_key("/api/v1/keys", "DELETE"), "key.revoked"),
    "create_key_of_company": (asking("POST", "{c}/keys", {"name": "k", "role": "viewer"}), "key.created"),
    "rotate_key_of_company": (on_key("{c}/keys", "POST", "/rotate"), "key.rotated"),
    "revoke_key_of_company": (on_key("{c}/keys", "DELETE"), "key.revoked"),
    "set_role": (on_person("PUT", "/role", {"role": "viewer"}), "role.given"),
    "disable_person": (on_person("POST", "/disable"), "person.disabled"),
    "enable_person": (on_person("POST", "/enable", first="/disable"), "person.enabled"),
    "sign_out_person": (on_person("POST", "/sign-out"), "person.signed_out"),
    "reset_password": (on_person("POST", "/reset"), "password.reset_offered"),
    "forget_second_factor": (on_person("DELETE", "/second-factor"), "second_factor.removed"),
    "set_role_in_company": (set_role_in_company, "role.given"),
    "invite": (asking("POST", "/api/v1/invitations", ADA), "person.invited"),
    "invite_to_company": (asking("POST", "{c}/invitations", ADA), "person.invited"),
    "withdraw_invitation": (withdrawing("/api/v1"), "invitation.withdrawn"),
    "withdraw_invitation_of_company": (withdrawing("{c}"), "invitation.withdrawn"),
    "press_start": (pressing("/console/start", interval="60"), "polling.started"),
    "press_stop": (pressing("/console/stop", "/console/start", interval="60"), "polling.stopped"),
    "press_test_once": (pressing("/console/test-once"), "polling.test_once"),
    "press_hold": (pressing("/console/hold", reason="why"), "deliveries.held"),
    "press_release": (pressing("/console/release", "/console/hold", reason="why"), "deliveries.released"),
}


def test_every_route_that_changes_something_is_looked_at() -> None:
    changing = {route.name for route in GUARDED if not {"GET", "HEAD"}.issuperset(methods_of(route))}
    assert changing - CHANGES_NOTHING - OWN_ACCOUNT - BUTTONS == set(DEEDS)


@pytest.mark.parametrize("name", DEEDS)
async def test_a_change_is_recorded_with_who_made_it(scene: Scene, name: str) -> None:
    deed, action = DEEDS[name]
    before = len(await scene.records())
    await deed(scene)
    records = await scene.records()
    (holder,) = [row.id for row in (await scene.web.services.keys.list(None)).items if row.name == "k"][-1:]
    if name == "create_company":  # its record begins a chain of its own
        companies = (await scene.web.services.companies.list()).items
        page = await scene.web.services.audit.records(next(row.id for row in companies if row.name == "Bolt"))
        assert [(each.actor, each.action) for each in page.items] == [(f"key:{holder}", "company.created")]
    else:
        assert len(records) > before
        assert (records[-1].actor, records[-1].action) == (f"key:{holder}", action)


async def test_what_was_refused_is_not_recorded(scene: Scene) -> None:
    before = len(await scene.records())
    path = f"/api/v1/companies/{scene.company}/agents"
    answers = [
        await scene.web.client.post(path, json={"name": ""}, headers=scene.headers),
        await scene.web.client.delete(f"{path}/nobody", headers=scene.headers),
        await scene.web.client.patch(
            f"{path}/agent", json={"name": "x"}, headers=bearer(await key_of(scene.web, Role.VIEWER))
        ),
    ]
    assert [answer.status_code for answer in answers] == [422, 404, 403]
    assert len(await scene.records()) == before + 1  # the viewer's key


async def test_a_company_s_chain_shows_what_was_done_in_it_and_no_value(scene: Scene) -> None:
    await scene.ask("PATCH", "{c}", {"phone": "+1 555 0100"})
    (record,) = (await scene.ask("GET", "{c}/audit"))["items"]
    assert (record["action"], record["details"], record["subject"]) == (
        "company.changed", {"fields": ["phone"]}, scene.company,
    )  # fmt: skip


async def test_a_chain_is_listed_in_pages(scene: Scene) -> None:
    for name in "abc":
        await scene.ask("PATCH", "{c}", {"name": name})
    first = await scene.ask("GET", "{c}/audit?limit=2")
    rest = await scene.ask("GET", f"{{c}}/audit?limit=2&after={first['next']}")
    assert ([row["seq"] for row in first["items"] + rest["items"]], rest["next"]) == ([3, 2, 1], None)


@pytest.mark.parametrize("after", ["x", "-1", "1.5", "9" * 30])
async def test_a_place_that_is_not_ours_is_refused(scene: Scene, after: str) -> None:
    path = f"/api/v1/companies/{scene.company}/audit"
    assert (await scene.web.client.get(path, params={"after": after})).status_code == 422


async def run_as(scene: Scene, role: str, statement: str) -> None:
    async with scene.web.world.database.engine.begin() as connection:
        await connection.execute(text(f"SET LOCAL ROLE {role}"))
        await connection.execute(text(statement))


@pytest.mark.parametrize("role", ["cart_app", "cart_worker"])
@pytest.mark.parametrize("table", ["audit_log", "audit_heads"])
async def test_no_role_may_change_or_delete_a_record(scene: Scene, role: str, table: str) -> None:
    if scene.web.world.database.is_sqlite:
        pytest.skip("SQLite has no roles")
    for statement in (f"DELETE FROM {table}", f"UPDATE {table} SET seq = 0"):
        with pytest.raises(DBAPIError, match="permission denied"):
            await run_as(scene, role, statement)
