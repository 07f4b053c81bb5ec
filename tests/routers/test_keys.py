"""API keys over HTTP: who may make them, what they open, and how a refusal reads."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from backend.domain.access import LOCAL_OWNER, Role
from backend.main import create_app
from backend.services.api_keys import ApiKeyDraft, MadeKey
from tests.factories import make_company
from tests.routers.conftest import Web

STRANGER = ("203.0.113.9", 50_000)


@pytest.fixture
async def far(web: Web) -> AsyncIterator[httpx.AsyncClient]:
    """Return a client on another machine."""
    transport = httpx.ASGITransport(app=web.app, client=STRANGER, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="https://carts.example") as client:
        yield client


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


async def key_of(web: Web, role: Role, company: str | None = None, **more: Any) -> str:
    made: MadeKey = await web.services.keys.create(company, ApiKeyDraft(name="k", role=role, **more), LOCAL_OWNER)
    return made.key


async def test_a_key_opens_the_service_from_anywhere(web: Web, far: httpx.AsyncClient) -> None:
    answer = await far.get("/polling/status", headers=bearer(await key_of(web, Role.VIEWER)))
    assert answer.status_code == 200


@pytest.mark.parametrize("word", ["bearer", "BEARER", "Bearer "])
async def test_the_word_before_a_key_is_read_as_http_says(web: Web, far: httpx.AsyncClient, word: str) -> None:
    key = await key_of(web, Role.VIEWER)
    assert (await far.get("/polling/status", headers={"Authorization": f"{word} {key}"})).status_code == 200


async def test_without_a_key_the_answer_says_how_to_get_in(far: httpx.AsyncClient) -> None:
    answer = await far.get("/polling/status")
    assert (answer.status_code, answer.headers["www-authenticate"], "crk_" in answer.json()["remedy"]) == (
        401, "Bearer", True,
    )  # fmt: skip


@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Bearer  ", "Basic dXNlcjpwYXNz", "Bearer a b", "Bearer crk_live_x", "é", "Bearer é", "\x7f"],
)
@pytest.mark.parametrize("path", ["/polling/status", "/nowhere", "/openapi.json"])
async def test_a_broken_header_gets_401_and_never_the_local_user_s_rights(web: Web, header: str, path: str) -> None:
    # Sent from this machine: whoever shows a key is judged by it.
    answer = await web.client.get(path, headers=[(b"Authorization", header.encode("latin-1"))])
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, 'Bearer error="invalid_token"')


async def test_two_keys_at_once_are_refused(web: Web, far: httpx.AsyncClient) -> None:
    key = await key_of(web, Role.VIEWER)
    headers = [("Authorization", f"Bearer {key}"), ("Authorization", f"Bearer {key}")]
    assert (await far.get("/polling/status", headers=headers)).status_code == 401


async def test_a_refusal_does_not_repeat_the_key(web: Web, far: httpx.AsyncClient) -> None:
    key = await key_of(web, Role.VIEWER)
    await web.services.keys.revoke(None, (await web.services.keys.list(None)).items[0].id)
    answer = await far.get("/polling/status", headers=bearer(key))
    assert (answer.status_code, key[:16] in answer.text) == (401, False)


async def test_a_role_that_does_not_reach_gets_403_with_what_is_needed(web: Web, far: httpx.AsyncClient) -> None:
    answer = await far.post("/polling/start", headers=bearer(await key_of(web, Role.ANALYST)))
    assert (answer.status_code, answer.json()["detail"]) == (403, "this needs the role operator in all companies")


async def test_a_key_of_one_company_does_not_start_polling(web: Web, far: httpx.AsyncClient) -> None:
    company = await make_company(web.world, "Acme")
    answer = await far.post("/polling/start", headers=bearer(await key_of(web, Role.OWNER, company)))
    assert answer.status_code == 403


async def test_a_narrowed_key_opens_only_what_it_is_meant_for(web: Web, far: httpx.AsyncClient) -> None:
    headers = bearer(await key_of(web, Role.OWNER, scopes=("polling:read",)))
    answers = [await far.get("/polling/status", headers=headers), await far.post("/polling/start", headers=headers)]
    answers.append(await far.get("/api/v1/companies", headers=headers))
    assert [answer.status_code for answer in answers] == [200, 403, 403]


async def test_another_company_s_id_is_answered_as_one_that_does_not_exist(web: Web, far: httpx.AsyncClient) -> None:
    mine, other = await make_company(web.world, "Acme"), await make_company(web.world, "Bolt")
    headers = bearer(await key_of(web, Role.OWNER, mine))
    answers = [await far.get(f"/api/v1/companies/{id_}/agents", headers=headers) for id_ in (mine, other, "nobody")]
    assert [answer.status_code for answer in answers] == [200, 404, 404]
    assert answers[1].json()["detail"].replace(other, "nobody") == answers[2].json()["detail"]


async def test_the_list_of_companies_shows_each_caller_their_own(web: Web, far: httpx.AsyncClient) -> None:
    mine, other = await make_company(web.world, "Acme"), await make_company(web.world, "Bolt")
    seen = [
        {row["id"] for row in (await far.get("/api/v1/companies", headers=bearer(key))).json()["items"]}
        for key in (await key_of(web, Role.VIEWER, mine), await key_of(web, Role.VIEWER))
    ]
    assert seen == [{mine}, {mine, other}]


async def test_an_owner_makes_rotates_and_revokes_keys_of_the_company(web: Web, far: httpx.AsyncClient) -> None:
    company = await make_company(web.world, "Acme")
    headers, path = bearer(await key_of(web, Role.OWNER, company)), f"/api/v1/companies/{company}/keys"
    made = await far.post(path, headers=headers, json={"name": "export", "role": "analyst"})
    key = made.json()
    rotated = await far.post(f"{path}/{key['api_key']['id']}/rotate", headers=headers)
    revoked = await far.delete(f"{path}/{key['api_key']['id']}", headers=headers)
    states = {row["id"]: row["state"] for row in (await far.get(path, headers=headers)).json()["items"]}
    assert (made.status_code, rotated.status_code, revoked.status_code) == (201, 201, 200)
    assert (states[key["api_key"]["id"]], states[rotated.json()["api_key"]["id"]]) == ("revoked", "live")
    assert (await far.get(f"/api/v1/companies/{company}", headers=bearer(key["key"]))).status_code == 401
    assert (await far.get(f"/api/v1/companies/{company}", headers=bearer(rotated.json()["key"]))).status_code == 200


async def test_a_list_never_shows_a_key(web: Web) -> None:
    key = await key_of(web, Role.VIEWER)
    assert key not in (await web.client.get("/api/v1/keys")).text


@pytest.mark.parametrize(
    "draft",
    [
        {"name": "k"},
        {"name": "k", "role": "king"},
        {"name": "", "role": "viewer"},
        {"name": "k\x00", "role": "viewer"},
        {"name": "k", "role": "viewer", "scopes": ["carts:eat"]},
        {"name": "k", "role": "viewer", "scopes": ["carts:read"] * 100},
        {"name": "k", "role": "viewer", "expires_in_days": 0},
        {"name": "k", "role": "viewer", "company_id": "x"},
    ],
)
async def test_a_malformed_draft_is_refused(web: Web, draft: dict[str, Any]) -> None:
    assert (await web.client.post("/api/v1/keys", json=draft)).status_code == 422


async def test_production_starts_and_lets_in_who_has_a_key(web: Web, far: httpx.AsyncClient) -> None:
    # On the same database: only the setting differs. SQLite cannot be had in production.
    if web.world.settings.is_sqlite:
        pytest.skip("production refuses SQLite")
    settings = web.world.settings.model_copy(update={"env": "production", "run_loops": False})
    app, key = create_app(settings), await key_of(web, Role.VIEWER)
    transport = httpx.ASGITransport(app=app, client=("127.0.0.1", 5))
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://localhost:8000") as client,
    ):
        answers = [await client.get("/polling/status"), await client.get("/polling/status", headers=bearer(key))]
    assert [answer.status_code for answer in answers] == [401, 200]
