"""The web app: settings, database, loops, routers.

Started as `uvicorn backend.main:app`, as `uvicorn main:app` from inside backend/, or as `python -m backend.main`, which
listens where HOST and PORT say.
"""

from __future__ import annotations

import asyncio
import gc
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

# Started from inside backend/, this file is the module `main` and the project's root is not on the path. Everything
# is imported as backend.*, from here on this module too, so that no module is ever loaded twice.
if __name__ == "main":
    ROOT = Path(__file__).resolve().parent.parent
    sys.path[:] = [str(ROOT), *(entry for entry in sys.path if Path(entry).resolve() != ROOT / "backend")]
    sys.modules["backend.main"] = sys.modules[__name__]

import uvicorn
from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles

from backend.config import Settings, load_settings
from backend.crypto import load_master_key
from backend.db import prepare_database
from backend.domain.lanes import LANE_NAMES
from backend.errors import SetupProblem
from backend.logs import set_up_logs
from backend.routers import (
    account,
    account_pages,
    agents,
    alerts,
    audit,
    carts,
    companies,
    cycles,
    deliveries,
    destinations,
    health,
    hold,
    integrations,
    keys,
    metrics,
    pages,
    people,
    people_pages,
    polling,
    quarantine,
    reference,
)
from backend.routers.bodies import BodyGuard
from backend.routers.cross_origin import CrossOrigin
from backend.routers.edge import Edge
from backend.routers.pace import RateLimit
from backend.routers.problems import add_handlers
from backend.routers.sign_in import SignIn
from backend.routers.slow_clients import ROOM, Patience, PatientProtocol, Room
from backend.services.wiring import build_services
from backend.worker import Post, Worker, check_alone

ROUTERS = (
    polling,
    companies,
    agents,
    integrations,
    destinations,
    carts,
    deliveries,
    hold,
    cycles,
    quarantine,
    account,
    people,
    keys,
    audit,
    health,
    alerts,
    metrics,
    pages,
    account_pages,
    people_pages,
)
STATIC = Path(__file__).resolve().parent / "static"


def create_app(settings: Settings | None = None, lanes: tuple[str, ...] = LANE_NAMES) -> FastAPI:
    """Return the web app; RUN_LOOPS says whether it also works on `lanes`.

    Raises `SetupProblem` when the installation cannot be served as it is set up.
    """
    settings = settings or load_settings()
    check_setup(settings)
    app = FastAPI(
        title="Abandoned cart recovery",
        version="1.0",
        description=reference.DESCRIPTION,
        openapi_tags=reference.TAGS,
        lifespan=_lifespan(settings, Post("web", lanes)),
        docs_url=None,  # FastAPI's own page loads its scripts from the internet; ours is in routers/reference.py
        redoc_url=None,
        openapi_url=None,  # it asks for no role; ours does
    )
    add_handlers(app)
    for module in (*ROUTERS, reference):
        app.include_router(module.router)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    reference.document_problems(app)
    # Added last, asked first: how long it took, from whose page, headers and faults, who it is, how often, the body.
    app.add_middleware(BodyGuard, seconds=settings.request_body_seconds)
    app.add_middleware(RateLimit)
    app.add_middleware(SignIn, settings=settings)
    app.add_middleware(Edge)
    if settings.cors_origins:
        app.add_middleware(CrossOrigin, origins=settings.cors_origins)
    app.add_middleware(metrics.Stopwatch)
    return app


def check_setup(settings: Settings) -> None:
    """Look for the secrets that must be set. Raises `SetupProblem`."""
    if settings.env == "production" or not settings.is_sqlite:
        load_master_key(settings)  # elsewhere the first start makes one


def _lifespan(settings: Settings, post: Post) -> Callable[[FastAPI], AbstractAsyncContextManager[Mapping[str, Any]]]:
    """Return what opens and closes the services, and gives the server the room for its connections."""
    patience = Patience(settings.request_head_seconds, settings.request_body_seconds, settings.max_connections)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[Mapping[str, Any]]:
        set_up_logs(settings)
        async with AsyncExitStack() as stack:
            await prepare_database(settings)
            app.state.services = await build_services(settings)
            stack.push_async_callback(app.state.services.aclose)
            if settings.run_loops:
                await stack.enter_async_context(Worker(app.state.services, post).running())
            await stack.enter_async_context(app.state.services.watch.running())
            yield {ROOM: Room(patience, app.state.services.metrics.client_closed)}

    return lifespan


def __getattr__(name: str) -> FastAPI:
    """Make `app` when a server asks for it, so that importing `create_app` reads no settings.

    An installation that cannot be served ends the process with one line and exit code 2.
    """
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        made = create_app()
    except SetupProblem as problem:
        sys.stderr.write(f"error: {problem}\n")
        raise SystemExit(2) from None
    globals()["app"] = made
    return made


class _Server(uvicorn.Server):
    """A server that has ended in order once SIGTERM was obeyed; uvicorn's own would let the signal strike after all."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to serve. What was made by now stays; to look for garbage in it again and again would delay answers."""
        await super().startup(sockets)
        gc.collect()
        gc.freeze()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Ask the server to end at the first signal, and to hurry at the second."""
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def serve(settings: Settings, lanes: tuple[str, ...] = LANE_NAMES) -> None:
    """Serve on HOST and PORT until SIGINT or SIGTERM. Raises `SetupProblem` before anything is served or begun."""
    app = create_app(settings, lanes)
    set_up_logs(settings)
    _check_port(settings)
    asyncio.run(_look_first(settings))
    server = _Server(uvicorn.Config(app, host=settings.host, port=settings.port, http=PatientProtocol))
    server.run()
    if not server.started:
        raise SetupProblem("the service did not start; the lines above say why")


def _check_port(settings: Settings) -> None:
    """Refuse a port that cannot be listened on, before the loops begin: a server looks only after that."""
    try:
        family, kind, _protocol, _name, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        told = f"cannot listen on {settings.host} port {settings.port}: {error.strerror or error}"
        raise SetupProblem(f"{told}; set HOST and PORT to what is free") from None


async def _look_first(settings: Settings) -> None:
    """Find what is wrong with the database or the keys now: a server tells of it with a trace."""
    await prepare_database(settings)
    services = await build_services(settings)
    try:
        if settings.run_loops:
            check_alone(services)
    finally:
        await services.aclose()


if __name__ == "__main__":
    try:
        serve(load_settings())
    except SetupProblem as problem:
        sys.stderr.write(f"error: {problem}\n")
        raise SystemExit(2) from None
