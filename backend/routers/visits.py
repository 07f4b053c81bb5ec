"""A person's visit with a browser: their cookies, who they are on the page they look at, and forged requests.

Cookies: `HttpOnly`, so no script reads them; `SameSite=Lax`, so no other site's form or script sends them; `Secure` and
the prefix `__Host-` wherever the console is reached by https. On top of that every change carries the session's own
token, which another site cannot know (OWASP's cheat sheet on request forgery: synchronizer token).
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import parse_qs, urlsplit

from fastapi import Request

from backend.config import Settings
from backend.domain.access import Caller, Role
from backend.domain.people import Visitor
from backend.errors import NotAllowed
from backend.services.sessions import Signed

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
CSRF_FIELD, CSRF_HEADER = "csrf_token", "x-csrf-token"
ATTRIBUTES = "Path=/; HttpOnly; SameSite=Lax"
OWN_SITES = frozenset({"same-origin", "none"})
Headers = Iterable[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Visit:
    """Who looks at a page. `csrf_token` is empty for whoever came without a cookie."""

    caller: Caller
    csrf_token: str = ""
    session_id: str = ""

    def may(self, role: str, company_id: str | None = None) -> bool:
        """Whether a button for this role is of use to them."""
        return self.caller.may(Role(role), company_id)


_VISIT: ContextVar[Visit | None] = ContextVar("visit", default=None)


def visit() -> Visit | None:
    """Return who looks at the page that is being made; None where nobody signed in."""
    return _VISIT.get()


@contextmanager
def visiting(who: Visit) -> Iterator[None]:
    """Make pages for somebody while the block lasts."""
    token = _VISIT.set(who)
    try:
        yield
    finally:
        _VISIT.reset(token)


class Cookies:
    """The two cookies of a session: one for its access token, one for its refresh token."""

    def __init__(self, settings: Settings) -> None:
        self._is_secure = settings.env == "production" or settings.app_url.startswith("https:")
        prefix = "__Host-" if self._is_secure else ""
        self._access, self._refresh = f"{prefix}cart_access", f"{prefix}cart_refresh"

    def read(self, headers: Headers) -> tuple[str, str]:
        """Return the access and the refresh token that a browser sent; empty where there is none."""
        pairs = (
            pair.strip().partition("=")
            for name, value in headers
            if name == b"cookie"
            for pair in value.decode("latin-1").split(";")
        )
        found = {name: value for name, _equals, value in pairs}
        return found.get(self._access, ""), found.get(self._refresh, "")

    def keep(self, signed: Signed, now: datetime) -> list[tuple[bytes, bytes]]:
        """Return the headers that make a browser keep a session's tokens as long as they are good."""
        return [
            self._cookie(self._access, signed.access, signed.access_until - now),
            self._cookie(self._refresh, signed.refresh, signed.refresh_until - now),
        ]

    def drop(self) -> list[tuple[bytes, bytes]]:
        """Return the headers that make a browser forget them."""
        return [self._cookie(name, "", timedelta()) for name in (self._access, self._refresh)]

    def _cookie(self, name: str, value: str, life: timedelta) -> tuple[bytes, bytes]:
        seconds = max(0, int(life.total_seconds()))
        secure = "; Secure" if self._is_secure else ""
        return b"set-cookie", f"{name}={value}; Max-Age={seconds}; {ATTRIBUTES}{secure}".encode()


async def check_forgery(request: Request) -> None:
    """Refuse a change that a page of another site makes a browser send. Raises `NotAllowed`.

    Whoever comes by cookie shows the session's own token, in a header or a form's field; a key is not sent by itself.
    """
    who: Visit | None = request.scope.get("visit")
    if request.method in SAFE or who is None or not who.csrf_token:
        return
    given = request.headers.get(CSRF_HEADER) or (await form_fields(request)).get(CSRF_FIELD, "")
    if not hmac.compare_digest(given.encode(), who.csrf_token.encode()):
        raise NotAllowed("the page is out of date; load it again and repeat what you did")


async def own_page(request: Request) -> None:
    """Refuse a form of another site where there is no session yet. Raises `NotAllowed`."""
    origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site", "none")
    asked = {request.headers.get("host", ""), urlsplit(request.app.state.services.settings.app_url).netloc}
    if site.lower() not in OWN_SITES or (origin is not None and urlsplit(origin).netloc.lower() not in asked):
        raise NotAllowed("the form was sent by a page of another site")


async def form_fields(request: Request) -> dict[str, str]:
    """Return a form's fields, the last of each name; what cannot be read is as if it were not there."""
    text = (await request.body()).decode("utf-8", "replace")
    try:
        return {name: values[-1] for name, values in parse_qs(text, max_num_fields=20).items()}
    except ValueError:
        return {}


def visitor(request: Request, kind: str) -> Visitor:
    """Return what is told of a new session: where from and with which program, as far as it can be shown."""
    client = "".join(each for each in request.headers.get("user-agent", "") if each.isprintable())
    return Visitor(kind, address_of(request), client[:200] or "unknown")


def address_of(request: Request) -> str:
    """Return the peer's address."""
    return (request.client.host if request.client else "unknown")[:64]
