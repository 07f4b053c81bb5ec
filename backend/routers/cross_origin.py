"""Pages of other origins: those that CORS_ORIGINS lists may call the API with a key; no other hears of it.

Credentials are never allowed: the API takes keys, which a page sends by itself, and the console's cookies stay at home.
"""

from __future__ import annotations

from collections.abc import Collection

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backend.routers.edge import with_security

Headers = list[tuple[bytes, bytes]]

PATHS = ("/api/", "/polling/")
VARY = (b"vary", b"Origin")  # caches must not give one origin's answer to another
MAY_BE_ASKED: Headers = [
    (b"access-control-allow-methods", b"GET, POST, PUT, PATCH, DELETE"),
    (b"access-control-allow-headers", b"Authorization, Content-Type"),
    (b"access-control-max-age", b"600"),
]
MAY_BE_READ = (b"access-control-expose-headers", b"Retry-After")


class CrossOrigin:
    """Answers preflights of listed origins, which come without a key, and lets those origins read every answer."""

    def __init__(self, app: ASGIApp, *, origins: Collection[str]) -> None:
        self._app = app
        self._origins = frozenset(origin.encode("ascii") for origin in origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not str(scope["path"]).startswith(PATHS):
            await self._app(scope, receive, send)
            return
        given: list[bytes] = [value for name, value in scope["headers"] if name == b"origin"]
        is_listed = len(given) == 1 and given[0] in self._origins
        allowed = (b"access-control-allow-origin", given[0]) if is_listed else None
        if allowed and _is_preflight(scope):
            headers = with_security([allowed, VARY, *MAY_BE_ASKED])
            await send({"type": "http.response.start", "status": 204, "headers": headers})
            await send({"type": "http.response.body", "body": b""})
            return

        async def send_on(message: Message) -> None:
            if message["type"] == "http.response.start":
                more = [allowed, MAY_BE_READ] if allowed else []
                message = {**message, "headers": [*message["headers"], VARY, *more]}
            await send(message)

        await self._app(scope, receive, send_on)


def _is_preflight(scope: Scope) -> bool:
    asks = any(name == b"access-control-request-method" for name, _ in scope["headers"])
    return bool(scope["method"] == "OPTIONS" and asks)
