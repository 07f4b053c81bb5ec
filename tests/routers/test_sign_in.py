"""Who may pass in development: the person at this machine, asking in their own name, and nobody else."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from backend.config import Settings
from backend.routers.sign_in import SignIn, is_loopback, refusal
from backend.services.throttle import Throttle
from tests.routers.conftest import Web

HOST = ("host", "localhost:8000")
DATABASE = "postgresql://carts@db.example/carts"


def scope_of(*headers: tuple[str, str], peer: Any = ("127.0.0.1", 5), **more: Any) -> dict[str, Any]:
    """Return the scope of a request with these headers."""
    pairs = [(name.encode(), value.encode()) for name, value in headers]
    return {"type": "http", "method": "GET", "path": "/", "scheme": "http", "client": peer, "headers": pairs, **more}


ALLOWED = {
    "curl": scope_of(HOST),
    "curl over IPv6": scope_of(("host", "[::1]:8000"), peer=("::1", 5, 0, 0)),
    "an IPv4 peer written as IPv6": scope_of(HOST, peer=("::ffff:127.0.0.1", 5)),
    "the whole loopback net": scope_of(HOST, peer=("127.8.0.1", 5)),
    "127.0.0.1 by name": scope_of(("host", "127.0.0.1:8000")),
    "no port": scope_of(("host", "localhost")),
    "capital letters": scope_of(("host", "LocalHost:8000")),
    "an address typed into the browser": scope_of(HOST, ("sec-fetch-site", "none")),
    "a link or form of our own page": scope_of(
        HOST, ("origin", "http://localhost:8000"), ("sec-fetch-site", "same-origin")
    ),
    "https, with its own origin": scope_of(HOST, ("origin", "https://localhost:8000"), scheme="https"),
}
REFUSED = {
    "another machine": scope_of(HOST, peer=("192.168.1.7", 5)),
    "another machine in IPv6": scope_of(HOST, peer=("fe80::1%eth0", 5)),
    "an unknown peer": scope_of(HOST, peer=None),
    "a peer that is no address": scope_of(HOST, peer=("localhost", 5)),
    "no Host": scope_of(),
    "two Hosts": scope_of(HOST, HOST),
    "a name that points here": scope_of(("host", "evil.example:8000")),
    "a name that begins like ours": scope_of(("host", "localhost.evil.example")),
    "a name that ends like ours": scope_of(("host", "evil-localhost")),
    "another address of this machine": scope_of(("host", "192.168.1.7:8000")),
    "a user in the Host": scope_of(("host", "localhost:8000@evil.example")),
    "Forwarded": scope_of(HOST, ("forwarded", "for=10.0.0.1")),
    "X-Forwarded-For": scope_of(HOST, ("x-forwarded-for", "127.0.0.1")),
    "X-Forwarded-Host": scope_of(HOST, ("x-forwarded-host", "localhost")),
    "X-Forwarded-Anything": scope_of(HOST, ("x-forwarded-anything", "")),
    "Via": scope_of(HOST, ("via", "1.1 proxy")),
    "X-Real-IP": scope_of(HOST, ("x-real-ip", "127.0.0.1")),
    "True-Client-IP": scope_of(HOST, ("true-client-ip", "10.0.0.1")),
    "HTTP/1.0, as nginx passes on": scope_of(HOST, http_version="1.0"),
    "a page of another site": scope_of(HOST, ("origin", "https://evil.example")),
    "a page without an origin": scope_of(HOST, ("origin", "null")),
    "a page on another port": scope_of(HOST, ("origin", "http://localhost:3000")),
    "a page of the same name over https": scope_of(HOST, ("origin", "https://localhost:8000")),
    "two origins": scope_of(HOST, ("origin", "http://localhost:8000"), ("origin", "https://evil.example")),
    "a link on another site": scope_of(HOST, ("sec-fetch-site", "cross-site")),
    "a page on another port, no origin": scope_of(HOST, ("sec-fetch-site", "same-site")),
}


@pytest.mark.parametrize("scope", ALLOWED.values(), ids=ALLOWED)
def test_the_local_user_is_let_in(scope: Scope) -> None:
    assert refusal(scope) is None


@pytest.mark.parametrize("scope", REFUSED.values(), ids=REFUSED)
def test_everybody_else_is_refused_with_a_reason(scope: Scope) -> None:
    assert refusal(scope)


def test_no_peer_is_not_this_machine() -> None:
    assert not is_loopback(None)


async def asked(scope: Scope, *, is_development: bool = True) -> tuple[list[Message], bool]:
    """Return what the sign-in sent, and whether it let the request on."""
    sent: list[Message] = []
    passed = False

    async def app(_scope: Scope, _receive: Receive, _send: Send) -> None:
        nonlocal passed
        passed = True

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        sent.append(message)

    settings = Settings(_env_file=None, env="development" if is_development else "production", database_url=DATABASE)
    services = SimpleNamespace(throttle=Throttle(settings))
    served = {"app": SimpleNamespace(state=SimpleNamespace(services=services))}
    await SignIn(app, settings=settings)({**scope, **served}, receive, send)
    return sent, passed


async def test_a_refused_request_never_reaches_the_app_and_gets_401() -> None:
    sent, passed = await asked(REFUSED["another machine"])
    assert (sent[0]["status"], passed) == (401, False)


async def test_health_asks_nobody_who_they_are() -> None:
    _sent, passed = await asked(REFUSED["another machine"] | {"path": "/api/health"})
    assert passed


@pytest.mark.parametrize("path", ["/api/health/", "/api/healthy", "/API/HEALTH", "//api/health"])
async def test_only_the_health_address_itself_is_open(path: str) -> None:
    _sent, passed = await asked(REFUSED["another machine"] | {"path": path})
    assert not passed


async def test_outside_of_development_nobody_is_signed_in() -> None:
    _sent, passed = await asked(ALLOWED["curl"], is_development=False)
    assert not passed


async def test_a_strangers_websocket_is_closed() -> None:
    sent, passed = await asked(REFUSED["a page of another site"] | {"type": "websocket", "scheme": "ws"})
    assert (sent[0]["type"], sent[0]["code"], passed) == ("websocket.close", 1008, False)


@pytest.mark.parametrize("path", ["/", "/docs", "/openapi.json", "/people", "/polling/status", "/nowhere"])
async def test_every_address_is_behind_the_sign_in(web: Web, path: str) -> None:
    answer = await web.client.get(path, headers={"Host": "evil.example"})
    assert (answer.status_code, answer.json()["title"]) == (401, "Say who you are")


async def test_an_unknown_address_answers_404_only_to_who_is_signed_in(web: Web) -> None:
    assert (await web.client.get("/nowhere")).status_code == 404


@pytest.mark.parametrize("path", ["/polling/start", "/console/start", "/console/stop", "/console/test-once"])
async def test_another_sites_form_is_refused_and_changes_nothing(web: Web, path: str) -> None:
    answer = await web.client.post(path, headers={"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"})
    assert answer.status_code == 401
    rhythm = await web.services.poller.rhythm()
    assert (rhythm.is_wanted, rhythm.interval) == (False, 30)


def test_a_server_that_trusts_proxies_does_not_hide_one() -> None:
    scope = scope_of(HOST, ("x-forwarded-for", "10.0.0.1")) | {"client": ("10.0.0.1", 0)}
    assert refusal(scope) == "the request came through a proxy"
