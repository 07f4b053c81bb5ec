"""What all simulated servers share: a record of requests, faults, control routes, start and stop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

from aiohttp import web

from simulator.faults import GENERIC_ANSWERS, Fault, answer_with, drop

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class SeenRequest:
    """One request as the server saw it; `path` is raw, with its query."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Simulator:
    """Base of every simulated server. A subclass gives `routes()`; state is plain attributes.

    Used in-process (`async with sim.running() as base_url`) or as a process of its own, where the control routes
    (`/_control/...`) do what attributes do in-process.
    """

    name = "simulator"
    keep_requests = 10_000

    def __init__(self, now: Callable[[], datetime] | None = None) -> None:
        self.now = now or (lambda: datetime.now(UTC))
        self.faults: list[Fault] = []
        self.requests: list[SeenRequest] = []
        self.base_url = ""
        # How far the server's own clock is from `now`.
        self.clock_skew = timedelta(0)
        # While it is closed (`clear()`), requests are taken and not answered.
        self.gate = asyncio.Event()
        self.gate.set()
        self.asked = asyncio.Event()  # set by every request

    def routes(self) -> list[web.RouteDef]:
        """Return the server's routes."""
        raise NotImplementedError

    def inject(self, kind: str, **options: Any) -> Fault:
        """Ask for a fault (see `simulator.faults.Fault`)."""
        fault = Fault(kind, **options)
        self.faults.append(fault)
        return fault

    def fault_for(self, path: str, kinds: frozenset[str] | None = None) -> Fault | None:
        """Return the first fault that takes this request, of `kinds` only if given."""
        for fault in self.faults:
            if (kinds is None or fault.kind in kinds) and fault.takes(path):
                return fault
        return None

    def app(self) -> web.Application:
        """Build the aiohttp application."""
        app = web.Application(middlewares=[self._around], client_max_size=64 * 1024 * 1024)
        app.add_routes(self.routes())
        app.add_routes(
            [
                web.get("/_control/faults", self._list_faults),
                web.post("/_control/faults", self._add_fault),
                web.delete("/_control/faults", self._clear_faults),
                web.get("/_control/health", self._health),
            ]
        )
        return app

    @asynccontextmanager
    async def running(self, port: int = 0) -> AsyncIterator[str]:
        """Serve on loopback, on a free port unless `port` is given; yields the base URL."""
        runner = web.AppRunner(self.app(), access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", port)
            await site.start()
            self.base_url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            yield self.base_url
        finally:
            await runner.cleanup()

    @web.middleware
    async def _around(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path.startswith("/_control/"):
            return await handler(request)
        path = request.raw_path
        await self._remember(request, path)
        self.asked.set()
        await self.gate.wait()
        fault = self.fault_for(path, GENERIC_ANSWERS | {"slow", "date", "answered_then_reset"})
        if fault is not None and fault.kind in GENERIC_ANSWERS:
            return self._dated(await answer_with(fault, request), timedelta(0))
        if fault is not None and fault.kind == "slow":
            await asyncio.sleep(fault.seconds)
        response = await handler(request)
        if fault is not None and fault.kind == "answered_then_reset":
            return drop(request)
        return self._dated(response, timedelta(seconds=fault.seconds if fault and fault.kind == "date" else 0))

    def _dated(self, response: web.StreamResponse, off_by: timedelta) -> web.StreamResponse:
        """Give the answer this server's own time, unless a fault gave it another."""
        moment = self.now() + self.clock_skew + off_by
        response.headers.setdefault("Date", format_datetime(moment, usegmt=True))
        return response

    async def _remember(self, request: web.Request, path: str) -> None:
        if len(self.requests) < self.keep_requests:
            body = await request.read()
            self.requests.append(SeenRequest(request.method, path, dict(request.headers), body))

    async def _list_faults(self, _request: web.Request) -> web.Response:
        return web.json_response([fault.as_json() for fault in self.faults])

    async def _add_fault(self, request: web.Request) -> web.Response:
        fault = Fault(**await request.json())
        self.faults.append(fault)
        return web.json_response(fault.as_json(), status=201)

    async def _clear_faults(self, _request: web.Request) -> web.Response:
        self.faults.clear()
        return web.Response(status=204)

    async def _health(self, _request: web.Request) -> web.Response:
        return web.json_response({"name": self.name, "now": self.now().isoformat()})
