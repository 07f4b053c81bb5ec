"""People for tests: let in by a link, as in life, and signed in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx

from backend.domain.access import LOCAL_OWNER, Role
from backend.services.invitations import InvitationDraft, Joining
from tests.routers.conftest import Web

PASSWORD = "copper lantern under nine stairs"
FAR = ("203.0.113.9", 50_000)
SITE = "https://carts.example"


@dataclass(slots=True)
class Signed:
    """Somebody who is signed in: their id, tokens, and the header that carries the access token."""

    person_id: str
    tokens: dict[str, Any]

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.tokens['access_token']}"}


def code_of(url: str) -> str:
    return url.partition("#")[2]


async def make_person(
    web: Web, email: str = "ada@example.com", role: Role = Role.OWNER, company: str | None = None
) -> str:
    """Let somebody in; return their id."""
    made = await web.services.invitations.invite(company, InvitationDraft(email=email, role=role), LOCAL_OWNER)
    return await web.services.invitations.join(Joining(code_of(made.url), "Ada Lovelace", PASSWORD))


async def sign_in(web: Web, email: str = "ada@example.com", **more: Any) -> httpx.Response:
    """Try to sign in over the API."""
    body = {"email": email, "password": PASSWORD} | more
    return await web.client.post("/api/v1/account/sign-in", json=body)


async def signed_in(
    web: Web, email: str = "ada@example.com", role: Role = Role.OWNER, company: str | None = None
) -> Signed:
    """Let somebody in and sign them in."""
    person = await make_person(web, email, role, company)
    answer = await sign_in(web, email)
    assert answer.status_code == 201, answer.text
    return Signed(person, answer.json())


def browser(web: Web, address: tuple[str, int] = FAR) -> httpx.AsyncClient:
    """Return somebody's browser on another machine. It keeps cookies and names its origin with forms."""
    transport = httpx.ASGITransport(app=web.app, client=address, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url=SITE, headers={"Accept": "text/html"})
