"""Who asks: an API key, or in development the local user. Stands before every route; nobody unknown gets past it."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from backend.domain.access import LOCAL_OWNER, Caller
from backend.domain.acting import acting_as
from backend.errors import NotSignedIn, ServiceError
from backend.routers.problems import of_error, problem

OPEN_PATHS = frozenset({"/api/health"})
LOCAL_HOST = re.compile(r"(?:localhost|127\.0\.0\.1|\[::1\])(?::[0-9]{1,5})?")
OWN_SITES = frozenset({"same-origin", "none"})
BEARER = re.compile(r"bearer +(\S+)", re.IGNORECASE)
LOCAL_REMEDY = (
    "open http://localhost with the service's port on the machine it runs on, typed into the address bar or with curl; "
    "from elsewhere send an API key, Authorization: Bearer crk_..."
)
KEY_REMEDY = "send an API key, Authorization: Bearer crk_...; an owner makes one, see docs/access.md"


class SignIn:
    """Finds out who asks and leaves it in the scope as `caller`; everybody else gets 401, whatever they ask for.

    In development the local user is the owner. A browser lets any page send requests to localhost, and a proxy or a
    name that points here can carry a stranger's: so the peer, the name asked for, the traces of a proxy and the page
    that asks must all be local.
    """

    def __init__(self, app: ASGIApp, *, is_development: bool) -> None:
        self._app = app
        self._is_development = is_development

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or scope.get("path") in OPEN_PATHS:
            await self._app(scope, receive, send)
            return
        try:
            caller = scope["caller"] = await self._caller(scope)
        except ServiceError as error:
            await self._refuse(error, scope, receive, send)
            return
        with acting_as(caller.as_actor):
            await self._app(scope, receive, send)

    async def _caller(self, scope: Scope) -> Caller:
        """Return who asks. Raises `NotSignedIn`."""
        given = _values(scope["headers"], b"authorization")
        if given:
            return await _holder(scope, given)
        objection = refusal(scope) if self._is_development else "no API key was sent"
        if objection is not None:
            raise NotSignedIn(objection)
        return LOCAL_OWNER

    async def _refuse(self, error: ServiceError, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": str(error)})
        else:
            await self._answer(error, scope)(scope, receive, send)

    def _answer(self, error: ServiceError, scope: Scope) -> Response:
        if not isinstance(error, NotSignedIn):
            return of_error(error)
        has_key = bool(_values(scope["headers"], b"authorization"))
        challenge = 'Bearer error="invalid_token"' if has_key else "Bearer"
        remedy = LOCAL_REMEDY if self._is_development and not has_key else KEY_REMEDY
        return problem(401, "not_signed_in", str(error), remedy=remedy, headers={"WWW-Authenticate": challenge})


async def _holder(scope: Scope, given: list[str]) -> Caller:
    """Return who holds the key in the Authorization header. Raises `NotSignedIn`."""
    found = BEARER.fullmatch(given[0]) if len(given) == 1 else None
    if found is None:
        raise NotSignedIn("the Authorization header is not the word Bearer and a key")
    caller: Caller | None = await scope["app"].state.services.keys.caller_of(found[1])
    if caller is None:
        raise NotSignedIn("the API key is not one of ours, or is no longer valid")
    return caller


def refusal(scope: Scope) -> str | None:
    """Return why a request is not the local user's own, or None when it is."""
    headers: list[tuple[bytes, bytes]] = scope["headers"]
    # First: a server that trusts local proxies has put the address that X-Forwarded-For names in the peer's place.
    if any(name == b"forwarded" or name.startswith(b"x-forwarded-") for name, _ in headers):
        return "the request came through a proxy"
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


def _values(headers: Iterable[tuple[bytes, bytes]], wanted: bytes) -> list[str]:
    return [value.decode("latin-1").strip() for name, value in headers if name == wanted]


def is_loopback(client: tuple[str, int] | list[object] | None) -> bool:
    """Whether the peer's address is this machine's own, in IPv4, IPv6 or IPv4 written as IPv6."""
    try:
        address = ipaddress.ip_address(str(client[0]) if client else "")
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback
