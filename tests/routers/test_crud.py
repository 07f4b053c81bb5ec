"""Companies, agents, stores and destinations over HTTP: made, read, changed, removed, and never a secret shown."""

from __future__ import annotations

from typing import Any

import pytest

from tests.factories import make_agent, make_company
from tests.routers.conftest import Web

SECRET = "whsec_" + "QUJD" * 8
# Hosts that are too long, no international name, or an address in other scripts' dots.
NO_HOSTS = [
    pytest.param(f"https://{'a' * 64}.example/", id="long part"),
    pytest.param(f"https://{'a.' * 130}example/", id="long name"),
    pytest.param("https://xn--zzzzzz99999.example/", id="no punycode"),
    pytest.param("https://xn--ls8h.example/", id="no international name"),
    pytest.param("https://a..b.example/", id="empty part"),
    pytest.param("https://-a.example/", id="hyphen first"),
    pytest.param("https://10\u30020\u30020\u30021/", id="other dots"),
]


@pytest.fixture
async def base(web: Web) -> str:
    """Return the address of a company with one agent."""
    company = await make_company(web.world)
    await make_agent(web.world, company, id="agent")
    return f"/api/v1/companies/{company}"


async def made(web: Web, path: str, **body: Any) -> Any:
    """Return what a POST made."""
    answer = await web.client.post(path, json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def store(web: Web, base: str, **fields: Any) -> Any:
    """Connect a made-up store."""
    return await made(web, f"{base}/integrations", **{"agent_id": "agent", "name": "s", "platform": "mock"} | fields)


async def partner(web: Web, base: str, **fields: Any) -> Any:
    """Add a destination."""
    usual = {"agent_id": "agent", "name": "p", "url": "https://partner.example/hook"}
    return await made(web, f"{base}/destinations", **usual | fields)


async def test_a_company_is_made_changed_and_removed(web: Web) -> None:
    company = await made(web, "/api/v1/companies", name="Acme", country="us")
    path = f"/api/v1/companies/{company['id']}"
    assert (company["country"], company["status"]) == ("US", "active")
    changed = (await web.client.patch(path, json={"website": "https://acme.example"})).json()
    assert changed == company | {"website": "https://acme.example", "updated_at": changed["updated_at"]}
    assert (await web.client.get(path)).json() == changed
    assert (await web.client.delete(path)).status_code == 204
    assert (await web.client.get(path)).status_code == 404


async def test_a_company_s_weight_is_set_and_shown(web: Web) -> None:
    company = await made(web, "/api/v1/companies", name="Acme", weight=2)
    path = f"/api/v1/companies/{company['id']}"
    changed = (await web.client.patch(path, json={"weight": 100})).json()
    refused = (await web.client.patch(path, json={"weight": 101})).json()
    assert (company["weight"], changed["weight"], refused["field"]) == (2, 100, "body.weight")


async def test_a_second_company_of_a_name_is_refused(web: Web) -> None:
    await made(web, "/api/v1/companies", name="Acme")
    assert (await web.client.post("/api/v1/companies", json={"name": "Acme"})).status_code == 409


async def test_companies_are_listed_in_pages(web: Web) -> None:
    for name in "abc":
        await made(web, "/api/v1/companies", name=name)
    first = (await web.client.get("/api/v1/companies?limit=2")).json()
    rest = (await web.client.get("/api/v1/companies", params={"limit": 2, "after": first["next"]})).json()
    assert [row["name"] for row in first["items"] + rest["items"]] == ["c", "b", "a"]
    assert rest["next"] is None


async def test_an_agent_is_made_changed_and_removed(web: Web, base: str) -> None:
    agent = await made(web, f"{base}/agents", name="Second")
    path = f"{base}/agents/{agent['id']}"
    assert (agent["abandonment_threshold_minutes"], agent["is_polled"], agent["integrations"]) == (30, True, [])
    assert (await web.client.patch(path, json={"status": "inactive"})).json()["is_polled"] is False
    assert len((await web.client.get(f"{base}/agents?status=active")).json()["items"]) == 1
    assert (await web.client.delete(path)).status_code == 204
    assert (await web.client.get(path)).status_code == 404


async def test_a_change_of_nothing_is_refused(web: Web, base: str) -> None:
    assert (await web.client.patch(f"{base}/agents/agent", json={})).status_code == 422


async def test_a_store_is_connected_paused_resumed_and_removed(web: Web, base: str) -> None:
    path = f"{base}/integrations/{(await store(web, base))['id']}"
    assert (await web.client.post(f"{path}/pause")).json()["status"] == "paused"
    assert (await web.client.post(f"{path}/resume")).json()["status"] == "active"
    assert (await web.client.patch(path, json={"poll_interval_seconds": 600})).json()["poll_interval_seconds"] == 600
    assert len((await web.client.get(f"{base}/integrations?agent_id=agent&status=active")).json()["items"]) == 1
    assert (await web.client.get(path)).json()["poll_interval_seconds"] == 600
    assert (await web.client.delete(path)).status_code == 204
    assert (await web.client.get(path)).status_code == 404


async def test_a_store_is_tested_with_what_a_first_poll_would_hand_off(web: Web, base: str) -> None:
    path = f"{base}/integrations/{(await store(web, base))['id']}"
    report = (await web.client.post(f"{path}/verify")).json()
    assert report["ok"]
    assert {choice["days"] for choice in report["first_poll"]} == {1, 3, 7, 30}
    assert [choice["days"] for choice in report["first_poll"] if choice["is_chosen"]] == [3]


async def test_a_store_can_be_tested_before_it_is_saved(web: Web, base: str) -> None:
    draft = {"agent_id": "agent", "name": "s", "platform": "mock"}
    assert (await web.client.post(f"{base}/integrations/verify", json=draft)).json()["ok"]
    assert (await web.client.get(f"{base}/integrations")).json()["items"] == []


async def test_a_stores_credentials_are_never_shown(web: Web, base: str) -> None:
    card = {"platform": "custom", "settings": {"base_url": "https://shop.example/api"}}
    made_store = await store(web, base, **card, credentials={"token": "tok-1234"})
    path = f"{base}/integrations/{made_store['id']}"
    rotated = await web.client.put(f"{path}/credentials", json={"credentials": {"token": "tok-5678"}})
    assert rotated.json()["credential_names"] == ["token"]
    shown = [str(made_store), rotated.text, (await web.client.get(path)).text, (await web.client.get("/")).text]
    assert not any("tok-" in text for text in shown)


async def test_a_stores_wrong_settings_are_told_by_name(web: Web, base: str) -> None:
    body = {"agent_id": "agent", "name": "s", "platform": "custom", "settings": {"base_ulr": "https://x.example"}}
    told = (await web.client.post(f"{base}/integrations", json=body)).json()
    assert told["status"] == 422
    assert told["field"].startswith("settings.")


async def test_a_destinations_own_secret_is_never_shown(web: Web, base: str) -> None:
    signed = await partner(web, base, secret=SECRET)
    assert signed["secret"] is None
    assert SECRET not in (await web.client.get(f"{base}/destinations")).text


async def test_a_made_secret_is_shown_once(web: Web, base: str) -> None:
    signed = await partner(web, base)
    assert signed["secret"].startswith("whsec_")
    path = f"{base}/destinations/{signed['destination']['id']}"
    assert signed["secret"] not in (await web.client.get(path)).text


async def test_a_secret_is_rotated_and_the_old_one_dropped(web: Web, base: str) -> None:
    path = f"{base}/destinations/{(await partner(web, base, secret=SECRET))['destination']['id']}"
    rotated = (await web.client.put(f"{path}/secret", json={})).json()
    assert len(rotated["destination"]["secret_hints"]) == 2
    assert len((await web.client.post(f"{path}/drop-old-secrets")).json()["secret_hints"]) == 1


async def test_a_destination_is_changed_and_removed(web: Web, base: str) -> None:
    path = f"{base}/destinations/{(await partner(web, base))['destination']['id']}"
    assert (await web.client.patch(path, json={"status": "disabled"})).json()["status"] == "disabled"
    assert (await web.client.get(path)).json()["status_reason"] == "disabled by operator"
    assert (await web.client.delete(path)).status_code == 204
    assert (await web.client.get(path)).status_code == 404


@pytest.mark.parametrize(
    "url", ["ftp://partner.example", "http://partner.example", "https://10.0.0.1/", "nonsense", "", *NO_HOSTS]
)
async def test_an_address_that_may_not_be_called_is_refused(web: Web, base: str, url: str) -> None:
    body = {"agent_id": "agent", "name": "p", "url": url}
    told = (await web.client.post(f"{base}/destinations", json=body)).json()
    assert (told["status"], told["field"] in {"url", "body.url"}) == (422, True)


@pytest.mark.parametrize("url", NO_HOSTS)
async def test_a_store_whose_host_is_no_legal_name_is_refused(web: Web, base: str, url: str) -> None:
    card = {"platform": "custom", "settings": {"base_url": url}, "credentials": {"token": "tok-1234"}}
    answer = await web.client.post(f"{base}/integrations", json={"agent_id": "agent", "name": "s", **card})
    assert (answer.status_code, answer.json()["field"]) == (422, "settings.base_url")
