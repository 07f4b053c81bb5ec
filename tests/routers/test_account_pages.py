"""Signing in with a browser: cookies, forged requests, and the pages that people are shown."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import timedelta

import httpx
import pyotp
import pytest

from backend.domain.access import LOCAL_OWNER, Role
from backend.domain.people import ACCESS_LIFE, LEEWAY, UNUSED_LIFE
from backend.main import create_app
from backend.services.invitations import InvitationDraft
from tests.factories import make_company
from tests.routers.conftest import Web
from tests.routers.persons import PASSWORD, SITE, browser, code_of, make_person
from tests.routers.test_account import Hands, clock
from tests.worlds import World

__all__ = ["clock"]

FORM = {"email": "ada@example.com", "password": PASSWORD}


@pytest.fixture
async def web(world: World) -> AsyncIterator[Web]:
    """Return the app as it runs in production, on both databases: whoever comes is a stranger."""
    settings = world.settings.model_copy(update={"run_loops": False, "env": "production", "app_url": SITE})
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        opened = Web(app, app.state.services, None, world)  # type: ignore[arg-type]
        async with browser(opened) as client:
            opened.client = client
            yield opened


async def enter(web: Web, role: Role = Role.OWNER, company: str | None = None) -> str:
    """Let Ada in and sign her browser in; return her id."""
    person = await make_person(web, role=role, company=company)
    answer = await web.client.post("/sign-in", data=FORM)
    assert answer.status_code == 303, answer.text
    return person


async def csrf(web: Web, path: str = "/account") -> str:
    """Return the token that a page gives its forms."""
    found = re.search(r'name="csrf_token" value="([0-9a-f]+)"', (await web.client.get(path)).text)
    assert found is not None
    return found[1]


async def press(web: Web, path: str, **form: str) -> httpx.Response:
    """Press a button of a page."""
    return await web.client.post(path, data={"csrf_token": await csrf(web)} | form, headers={"Origin": SITE})


@pytest.mark.parametrize("path", ["/", "/carts", "/people", "/docs"])
async def test_a_stranger_is_shown_the_way_in_and_back(web: Web, path: str) -> None:
    answer = await web.client.get(path)
    assert (answer.status_code, answer.headers["location"]) == (303, f"/sign-in?next={path}")


async def test_a_program_is_told_401(web: Web) -> None:
    answer = await web.client.get("/polling/status", headers={"Accept": "application/json"})
    assert answer.status_code == 401


async def test_the_first_person_is_told_how_to_come_in(web: Web) -> None:
    assert "scripts/access.py invite" in (await web.client.get("/sign-in")).text


async def test_a_link_lets_somebody_in_with_nothing_but_a_browser(web: Web) -> None:
    made = await web.services.invitations.invite(
        None, InvitationDraft(email="ada@example.com", role=Role.OWNER), LOCAL_OWNER
    )
    assert (await web.client.get("/join")).status_code == 200
    form = {"code": code_of(made.url), "name": "Ada", "password": PASSWORD}
    joined = await web.client.post("/join", data=form)
    assert (joined.status_code, joined.headers["location"]) == (303, "/sign-in?said=joined")
    signed = await web.client.post("/sign-in", data=FORM)
    assert (signed.status_code, (await web.client.get("/")).status_code) == (303, 200)


async def test_no_script_reads_the_cookies_and_no_other_site_sends_them(web: Web) -> None:
    await make_person(web)
    answer = await web.client.post("/sign-in", data=FORM)
    cookies = answer.headers.get_list("set-cookie")
    assert len(cookies) == 2
    for cookie in cookies:
        assert cookie.startswith("__Host-")
        assert {"HttpOnly", "Secure", "SameSite=Lax", "Path=/"} <= {part.strip() for part in cookie.split(";")}


async def test_after_signing_in_one_is_where_one_wanted_to_go(web: Web) -> None:
    await make_person(web)
    answer = await web.client.post("/sign-in", data=FORM | {"next": "/carts"})
    assert answer.headers["location"] == "/carts"


@pytest.mark.parametrize("place", ["https://evil.example/", "//evil.example", "/\\evil.example", "evil", "/\tx"])
async def test_signing_in_leads_to_no_other_site(web: Web, place: str) -> None:
    await make_person(web)
    answer = await web.client.post("/sign-in", data=FORM | {"next": place})
    assert answer.headers["location"] == "/"


async def test_a_wrong_password_keeps_the_address_in_the_form(web: Web) -> None:
    await make_person(web)
    answer = await web.client.post("/sign-in", data=FORM | {"password": "x"})
    assert (answer.status_code, 'value="ada@example.com"' in answer.text, PASSWORD in answer.text) == (401, True, False)


async def test_a_browser_stays_signed_in_past_its_access_token(web: Web, clock: Hands) -> None:
    await enter(web)
    clock.forward(ACCESS_LIFE + timedelta(seconds=1))
    answer = await web.client.get("/")
    assert (answer.status_code, len(answer.headers.get_list("set-cookie"))) == (200, 2)


async def test_a_stolen_refresh_cookie_used_later_signs_both_out(web: Web, clock: Hands) -> None:
    await enter(web)
    stolen = dict(web.client.cookies)
    clock.forward(ACCESS_LIFE + LEEWAY)
    assert (await web.client.get("/")).status_code == 200
    clock.forward(LEEWAY + timedelta(seconds=1))
    async with browser(web) as thief:
        thief.cookies.update(stolen)
        assert (await thief.get("/")).status_code == 303
    assert (await web.client.get("/")).status_code == 303


async def test_an_idle_browser_is_signed_out_and_forgets_its_cookies(web: Web, clock: Hands) -> None:
    await enter(web)
    clock.forward(UNUSED_LIFE + timedelta(seconds=1))
    answer = await web.client.get("/")
    assert [cookie.partition(";")[0][-1:] for cookie in answer.headers.get_list("set-cookie")] == ["=", "="]


async def test_signing_out_ends_the_session_itself(web: Web) -> None:
    await enter(web)
    kept = dict(web.client.cookies)
    assert (await press(web, "/sign-out")).status_code == 303
    web.client.cookies.update(kept)
    assert (await web.client.get("/")).status_code == 303


BUTTONS = ["/console/start", "/console/stop", "/console/test-once", "/console/hold", "/people/invite", "/sign-out"]


@pytest.mark.parametrize("path", BUTTONS)
@pytest.mark.parametrize("token", ["", "0" * 32, "é"])
async def test_a_form_without_the_session_s_token_changes_nothing(web: Web, path: str, token: str) -> None:
    await enter(web)
    answer = await web.client.post(path, data={"csrf_token": token, "interval": "60", "reason": "x"})
    assert (answer.status_code, (await web.services.poller.rhythm()).interval) == (403, 30)


async def test_a_form_with_it_does(web: Web) -> None:
    await enter(web)
    assert (await press(web, "/console/start", interval="60")).status_code == 303
    assert (await web.services.poller.rhythm()).interval == 60


async def test_another_session_s_token_is_of_no_use(web: Web) -> None:
    await enter(web)
    async with browser(web) as other:
        await other.post("/sign-in", data=FORM)
        page = (await other.get("/account")).text
    found = re.search(r'name="csrf_token" value="([0-9a-f]+)"', page)
    assert found is not None
    answer = await web.client.post("/console/start", data={"csrf_token": found[1], "interval": "60"})
    assert answer.status_code == 403


async def test_a_script_of_our_own_shows_the_token_in_a_header(web: Web) -> None:
    await enter(web)
    answer = await web.client.post("/polling/start", headers={"X-CSRF-Token": await csrf(web)})
    assert (answer.status_code, (await web.client.post("/polling/start")).status_code) == (200, 403)


@pytest.mark.parametrize("path", ["/sign-in", "/join"])
@pytest.mark.parametrize(
    "headers",
    [{"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": "null"}],
    ids=["origin", "fetch site", "no origin"],
)
async def test_another_site_s_form_signs_nobody_in(web: Web, path: str, headers: dict[str, str]) -> None:
    await make_person(web)
    answer = await web.client.post(path, data=FORM, headers=headers)
    assert (answer.status_code, answer.headers.get_list("set-cookie")) == (403, [])


async def test_whoever_is_refused_reads_a_page_and_not_json(web: Web) -> None:
    await enter(web, Role.VIEWER)
    answer = await web.client.get("/people")
    assert (answer.status_code, answer.headers["content-type"]) == (403, "text/html; charset=utf-8")


async def test_a_second_factor_is_set_up_on_the_page(web: Web) -> None:
    await enter(web)
    begun = await press(web, "/account/second-factor", password=PASSWORD)
    secret = re.search(r"<code>([A-Z2-7]{32})</code>", begun.text)
    assert secret is not None
    assert "data:image/svg+xml" in begun.text
    code = pyotp.TOTP(secret[1]).at(web.services.clock.now())
    done = await press(web, "/account/second-factor/confirm", code=code)
    assert len(re.findall(r"\b[0-9a-f]{5}(?:-[0-9a-f]{5}){3}\b", done.text)) == 10
    again = await web.client.post("/sign-in", data=FORM)
    assert (again.status_code, "second factor is missing" in again.text) == (401, True)


async def test_a_session_elsewhere_is_ended_on_the_page(web: Web) -> None:
    await enter(web)
    async with browser(web) as other:
        await other.post("/sign-in", data=FORM)
        (there,) = re.findall(r'name="session_id" value="([^"]+)"', (await web.client.get("/account")).text)
        await press(web, "/account/sessions/end", session_id=there)
        assert (await other.get("/")).status_code == 303


async def test_an_owner_invites_and_shuts_out_on_the_page(web: Web) -> None:
    await enter(web)
    made = await press(web, "/people/invite", email="bob@example.com", role="viewer")
    found = re.search(rf"{SITE}/join#([\w.-]+)", made.text)
    assert found is not None
    async with browser(web) as bob:
        await bob.post("/join", data={"code": found[1], "name": "Bob", "password": PASSWORD})
        await bob.post("/sign-in", data=FORM | {"email": "bob@example.com"})
        assert (await bob.get("/carts")).status_code == 200
        people = (await web.services.people.list_page(None)).items
        await press(web, "/people/disable", person_id=next(each.id for each in people if each.name == "Bob"))
        assert (await bob.get("/carts")).status_code == 303


async def test_a_company_s_owner_sees_their_own_people_only(web: Web) -> None:
    mine, other = await make_company(web.world, "Acme"), await make_company(web.world, "Bolt")
    await make_person(web, "bob@example.com", Role.VIEWER, other)
    await enter(web, Role.OWNER, mine)
    pages = [await web.client.get(f"/companies/{company}/people") for company in (mine, other)]
    assert [answer.status_code for answer in pages] == [200, 404]
    assert "bob@example.com" not in pages[0].text


async def test_a_mistake_on_the_way_in_keeps_the_link(web: Web) -> None:
    answer = await web.client.post("/join", data={"code": "a.b.c", "name": "", "password": "x"})
    assert (answer.status_code, 'value="a.b.c"' in answer.text) == (422, True)


async def test_a_wrong_first_code_can_be_typed_again(web: Web) -> None:
    await enter(web)
    begun = await press(web, "/account/second-factor", password=PASSWORD)
    secret = re.search(r"<code>([A-Z2-7]{32})</code>", begun.text)
    assert secret is not None
    again = await press(web, "/account/second-factor/confirm", code="000")
    assert (again.status_code, secret[1] in again.text) == (422, True)


async def test_a_form_that_comes_too_late_leads_to_the_way_in(web: Web) -> None:
    answer = await web.client.post("/people/invite", data={"email": "x"})
    assert (answer.status_code, answer.headers["location"][:8]) == (303, "/sign-in")


async def test_an_invitation_to_one_company_is_shown_where_it_can_be_taken_back(web: Web) -> None:
    company = await make_company(web.world, "Acme")
    await enter(web)
    made = await press(web, "/people/invite", email="bob@example.com", role="viewer", company_id=company)
    assert f'action="/companies/{company}/people/withdraw"' in made.text
