"""Pages of listed origins may call the API with a key; pages of others are told nothing, and no cookie comes along."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from backend.config import check_origin
from backend.domain.access import Role
from backend.main import create_app
from tests.routers.conftest import Web, local_client
from tests.routers.test_keys import bearer, key_of
from tests.worlds import World

LISTED, OTHER = "https://app.example.com", "https://evil.example"
PATH = "/api/v1/companies"


@pytest.fixture
async def web(world: World) -> AsyncIterator[Web]:
    """Return an app that two origins may call, with narrow limits."""
    more = {"run_loops": False, "cors_origins": (LISTED, "http://localhost:5173"), "rate_limit_caller": 2}
    app = create_app(world.settings.model_copy(update=more))
    async with app.router.lifespan_context(app), local_client(app) as client:
        yield Web(app, app.state.services, client, world)


def preflight(origin: str, method: str = "POST") -> dict[str, str]:
    return {
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "authorization,content-type",
    }


def told(answer: httpx.Response) -> dict[str, str]:
    """Return what an answer says about other origins."""
    return {name: value for name, value in answer.headers.items() if name.startswith("access-control-")}


async def test_a_preflight_of_a_listed_origin_needs_no_key(web: Web) -> None:
    answer = await web.client.options(PATH, headers=preflight(LISTED))
    assert (answer.status_code, answer.headers["vary"]) == (204, "Origin")
    assert told(answer) == {
        "access-control-allow-origin": LISTED,
        "access-control-allow-methods": "GET, POST, PUT, PATCH, DELETE",
        "access-control-allow-headers": "Authorization, Content-Type",
        "access-control-max-age": "600",
    }


async def test_a_preflight_s_answer_has_the_security_headers(web: Web) -> None:
    answer = await web.client.options(PATH, headers=preflight(LISTED))
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_a_listed_origin_may_read_the_answer_to_its_key(web: Web) -> None:
    headers = {"Origin": LISTED, **bearer(await key_of(web, Role.VIEWER))}
    answer = await web.client.get("/polling/status", headers=headers)
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, LISTED)
    assert "Origin" in answer.headers["vary"]


async def test_a_listed_origin_may_read_why_it_is_refused(web: Web) -> None:
    headers = {"Origin": LISTED, **bearer(await key_of(web, Role.VIEWER))}
    answers = [await web.client.get("/polling/status", headers=headers) for _ in range(3)]
    answers.append(await web.client.get("/polling/status", headers={"Origin": LISTED}))
    assert [answer.status_code for answer in answers] == [200, 200, 429, 401]
    assert {answer.headers["access-control-allow-origin"] for answer in answers} == {LISTED}
    assert "Retry-After" in answers[2].headers["access-control-expose-headers"]


NOT_LISTED = [
    OTHER,
    "null",
    "http://app.example.com",
    f"{LISTED}:8443",
    f"{LISTED}.evil.example",
    "https://APP.example.com",
]


@pytest.mark.parametrize("origin", NOT_LISTED)
async def test_another_origin_is_told_nothing(web: Web, origin: str) -> None:
    key = bearer(await key_of(web, Role.OWNER))
    asked = await web.client.options(PATH, headers=preflight(origin))
    read = await web.client.get("/polling/status", headers={"Origin": origin, **key})
    assert (asked.status_code, read.status_code) == (401, 200)
    assert (told(asked), told(read)) == ({}, {})


async def test_two_origins_at_once_are_none(web: Web) -> None:
    headers = [("Origin", LISTED), ("Origin", LISTED), ("Access-Control-Request-Method", "GET")]
    assert told(await web.client.options(PATH, headers=headers)) == {}


async def test_credentials_are_never_allowed(web: Web) -> None:
    asked = await web.client.options(PATH, headers=preflight(LISTED))
    read = await web.client.get("/polling/status", headers={"Origin": LISTED})
    assert "access-control-allow-credentials" not in {**asked.headers, **read.headers}


@pytest.mark.parametrize("path", ["/", "/carts", "/docs", "/metrics", "/static/console.css"])
async def test_pages_are_for_our_own_origin_alone(web: Web, path: str) -> None:
    headers = {"Origin": LISTED, **bearer(await key_of(web, Role.OWNER))}
    assert told(await web.client.get(path, headers=headers)) == {}


async def test_a_listed_origin_is_not_signed_in_as_the_local_user(web: Web) -> None:
    answer = await web.client.post("/polling/stop", headers={"Origin": "http://localhost:5173"})
    assert answer.status_code == 401


async def test_without_the_setting_nobody_is_told_anything(world: World) -> None:
    app = create_app(world.settings.model_copy(update={"run_loops": False}))
    async with app.router.lifespan_context(app), local_client(app) as client:
        answer = await client.options(PATH, headers=preflight(LISTED))
    assert (answer.status_code, told(answer)) == (401, {})


GOOD = [
    "https://app.example.com", "https://app.example.com:8443", "https://xn--bcher-kva.example",
    "http://localhost:3000", "http://127.0.0.1:5173", "http://[::1]:5173", "https://a",
]  # fmt: skip
BAD = [
    "*", "https://*.example.com", "null", "https://app.example.com/", "https://app.example.com/path",
    "app.example.com", "https://app.example.com:443", "http://localhost:80", "https://App.example.com",
    "https://user@app.example.com", "https://app.example.com?x", "https://app.example.com#x", "https://",
    "ftp://app.example.com", "https://a:0", "https://a:99999", "https://bücher.example", "https://a b",
    "https://a\n", "//a", "https://a.", "https://.a",
]  # fmt: skip


@pytest.mark.parametrize("origin", GOOD)
def test_an_origin_as_browsers_write_it_is_taken(origin: str) -> None:
    check_origin(origin, may_be_plain=False)


@pytest.mark.parametrize("origin", BAD, ids=ascii)
def test_what_no_browser_sends_or_every_page_has_is_refused(origin: str) -> None:
    with pytest.raises(ValueError, match=r"^CORS_ORIGINS: "):
        check_origin(origin, may_be_plain=True)


def test_production_takes_no_plain_http_from_elsewhere() -> None:
    check_origin("http://app.example.com", may_be_plain=True)
    with pytest.raises(ValueError, match="production takes https alone"):
        check_origin("http://app.example.com", may_be_plain=False)
