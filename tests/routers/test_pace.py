"""Callers over their limit are told so, and when to come back; nobody else notices."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from backend.domain.access import Role
from backend.main import create_app
from tests.factories import make_company
from tests.fleet.redis_server import free_port
from tests.routers.conftest import LOCAL, Web, local_client
from tests.routers.test_keys import bearer, key_of
from tests.worlds import World


@pytest.fixture
async def web(world: World) -> AsyncIterator[Web]:
    """Return an app with narrow limits: three requests of a caller, five of a company."""
    narrow = {"run_loops": False, "rate_limit_caller": 3, "rate_limit_company": 5}
    app = create_app(world.settings.model_copy(update=narrow))
    async with app.router.lifespan_context(app), local_client(app) as client:
        yield Web(app, app.state.services, client, world)


async def ask(web: Web, count: int, path: str = "/polling/status", key: str | None = None) -> list[httpx.Response]:
    headers = bearer(key) if key else {}
    return [await web.client.get(path, headers=headers) for _ in range(count)]


def codes(answers: list[httpx.Response]) -> list[int]:
    return [answer.status_code for answer in answers]


async def test_a_caller_over_the_limit_gets_429_with_when_to_come_back(web: Web) -> None:
    answers = await ask(web, 5)
    last = answers[-1]
    assert codes(answers) == [200, 200, 200, 429, 429]
    assert 1 <= int(last.headers["retry-after"]) <= 60
    assert (last.headers["content-type"], last.json()["title"]) == ("application/problem+json", "Too many requests")


async def test_one_caller_s_requests_are_not_another_s(web: Web) -> None:
    first, second = await key_of(web, Role.VIEWER), await key_of(web, Role.VIEWER)
    assert codes(await ask(web, 4, key=first) + await ask(web, 3, key=second)) == [200, 200, 200, 429, 200, 200, 200]


async def test_a_company_s_callers_share_its_limit(web: Web) -> None:
    company, other = await make_company(web.world, "Acme"), await make_company(web.world, "Bolt")
    keys = [await key_of(web, Role.VIEWER, company) for _ in range(2)]
    path = f"/api/v1/companies/{company}/agents"
    answers = [answer for key in keys for answer in await ask(web, 3, path, key)]
    whole = await key_of(web, Role.VIEWER)
    assert codes(answers) == [200, 200, 200, 200, 200, 429]
    assert codes(await ask(web, 1, f"/api/v1/companies/{other}/agents", whole)) == [200]


async def test_a_stranger_uses_up_nothing_of_a_company(web: Web) -> None:
    company, other = await make_company(web.world, "Acme"), await make_company(web.world, "Bolt")
    stranger, own = await key_of(web, Role.OWNER, other), [await key_of(web, Role.VIEWER, company) for _ in range(2)]
    path = f"/api/v1/companies/{company}/agents"
    assert codes(await ask(web, 3, path, stranger)) == [404, 404, 404]
    assert codes([answer for key in own for answer in await ask(web, 2, path, key)]) == [200] * 4


@pytest.mark.parametrize("path", ["/api/health", "/static/console.css"])
async def test_what_everybody_may_have_is_not_counted(web: Web, path: str) -> None:
    assert codes(await ask(web, 6, path)) == [200] * 6


async def test_zero_means_any_number(world: World) -> None:
    app = create_app(world.settings.model_copy(update={"run_loops": False, "rate_limit_caller": 0}))
    async with app.router.lifespan_context(app), local_client(app) as client:
        assert {(await client.get("/docs")).status_code for _ in range(10)} == {200}


async def test_with_redis_away_each_process_counts_for_itself(world: World) -> None:
    away = {"redis_url": f"redis://127.0.0.1:{free_port()}/0", "rate_limit_caller": 3, "run_loops": False}
    app = create_app(world.settings.model_copy(update=away))
    transport = httpx.ASGITransport(app=app, client=LOCAL)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://localhost") as client,
    ):
        assert [(await client.get("/docs")).status_code for _ in range(5)] == [200, 200, 200, 429, 429]


async def test_whoever_keeps_failing_to_say_who_it_is_waits_and_nobody_else(world: World) -> None:
    app = create_app(world.settings.model_copy(update={"run_loops": False, "rate_limit_anonymous": 2}))
    async with app.router.lifespan_context(app), local_client(app) as client:
        key = await key_of(Web(app, app.state.services, client, world), Role.VIEWER)
        wrong = [await client.get("/polling/status", headers=bearer("nonsense")) for _ in range(3)]
        assert codes(wrong) == [401, 401, 429]
        assert int(wrong[-1].headers["retry-after"]) >= 1
        assert (await client.get("/polling/status", headers=bearer(key))).status_code == 200
