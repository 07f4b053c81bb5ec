"""People over the API: signing in, tokens that rotate, sessions that end, passwords, second factors."""

from __future__ import annotations

import base64
import json
from datetime import datetime, timedelta
from typing import Any

import jwt
import pyotp
import pytest
from sqlalchemy import select

from backend.clock import Clock
from backend.domain.access import Role
from backend.domain.people import ACCESS_LIFE, LEEWAY, SESSION_LIFE, UNUSED_LIFE
from backend.models import audit_log, people, sessions
from tests.factories import make_company
from tests.routers.conftest import Web
from tests.routers.persons import PASSWORD, Signed, make_person, sign_in, signed_in
from tests.routers.test_keys import bearer, key_of

API = "/api/v1/account"


class Hands:
    """Moves the clock that every service of the app goes by."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def now(self) -> datetime:
        return self._clock.now()

    def forward(self, by: timedelta) -> None:
        self._clock.follow(self._clock.now() + by)


@pytest.fixture
def clock(web: Web) -> Hands:
    return Hands(web.services.clock)


async def whoami(web: Web, token: str) -> int:
    return (await web.client.get(API, headers=bearer(token))).status_code


async def refreshed(web: Web, token: str) -> Any:
    return await web.client.post(f"{API}/refresh", json={"refresh_token": token})


async def deeds(web: Web) -> list[tuple[str, str]]:
    async with web.world.database.overview() as tx:
        query = select(audit_log.c.actor, audit_log.c.action).order_by(audit_log.c.at, audit_log.c.seq)
        return [(actor, action) for actor, action in await tx.execute(query)]


async def test_a_person_signs_in_and_is_known(web: Web) -> None:
    ada = await signed_in(web)
    answer = (await web.client.get(API, headers=ada.headers)).json()
    assert (answer["id"], answer["email"], answer["grants"]) == (
        ada.person_id, "ada@example.com", [{"role": "owner", "company_id": None}],
    )  # fmt: skip


async def test_a_person_may_what_their_role_allows(web: Web) -> None:
    ada = await signed_in(web, role=Role.ANALYST)
    answers = [
        await web.client.get("/polling/status", headers=ada.headers),
        await web.client.post("/polling/start", headers=ada.headers),
    ]
    assert [answer.status_code for answer in answers] == [200, 403]


async def test_a_person_of_one_company_does_not_know_another(web: Web) -> None:
    mine, other = await make_company(web.world, "Acme"), await make_company(web.world, "Bolt")
    ada = await signed_in(web, company=mine)
    answers = [await web.client.get(f"/api/v1/companies/{one}/agents", headers=ada.headers) for one in (mine, other)]
    assert [answer.status_code for answer in answers] == [200, 404]


@pytest.mark.parametrize(
    "wrong",
    [{"email": "eve@example.com"}, {"password": "copper lantern under ten stairs"}, {"email": "no address"}],
    ids=["unknown", "password", "no address"],
)
async def test_what_is_wrong_is_not_told(web: Web, wrong: dict[str, str]) -> None:
    await make_person(web)
    answer = await sign_in(web, **wrong)
    assert (answer.status_code, answer.json()["detail"]) == (401, "the e-mail address or the password is not right")


async def test_an_address_is_the_same_in_capital_letters(web: Web) -> None:
    await make_person(web)
    assert (await sign_in(web, email="Ada@Example.com")).status_code == 201


async def test_a_password_is_the_same_however_it_was_typed(web: Web) -> None:
    await make_person(web)
    wide = "".join(chr(ord(each) + 0xFEE0) if "!" <= each <= "~" else each for each in PASSWORD)
    assert (await sign_in(web, password=wide)).status_code == 201


async def test_a_password_is_kept_as_argon2id_only(web: Web) -> None:
    await make_person(web)
    async with web.world.database.overview() as tx:
        (stored,) = (await tx.execute(select(people.c.password_hash))).scalars()
    assert stored.startswith("$argon2id$v=19$m=19456,t=2,p=1$")


async def test_a_guesser_is_made_to_wait_and_told_how_long(web: Web) -> None:
    await make_person(web)
    answers = [await sign_in(web, password=f"wrong wrong wrong {number}") for number in range(11)]
    assert [answer.status_code for answer in answers] == [401] * 10 + [429]
    assert int(answers[-1].headers["retry-after"]) > 0


async def test_whoever_knows_the_password_may_sign_in_often(web: Web) -> None:
    await make_person(web)
    assert {(await sign_in(web)).status_code for _ in range(15)} == {201}


async def test_an_access_token_is_over_after_a_quarter_of_an_hour(web: Web, clock: Hands) -> None:
    ada = await signed_in(web)
    clock.forward(ACCESS_LIFE)
    assert await whoami(web, ada.tokens["access_token"]) == 401


async def test_a_refresh_token_brings_new_tokens(web: Web, clock: Hands) -> None:
    ada = await signed_in(web)
    clock.forward(ACCESS_LIFE)
    new = (await refreshed(web, ada.tokens["refresh_token"])).json()
    assert await whoami(web, new["access_token"]) == 200


async def test_a_refresh_token_that_comes_twice_ends_the_session_for_thief_and_owner(web: Web, clock: Hands) -> None:
    ada = await signed_in(web)
    new = (await refreshed(web, ada.tokens["refresh_token"])).json()
    clock.forward(LEEWAY + timedelta(seconds=1))
    assert (await refreshed(web, ada.tokens["refresh_token"])).status_code == 401
    assert [await whoami(web, new["access_token"]), (await refreshed(web, new["refresh_token"])).status_code] == [
        401,
        401,
    ]
    assert (f"person:{ada.person_id}", "session.reused") in await deeds(web)


async def test_two_requests_at_once_with_one_refresh_token_do_no_harm(web: Web) -> None:
    ada = await signed_in(web)
    first, second = [(await refreshed(web, ada.tokens["refresh_token"])).json() for _ in range(2)]
    assert [await whoami(web, each["access_token"]) for each in (first, second)] == [200, 200]
    assert (await refreshed(web, second["refresh_token"])).status_code == 200


async def test_an_unused_session_ends(web: Web, clock: Hands) -> None:
    ada = await signed_in(web)
    clock.forward(UNUSED_LIFE)
    assert (await refreshed(web, ada.tokens["refresh_token"])).status_code == 401


async def test_every_session_ends_at_last(web: Web, clock: Hands) -> None:
    token = (await signed_in(web)).tokens["refresh_token"]
    steps = int(SESSION_LIFE / (UNUSED_LIFE / 2))
    statuses = []
    for _ in range(steps):
        clock.forward(UNUSED_LIFE / 2)
        answer = await refreshed(web, token)
        statuses.append(answer.status_code)
        token = answer.json().get("refresh_token", token)
    assert statuses == [200] * (steps - 1) + [401]


async def test_a_session_that_was_ended_is_refused_at_once(web: Web) -> None:
    ada = await signed_in(web)
    path = f"{API}/sessions/{ada.tokens['session_id']}"
    assert (await web.client.delete(path, headers=ada.headers)).status_code == 204
    assert [
        await whoami(web, ada.tokens["access_token"]),
        (await refreshed(web, ada.tokens["refresh_token"])).status_code,
    ] == [401, 401]


async def test_sessions_are_listed_and_ended_one_by_one(web: Web) -> None:
    ada = await signed_in(web)
    other = (await sign_in(web)).json()
    items = (await web.client.get(f"{API}/sessions", headers=ada.headers)).json()["items"]
    assert {row["id"]: row["is_current"] for row in items} == {
        ada.tokens["session_id"]: True,
        other["session_id"]: False,
    }
    await web.client.delete(f"{API}/sessions/{other['session_id']}", headers=ada.headers)
    assert [await whoami(web, other["access_token"]), await whoami(web, ada.tokens["access_token"])] == [401, 200]


async def test_nobody_ends_somebody_else_s_session(web: Web) -> None:
    ada, bob = await signed_in(web), await signed_in(web, "bob@example.com", Role.VIEWER)
    path = f"{API}/sessions/{ada.tokens['session_id']}"
    assert (await web.client.delete(path, headers=bob.headers)).status_code == 404
    assert await whoami(web, ada.tokens["access_token"]) == 200


async def test_a_key_has_no_account(web: Web) -> None:
    answer = await web.client.get(API, headers=bearer(await key_of(web, Role.OWNER)))
    assert (answer.status_code, "only a person" in answer.json()["detail"]) == (403, True)


class TestForgery:
    """Tokens that are not ours."""

    @pytest.fixture
    async def ada(self, web: Web) -> Signed:
        return await signed_in(web)

    def parts(self, ada: Signed) -> tuple[dict[str, Any], dict[str, Any]]:
        token = ada.tokens["access_token"]
        return jwt.get_unverified_header(token), jwt.decode(token, options={"verify_signature": False})

    async def test_a_token_without_a_signature_is_refused(self, web: Web, ada: Signed) -> None:
        header, claims = self.parts(ada)
        head, body = (
            base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")
            for part in (header | {"alg": "none"}, claims)
        )
        assert [await whoami(web, f"{head}.{body}.{end}") for end in ("", "x")] == [401, 401]

    @pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
    async def test_a_token_signed_with_another_key_is_refused(self, web: Web, ada: Signed, algorithm: str) -> None:
        header, claims = self.parts(ada)
        forged = jwt.encode(claims, "k" * 64, algorithm, headers={"kid": header["kid"]})
        assert await whoami(web, forged) == 401

    @pytest.mark.parametrize("kid", ["v2", "v999999", "1", "../v1", "", None, 1, "v1\n", "v01"])
    async def test_a_key_that_is_not_named_rightly_is_not_looked_for(self, web: Web, ada: Signed, kid: Any) -> None:
        _header, claims = self.parts(ada)
        head = base64.urlsafe_b64encode(json.dumps({"alg": "HS256", "typ": "JWT", "kid": kid}).encode()).decode()
        body = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode()
        assert await whoami(web, f"{head.rstrip('=')}.{body.rstrip('=')}.AAAA") == 401

    async def test_one_kind_of_token_is_never_taken_for_another(self, web: Web, ada: Signed) -> None:
        assert await whoami(web, ada.tokens["refresh_token"]) == 401
        assert (await refreshed(web, ada.tokens["access_token"])).status_code == 401

    async def test_a_changed_token_is_refused(self, web: Web, ada: Signed) -> None:
        token = ada.tokens["access_token"]
        places = range(0, len(token), 7)
        changed = [token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :] for place in places]
        assert {await whoami(web, each) for each in changed} == {401}


class TestPassword:
    async def change(self, web: Web, ada: Signed, **body: str) -> Any:
        return await web.client.put(f"{API}/password", json={"password": PASSWORD} | body, headers=ada.headers)

    async def test_a_changed_password_ends_every_other_session(self, web: Web) -> None:
        ada = await signed_in(web)
        other = (await sign_in(web)).json()
        new = "five quiet rivers and a drum"
        assert (await self.change(web, ada, new_password=new)).status_code == 204
        assert [await whoami(web, other["access_token"]), await whoami(web, ada.tokens["access_token"])] == [401, 200]
        assert [(await sign_in(web)).status_code, (await sign_in(web, password=new)).status_code] == [401, 201]

    async def test_a_session_left_open_is_not_enough(self, web: Web) -> None:
        ada = await signed_in(web)
        answer = await self.change(web, ada, password="not this one, no", new_password="five quiet rivers")
        assert answer.status_code == 403

    @pytest.mark.parametrize(
        "weak",
        ["short", "aaaaaaaaaaaaaaaa", "ada@example.com", "password1234", "abababababababab", "x" * 201],
        ids=["short", "one letter", "own address", "obvious", "two letters", "endless"],
    )
    async def test_a_password_that_could_be_guessed_is_refused(self, web: Web, weak: str) -> None:
        ada = await signed_in(web)
        assert (await self.change(web, ada, new_password=weak)).status_code == 422


class TestSecondFactor:
    async def enrolled(self, web: Web, ada: Signed) -> tuple[pyotp.TOTP, list[str]]:
        begun = await web.client.post(f"{API}/second-factor", json={"password": PASSWORD}, headers=ada.headers)
        totp = pyotp.parse_uri(begun.json()["uri"])
        assert isinstance(totp, pyotp.TOTP)
        code = totp.at(web.services.clock.now())
        done = await web.client.post(f"{API}/second-factor/confirm", json={"code": code}, headers=ada.headers)
        assert done.status_code == 201, done.text
        return totp, done.json()["recovery_codes"]

    async def test_with_it_a_password_alone_does_not_sign_in(self, web: Web) -> None:
        await self.enrolled(web, await signed_in(web))
        answer = await sign_in(web)
        assert (answer.status_code, answer.json()["type"]) == (401, "/docs#problem-second_factor_needed")

    async def test_with_a_code_it_does(self, web: Web, clock: Hands) -> None:
        totp, _codes = await self.enrolled(web, await signed_in(web))
        clock.forward(timedelta(seconds=30))
        assert (await sign_in(web, code=totp.at(clock.now()))).status_code == 201

    async def test_a_code_is_good_once(self, web: Web, clock: Hands) -> None:
        totp, _codes = await self.enrolled(web, await signed_in(web))
        clock.forward(timedelta(seconds=30))
        code = totp.at(clock.now())
        assert [(await sign_in(web, code=code)).status_code for _ in range(2)] == [201, 401]

    async def test_a_code_of_another_hour_is_not(self, web: Web, clock: Hands) -> None:
        totp, _codes = await self.enrolled(web, await signed_in(web))
        assert (await sign_in(web, code=totp.at(clock.now() + timedelta(hours=1)))).status_code == 401

    async def test_a_recovery_code_is_good_once(self, web: Web) -> None:
        _totp, codes = await self.enrolled(web, await signed_in(web))
        given = codes[3].upper()
        assert [(await sign_in(web, code=given)).status_code for _ in range(2)] == [201, 401]

    async def test_it_does_not_count_before_its_first_code(self, web: Web) -> None:
        ada = await signed_in(web)
        await web.client.post(f"{API}/second-factor", json={"password": PASSWORD}, headers=ada.headers)
        wrong = await web.client.post(f"{API}/second-factor/confirm", json={"code": "000"}, headers=ada.headers)
        assert [wrong.status_code, (await sign_in(web)).status_code] == [422, 201]

    async def test_it_is_taken_away_with_the_password(self, web: Web) -> None:
        ada = await signed_in(web)
        await self.enrolled(web, ada)
        for password, status in (("not this one, no", 403), (PASSWORD, 204)):
            path = f"{API}/second-factor/remove"
            answer = await web.client.post(path, json={"password": password}, headers=ada.headers)
            assert answer.status_code == status
        assert (await sign_in(web)).status_code == 201

    async def test_its_secret_is_not_readable_in_the_database(self, web: Web) -> None:
        totp, codes = await self.enrolled(web, await signed_in(web))
        async with web.world.database.overview() as tx:
            (row,) = await tx.execute(select(people))
        assert totp.secret not in repr(row)
        assert not any(code in repr(row) for code in codes)


async def test_a_session_s_tokens_are_not_in_the_database(web: Web) -> None:
    ada = await signed_in(web)
    async with web.world.database.overview() as tx:
        (row,) = await tx.execute(select(sessions))
    assert not any(ada.tokens[name][-40:] in repr(row) for name in ("access_token", "refresh_token"))


async def test_what_a_person_does_with_their_account_is_recorded(web: Web) -> None:
    ada = await signed_in(web)
    me = f"person:{ada.person_id}"
    new = "five quiet rivers and a drum"
    body = {"password": PASSWORD, "new_password": new}
    await web.client.put(f"{API}/password", json=body, headers=ada.headers)
    begun = await web.client.post(f"{API}/second-factor", json={"password": new}, headers=ada.headers)
    code = pyotp.TOTP(begun.json()["secret"]).at(web.services.clock.now())
    await web.client.post(f"{API}/second-factor/confirm", json={"code": code}, headers=ada.headers)
    await web.client.post(f"{API}/second-factor/remove", json={"password": new}, headers=ada.headers)
    await web.client.delete(f"{API}/sessions/{ada.tokens['session_id']}", headers=ada.headers)
    own = [action for actor, action in await deeds(web) if actor == me]
    assert own == [
        "person.joined", "session.begun", "password.changed", "second_factor.set_up", "second_factor.removed",
        "session.ended",
    ]  # fmt: skip
