"""Owners over people: invitations, roles, shutting out, new passwords, lost second factors."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pyotp
import pytest

from backend.domain.access import LOCAL_OWNER as LOCAL
from backend.domain.access import Role
from backend.domain.people import LinkKind
from tests.factories import make_company
from tests.routers.conftest import Web
from tests.routers.persons import PASSWORD, Signed, code_of, make_person, sign_in, signed_in
from tests.routers.test_account import Hands, clock, whoami
from tests.routers.test_keys import bearer, key_of

__all__ = ["clock"]

API = "/api/v1"


async def invited(web: Web, email: str = "bob@example.com", path: str = "", **body: Any) -> Any:
    answer = await web.client.post(f"{API}{path}/invitations", json={"email": email, "role": "viewer"} | body)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def join(web: Web, made: Any, **body: Any) -> Any:
    given = {"code": code_of(made["url"]), "name": "Bob", "password": PASSWORD} | body
    return await web.client.post(f"{API}/account/join", json=given)


async def test_an_invitation_works_once(web: Web) -> None:
    made = await invited(web)
    assert [(await join(web, made)).status_code for _ in range(2)] == [201, 409]


async def test_an_invitation_that_was_taken_back_does_not_work(web: Web) -> None:
    made = await invited(web)
    assert (await web.client.delete(f"{API}/invitations/{made['link']['id']}")).status_code == 204
    assert (await join(web, made)).status_code == 409


async def test_an_invitation_is_over_after_a_week(web: Web, clock: Hands) -> None:
    made = await invited(web)
    clock.forward(LinkKind.INVITATION.life + timedelta(seconds=1))
    assert (await join(web, made)).status_code == 409


@pytest.mark.parametrize("code", ["x", "a.b.c", "é", "x" * 2_000])
async def test_a_code_that_is_none_of_ours_is_refused(web: Web, code: str) -> None:
    assert (await join(web, {"url": f"#{code}"})).status_code == 409


async def test_a_failed_try_does_not_use_an_invitation_up(web: Web) -> None:
    made = await invited(web)
    assert [(await join(web, made, password="short")).status_code, (await join(web, made)).status_code] == [422, 201]


async def test_whoever_has_an_account_comes_in_with_its_password_only(web: Web) -> None:
    company = await make_company(web.world, "Acme")
    person = await make_person(web, "bob@example.com", Role.VIEWER)
    made = await invited(web, path=f"/companies/{company}", role="operator")
    answers = [await join(web, made, password="some words of a stranger"), await join(web, made)]
    assert [answer.status_code for answer in answers] == [403, 201]
    grants = (await web.services.people.load(person)).grants
    assert {(grant.role, grant.company_id) for grant in grants} == {(Role.VIEWER, None), (Role.OPERATOR, company)}


async def test_an_invitation_never_takes_a_higher_role_away(web: Web) -> None:
    person = await make_person(web, "bob@example.com", Role.OPERATOR)
    await join(web, await invited(web, role="viewer"))
    assert [grant.role for grant in (await web.services.people.load(person)).grants] == [Role.OPERATOR]


async def test_open_invitations_are_listed_without_their_codes(web: Web) -> None:
    made = await invited(web)
    listed = (await web.client.get(f"{API}/invitations")).json()
    assert [row["email"] for row in listed["items"]] == ["bob@example.com"]
    assert code_of(made["url"]) not in str(listed)


@pytest.mark.parametrize("email", ["no address", "a@b", "two@@example.com", "x" * 260 + "@example.com", ""])
async def test_what_is_no_address_is_not_invited(web: Web, email: str) -> None:
    answer = await web.client.post(f"{API}/invitations", json={"email": email, "role": "viewer"})
    assert answer.status_code == 422


async def test_a_changed_role_counts_at_once(web: Web) -> None:
    ada = await signed_in(web, role=Role.VIEWER)
    answers = [(await web.client.post("/polling/start", headers=ada.headers)).status_code]
    await web.client.put(f"{API}/people/{ada.person_id}/role", json={"role": "operator"})
    answers.append((await web.client.post("/polling/start", headers=ada.headers)).status_code)
    await web.client.put(f"{API}/people/{ada.person_id}/role", json={"role": None})
    answers.append((await web.client.get("/polling/status", headers=ada.headers)).status_code)
    assert answers == [403, 200, 403]


class TestLastOwner:
    """Nobody can leave the installation without anybody who lets people in."""

    @pytest.fixture
    async def ada(self, web: Web) -> Signed:
        return await signed_in(web)

    async def test_the_last_owner_keeps_the_role(self, web: Web, ada: Signed) -> None:
        path = f"{API}/people/{ada.person_id}/role"
        answers = [await web.client.put(path, json={"role": role}) for role in ("viewer", None)]
        assert [answer.status_code for answer in answers] == [409, 409]

    async def test_the_last_owner_is_not_shut_out(self, web: Web, ada: Signed) -> None:
        assert (await web.client.post(f"{API}/people/{ada.person_id}/disable")).status_code == 409

    async def test_with_another_owner_one_may_go(self, web: Web, ada: Signed) -> None:
        await make_person(web, "bob@example.com", Role.OWNER)
        assert (await web.client.post(f"{API}/people/{ada.person_id}/disable")).status_code == 200

    async def test_an_owner_who_is_shut_out_does_not_count(self, web: Web, ada: Signed) -> None:
        bob = await make_person(web, "bob@example.com", Role.OWNER)
        await web.client.post(f"{API}/people/{bob}/disable")
        assert (await web.client.post(f"{API}/people/{ada.person_id}/disable")).status_code == 409


async def test_whoever_is_shut_out_is_out_at_once_and_their_invitations_too(web: Web) -> None:
    await make_person(web, "bob@example.com", Role.OWNER)
    ada = await signed_in(web)
    body = {"email": "eve@example.com", "role": "owner"}
    made = (await web.client.post(f"{API}/invitations", json=body, headers=ada.headers)).json()
    await web.client.post(f"{API}/people/{ada.person_id}/disable")
    assert [await whoami(web, ada.tokens["access_token"]), (await sign_in(web)).status_code] == [401, 401]
    assert (await join(web, made)).status_code == 409


async def test_whoever_is_let_in_again_signs_in_with_the_old_roles(web: Web) -> None:
    person = await make_person(web, "bob@example.com", Role.VIEWER)
    for deed in ("disable", "enable"):
        await web.client.post(f"{API}/people/{person}/{deed}")
    assert (await sign_in(web, "bob@example.com")).status_code == 201


async def test_an_owner_ends_all_sessions_of_a_person(web: Web) -> None:
    ada = await signed_in(web)
    answer = await web.client.post(f"{API}/people/{ada.person_id}/sign-out")
    assert (answer.json(), await whoami(web, ada.tokens["access_token"])) == ({"sessions": 1}, 401)


class TestNewPassword:
    async def test_a_link_sets_a_new_password_and_ends_every_session(self, web: Web) -> None:
        ada = await signed_in(web)
        made = (await web.client.post(f"{API}/people/{ada.person_id}/reset")).json()
        new = "five quiet rivers and a drum"
        assert (await join(web, made, password=new)).status_code == 201
        assert [await whoami(web, ada.tokens["access_token"]), (await sign_in(web)).status_code] == [401, 401]
        assert (await sign_in(web, password=new)).status_code == 201

    async def test_it_is_over_after_an_hour(self, web: Web, clock: Hands) -> None:
        person = await make_person(web)
        made = (await web.client.post(f"{API}/people/{person}/reset")).json()
        clock.forward(LinkKind.RESET.life + timedelta(seconds=1))
        assert (await join(web, made)).status_code == 409

    async def test_a_newer_link_takes_the_older_one_s_place(self, web: Web) -> None:
        person = await make_person(web)
        links = [(await web.client.post(f"{API}/people/{person}/reset")).json() for _ in range(2)]
        assert [(await join(web, each)).status_code for each in links] == [409, 201]

    async def test_it_does_not_pass_by_the_second_factor(self, web: Web) -> None:
        ada = await signed_in(web)
        await enrol(web, ada)
        made = (await web.client.post(f"{API}/people/{ada.person_id}/reset")).json()
        await join(web, made)
        assert (await sign_in(web)).status_code == 401


async def enrol(web: Web, ada: Signed) -> None:
    path = f"{API}/account/second-factor"
    begun = await web.client.post(path, json={"password": PASSWORD}, headers=ada.headers)
    code = pyotp.TOTP(begun.json()["secret"]).at(web.services.clock.now())
    done = await web.client.post(f"{path}/confirm", json={"code": code}, headers=ada.headers)
    assert done.status_code == 201


async def test_an_owner_takes_a_lost_second_factor_away(web: Web) -> None:
    ada = await signed_in(web)
    await enrol(web, ada)
    await web.client.delete(f"{API}/people/{ada.person_id}/second-factor")
    assert [await whoami(web, ada.tokens["access_token"]), (await sign_in(web)).status_code] == [401, 201]


class TestCompany:
    """A company's owner sees and changes what is theirs."""

    @pytest.fixture
    async def companies(self, web: Web) -> tuple[str, str]:
        return await make_company(web.world, "Acme"), await make_company(web.world, "Bolt")

    async def test_they_see_only_who_has_a_role_there_and_only_that_role(
        self, web: Web, companies: tuple[str, str]
    ) -> None:
        mine, other = companies
        ada = await signed_in(web, company=mine)
        bob = await make_person(web, "bob@example.com", Role.VIEWER, mine)
        await web.services.people.set_role(other, bob, Role.OWNER, LOCAL)
        await make_person(web, "eve@example.com", Role.VIEWER, other)
        answer = await web.client.get(f"{API}/companies/{mine}/people", headers=ada.headers)
        shown = {row["email"]: [grant["company_id"] for grant in row["grants"]] for row in answer.json()["items"]}
        assert shown == {"ada@example.com": [mine], "bob@example.com": [mine]}

    async def test_they_change_nobody_who_has_no_role_there(self, web: Web, companies: tuple[str, str]) -> None:
        mine, other = companies
        ada = await signed_in(web, company=mine)
        eve = await make_person(web, "eve@example.com", Role.VIEWER, other)
        path = f"{API}/companies/{mine}/people/{eve}/role"
        assert (await web.client.put(path, json={"role": "owner"}, headers=ada.headers)).status_code == 404

    @pytest.mark.parametrize("path", ["/people", "/invitations"])
    async def test_they_do_not_reach_the_installation_s_people(
        self, web: Web, companies: tuple[str, str], path: str
    ) -> None:
        ada = await signed_in(web, company=companies[0])
        assert (await web.client.get(f"{API}{path}", headers=ada.headers)).status_code == 403

    async def test_they_do_not_reset_anybody_s_password(self, web: Web, companies: tuple[str, str]) -> None:
        ada = await signed_in(web, company=companies[0])
        answer = await web.client.post(f"{API}/people/{ada.person_id}/reset", headers=ada.headers)
        assert answer.status_code == 403


@pytest.mark.parametrize("limit", [{"scopes": ("people:write",)}, {"expires_in_days": 1}], ids=["narrowed", "ending"])
async def test_a_key_that_is_less_than_an_owner_for_good_lets_nobody_in(web: Web, limit: dict[str, Any]) -> None:
    headers = bearer(await key_of(web, Role.OWNER, **limit))
    person = await make_person(web, role=Role.VIEWER)
    answers = [
        await web.client.post(f"{API}/invitations", json={"email": "e@example.com", "role": "owner"}, headers=headers),
        await web.client.put(f"{API}/people/{person}/role", json={"role": "owner"}, headers=headers),
        await web.client.post(f"{API}/people/{person}/reset", headers=headers),
        await web.client.delete(f"{API}/people/{person}/second-factor", headers=headers),
    ]
    assert [answer.status_code for answer in answers] == [403] * 4


async def test_a_link_is_no_way_to_guess_a_password_faster(web: Web) -> None:
    await make_person(web, "bob@example.com", Role.VIEWER)
    made = await invited(web)
    answers = [await join(web, made, password=f"some words of a stranger {number}") for number in range(11)]
    assert [answer.status_code for answer in answers] == [403] * 10 + [429]


async def test_an_older_invitation_does_not_give_back_what_was_taken_away(web: Web) -> None:
    first, spare = await invited(web, role="owner"), await invited(web, role="owner")
    person = (await join(web, first)).json()["person_id"]
    await make_person(web)
    await web.client.put(f"{API}/people/{person}/role", json={"role": "viewer"})
    assert (await join(web, spare)).status_code == 409


async def test_a_revoked_key_s_invitations_are_taken_back(web: Web) -> None:
    key = await key_of(web, Role.OWNER)
    body = {"email": "bob@example.com", "role": "owner"}
    made = (await web.client.post(f"{API}/invitations", json=body, headers=bearer(key))).json()
    (holder,) = (await web.services.keys.list(None)).items
    await web.services.keys.revoke(None, holder.id)
    assert (await join(web, made)).status_code == 409


async def test_who_is_no_owner_any_more_has_invited_nobody(web: Web) -> None:
    await make_person(web, "bob@example.com", Role.OWNER)
    ada = await signed_in(web)
    body = {"email": "eve@example.com", "role": "owner"}
    made = (await web.client.post(f"{API}/invitations", json=body, headers=ada.headers)).json()
    await web.client.put(f"{API}/people/{ada.person_id}/role", json={"role": "viewer"})
    assert (await join(web, made)).status_code == 409


async def test_a_card_s_number_is_nobody_s_name(web: Web) -> None:
    answer = await web.client.post(f"{API}/companies", json={"name": "Shop 4111 1111 1111 1111"})
    assert (answer.status_code, "payment card" in answer.text) == (422, True)
