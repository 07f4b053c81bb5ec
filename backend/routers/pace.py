"""The limit on how often callers may ask: 429 with `Retry-After`, before anything is read or looked up."""

from __future__ import annotations

import re

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from backend.domain.access import Caller
from backend.routers.problems import problem

COMPANY = re.compile(r"/api/v1/companies/([A-Za-z0-9_.:~-]{1,36})(?:/|$)")


class RateLimit:
    """Counts the requests of whoever is signed in. What is open to everybody, and static files, are not counted."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        caller: Caller | None = scope.get("caller")
        if scope["type"] != "http" or caller is None or str(scope["path"]).startswith("/static/"):
            await self._app(scope, receive, send)
            return
        found = COMPANY.match(str(scope["path"]))
        # Only whoever belongs there uses up a company's share.
        company = found[1] if found and caller.knows(found[1]) else None
        wait = await scope["app"].state.services.throttle.wait_for(caller.as_actor, company)
        if wait:
            await too_many(wait)(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def too_many(wait: int) -> Response:
    """Return the refusal of a caller who has to wait so many seconds."""
    words = "too many requests in the last minute"
    return problem(429, "too_many_requests", words, headers={"Retry-After": str(wait)}, remedy=f"wait {wait} s")
