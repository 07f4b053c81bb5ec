"""`/metrics` for Prometheus, and the stopwatch that times our own answers."""

from __future__ import annotations

import time

from fastapi import APIRouter
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backend.routers.deps import Using
from backend.routers.guard import VIEWER, guard
from backend.services.exposition import CONTENT_TYPE

# Text rather than JSON, and for monitors rather than callers: docs/operations.md describes it.
router = APIRouter(include_in_schema=False)

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


@router.get("/metrics", dependencies=guard(VIEWER))
async def show_metrics(services: Using) -> Response:
    """Show the figures of this process and of the installation, over all companies; none of them names a company."""
    return Response(await services.exposition.render(), media_type=CONTENT_TYPE)


class Stopwatch:
    """Times each request by the pattern of its route: paths have ids in them, and there is no end of those."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 500

        async def send_on(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, send_on)
        finally:
            method = scope["method"] if scope["method"] in METHODS else "other"
            route = getattr(scope.get("route"), "path", "none")
            scope["app"].state.services.metrics.request(method, route, status, time.perf_counter() - began)
