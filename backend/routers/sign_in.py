"""Who asks: an API key, a person, or in development the local user. Nobody unknown gets past it to any route."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import quote

from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backend.config import Settings
from backend.domain.access import LOCAL_OWNER, Caller
from backend.domain.acting import acting_as
from backend.domain.api_keys import KEY_HEAD
from backend.errors import NotSignedIn, ServiceError
from backend.routers.pace import too_many
from backend.routers.problems import of_error, problem
from backend.routers.visits import OWN_SITES, Cookies, Headers, Visit, visiting
from backend.services.sessions import Present

# Whoever comes here shows a password or a link, or asks for nothing that is anybody's.
OPEN_PATHS = frozenset(
    {
        "/api/health",
        "/api/v1/account/join",
        "/api/v1/account/refresh",
        "/api/v1/account/sign-in",
        "/join",
        "/sign-in",
    }
)
OPEN_FILES = "/static/"
LOCAL_HOST = re.compile(r"(?:localhost|127\.0\.0\.1|\[::1\])(?::[0-9]{1,5})?")
# What proxies add; X-Forwarded-* besides. One that adds nothing and asks for a local name looks like the local user.
TRACES = frozenset(
    {
        b"cf-connecting-ip",
        b"client-ip",
        b"fastly-client-ip",
        b"forwarded",
        b"true-client-ip",
        b"via",
        b"x-client-ip",
        b"x-cluster-client-ip",
        b"x-original-host",
        b"x-original-url",
        b"x-real-ip",
        b"x-rewrite-url",
    }
)
OLD = frozenset({"0.9", "1.0"})  # what nginx speaks to what is behind it unless told otherwise; no browser does
BEARER = re.compile(r"bearer +(\S+)", re.IGNORECASE)
LOCAL_REMEDY = (
    "open http://localhost with the service's port on the machine it runs on, typed into the address bar or with curl; "
    "from elsewhere send an API key, Authorization: Bearer crk_..."
)
KEY_REMEDY = "send an API key, Authorization: Bearer crk_..., or sign in at /sign-in; see docs/access.md"


class SignIn:
    """Finds out who asks and leaves it in the scope as `caller`; everybody else gets 401, whatever they ask for.

    In development the local user is the owner. A browser lets any page send requests to localhost, and a proxy or a
    name that points here can carry a stranger's: so the peer, the name asked for, the traces of a proxy and the page
    that asks must all be local.
    """

    def __init__(self, app: ASGIApp, *, settings: Settings) -> None:
        self._app = app
        self._is_development = settings.env == "development"
        self._cookies = Cookies(settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or _is_open(str(scope.get("path"))):
            await self._app(scope, receive, send)
            return
        kept: list[tuple[bytes, bytes]] = []  # cookies that the answer sets
        try:
            visit = scope["visit"] = await self._visit(scope, kept)
        except NotSignedIn as error:
            await self._refuse(error, scope, receive, _adding(send, kept))
            return
        except ServiceError as error:
            await of_error(error)(scope, receive, send)
            return
        scope["caller"] = visit.caller
        with acting_as(visit.caller.as_actor), visiting(visit):
            await self._app(scope, receive, _adding(send, kept))

    async def _visit(self, scope: Scope, kept: list[tuple[bytes, bytes]]) -> Visit:
        """Return who asks. Raises `NotSignedIn`."""
        given = _values(scope["headers"], b"authorization")
        if given:
            return await _holder(scope, given)
        visit = await self._resumed(scope, kept)
        if visit is not None:
            return visit
        objection = refusal(scope) if self._is_development else "nobody is signed in, and no API key was sent"
        if objection is not None:
            raise NotSignedIn(objection)
        return Visit(LOCAL_OWNER)

    async def _resumed(self, scope: Scope, kept: list[tuple[bytes, bytes]]) -> Visit | None:
        """Return the person whose cookies these are; with the refresh token where the access token is over."""
        access, refresh = self._cookies.read(scope["headers"])
        if not access and not refresh:
            return None
        services = scope["app"].state.services
        present = await services.sessions.present(access) if access else None
        if present is None and refresh:
            try:
                signed = await services.sessions.refresh(refresh)
            except NotSignedIn:
                kept += self._cookies.drop()
            else:
                kept += self._cookies.keep(signed, services.clock.now())
                present = await services.sessions.present(signed.access)
        return None if present is None else Visit(present.caller, present.mark, present.session_id)

    async def _refuse(self, error: NotSignedIn, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": str(error)})
            return
        peer = scope.get("client")
        wait = await scope["app"].state.services.throttle.wait_for_stranger(str(peer[0]) if peer else None)
        answer = too_many(wait) if wait else self._answer(error, scope)
        await answer(scope, receive, send)

    def _answer(self, error: NotSignedIn, scope: Scope) -> Response:
        if not self._is_development and _is_a_page(scope):
            return RedirectResponse(f"/sign-in?next={quote(str(scope['path']), safe='/')}", status_code=303)
        has_key = bool(_values(scope["headers"], b"authorization"))
        challenge = 'Bearer error="invalid_token"' if has_key else "Bearer"
        remedy = LOCAL_REMEDY if self._is_development and not has_key else KEY_REMEDY
        return problem(401, "not_signed_in", str(error), remedy=remedy, headers={"WWW-Authenticate": challenge})


def _is_open(path: str) -> bool:
    return path in OPEN_PATHS or path.startswith(OPEN_FILES)


def _is_a_page(scope: Scope) -> bool:
    """Whether somebody looks at this with a browser and had better be shown the way in."""
    wanted = " ".join(_values(scope["headers"], b"accept"))
    is_api = str(scope["path"]).startswith("/api/")
    return "text/html" in wanted and not is_api


def _adding(send: Send, kept: list[tuple[bytes, bytes]]) -> Send:
    """Return a `send` that sets the cookies too."""

    async def send_on(message: Message) -> None:
        if message["type"] == "http.response.start" and kept:
            message = {**message, "headers": [*message["headers"], *kept]}
        await send(message)

    return send_on


async def _holder(scope: Scope, given: list[str]) -> Visit:
    """Return who holds the key or access token in the Authorization header. Raises `NotSignedIn`."""
    found = BEARER.fullmatch(given[0]) if len(given) == 1 else None
    if found is None:
        raise NotSignedIn("the Authorization header is not the word Bearer and a key or access token")
    services = scope["app"].state.services
    if not found[1].startswith(KEY_HEAD):
        present: Present | None = await services.sessions.present(found[1])
        if present is None:
            raise NotSignedIn("the access token is not one of ours, or is over")
        return Visit(present.caller, session_id=present.session_id)
    caller: Caller | None = await services.keys.caller_of(found[1])
    if caller is None:
        raise NotSignedIn("the API key is not one of ours, or is no longer valid")
    return Visit(caller)


def refusal(scope: Scope) -> str | None:
    """Return why a request is not the local user's own, or None when it is."""
    headers: list[tuple[bytes, bytes]] = scope["headers"]
    # First: a server that trusts local proxies has put the address that X-Forwarded-For names in the peer's place.
    if any(name in TRACES or name.startswith(b"x-forwarded-") for name, _ in headers):
        return "the request came through a proxy"
    if scope.get("http_version") in OLD:
        return "the request came as HTTP/1.0, as proxies pass requests on"
    if not is_loopback(scope.get("client")):
        return "the request does not come from this machine"
    hosts = [host.lower() for host in _values(headers, b"host")]
    if len(hosts) != 1 or not LOCAL_HOST.fullmatch(hosts[0]):
        return "the request was made to a name that is not local"
    own = f"{scope['scheme'].replace('ws', 'http')}://{hosts[0]}"
    if any(origin.lower() != own for origin in _values(headers, b"origin")):
        return "the request was made by a page of another site"
    if any(site.lower() not in OWN_SITES for site in _values(headers, b"sec-fetch-site")):
        return "the request was made by a page of another site"
    return None


def _values(headers: Headers, wanted: bytes) -> list[str]:
    return [value.decode("latin-1").strip() for name, value in headers if name == wanted]


def is_loopback(client: tuple[str, int] | list[object] | None) -> bool:
    """Whether the peer's address is this machine's own, in IPv4, IPv6 or IPv4 written as IPv6."""
    try:
        address = ipaddress.ip_address(str(client[0]) if client else "")
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback
