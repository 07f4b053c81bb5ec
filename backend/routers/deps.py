"""Who may pass: the development sign-in that stands before every route, and what routes ask for."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import Annotated

from fastapi import Depends, Path, Query, Request
from starlette.types import ASGIApp, Receive, Scope, Send

from backend.routers.problems import problem
from backend.services.overview import MOST, Paging
from backend.services.wiring import Services

OPEN_PATHS = frozenset({"/api/health"})
LOCAL_HOST = re.compile(r"(?:localhost|127\.0\.0\.1|\[::1\])(?::[0-9]{1,5})?")
OWN_SITES = frozenset({"same-origin", "none"})
REMEDY = (
    "open http://localhost with the service's port on the machine it runs on, typed into the address bar or with curl"
)


class SignIn:
    """Signs the local user in as owner in development; everybody else gets 401, whatever they ask for.

    A browser lets any page send requests to localhost, and a proxy or a name that points here can carry a stranger's:
    so the peer, the name asked for, the traces of a proxy and the page that asks must all be local.
    """

    def __init__(self, app: ASGIApp, *, is_development: bool) -> None:
        self._app = app
        self._is_development = is_development

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or scope.get("path") in OPEN_PATHS:
            await self._app(scope, receive, send)
            return
        objection = refusal(scope) if self._is_development else "nobody can sign in before API keys exist"
        if objection is None:
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": objection})
        else:
            answer = problem(401, "not_signed_in", objection, remedy=REMEDY, headers={"WWW-Authenticate": "Loopback"})
            await answer(scope, receive, send)


def refusal(scope: Scope) -> str | None:
    """Return why a request is not the local user's own, or None when it is."""
    headers: list[tuple[bytes, bytes]] = scope["headers"]
    # First: a server that trusts local proxies has put the address that X-Forwarded-For names in the peer's place.
    if any(name == b"forwarded" or name.startswith(b"x-forwarded-") for name, _ in headers):
        return "the request came through a proxy"
    if not is_loopback(scope.get("client")):
        return "the request does not come from this machine"
    hosts = _values(headers, b"host")
    if len(hosts) != 1 or not LOCAL_HOST.fullmatch(hosts[0]):
        return "the request was made to a name that is not local"
    own = f"{scope['scheme'].replace('ws', 'http')}://{hosts[0]}"
    if any(origin != own for origin in _values(headers, b"origin")):
        return "the request was made by a page of another site"
    if any(site not in OWN_SITES for site in _values(headers, b"sec-fetch-site")):
        return "the request was made by a page of another site"
    return None


def _values(headers: Iterable[tuple[bytes, bytes]], wanted: bytes) -> list[str]:
    return [value.decode("latin-1").strip().lower() for name, value in headers if name == wanted]


def is_loopback(client: tuple[str, int] | list[object] | None) -> bool:
    """Whether the peer's address is this machine's own, in IPv4, IPv6 or IPv4 written as IPv6."""
    try:
        address = ipaddress.ip_address(str(client[0]) if client else "")
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def get_services(request: Request) -> Services:
    """Return what the lifespan built."""
    services: Services = request.app.state.services
    return services


def get_paging(
    limit: Annotated[int, Query(ge=1, le=MOST, description="Rows of one page.", examples=[50])] = 50,
    after: Annotated[
        str | None,
        Query(max_length=400, pattern=r"^[A-Za-z0-9_.~:=+-]*$", description="`next` of the page before, as it came."),
    ] = None,
) -> Paging:
    """Return the page that the caller asks for."""
    return Paging(limit, after or None)


ID = r"^[A-Za-z0-9_.:~-]+$"
Using = Annotated[Services, Depends(get_services)]
Page = Annotated[Paging, Depends(get_paging)]
CompanyId = Annotated[str, Path(max_length=36, pattern=ID, description="The company's id.", examples=["5f0c9a52"])]
AgentId = Annotated[str, Path(max_length=80, pattern=ID, description="The agent's id.", examples=["a1b2c3"])]
IntegrationId = Annotated[str, Path(max_length=80, pattern=ID, description="The integration's id.", examples=["i7d9"])]
DestinationId = Annotated[str, Path(max_length=80, pattern=ID, description="The destination's id.", examples=["d4e8"])]
CartId = Annotated[str, Path(max_length=80, pattern=ID, description="Our id of the cart.", examples=["c0ffee"])]
DeliveryId = Annotated[str, Path(max_length=80, pattern=ID, description="The delivery's id.", examples=["de11"])]
CycleId = Annotated[str, Path(max_length=80, pattern=ID, description="The cycle's id.", examples=["cy01"])]
