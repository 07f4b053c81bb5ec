"""The web app on a real database, asked as the local user would; its background loops stay off."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx
import pytest
from fastapi import FastAPI

from backend.clock import Clock
from backend.main import create_app
from backend.services.wiring import Services
from tests.services.line import Line, running_line
from tests.worlds import World

LOCAL = ("127.0.0.1", 50_000)


@dataclass(slots=True)
class Web:
    """The app, its services, and a client on the same machine."""

    app: FastAPI
    services: Services
    client: httpx.AsyncClient
    world: World


def local_client(app: FastAPI) -> httpx.AsyncClient:
    """Return a client that reaches the app over loopback, and sees an error of ours as the 500 it is."""
    transport = httpx.ASGITransport(app=app, client=LOCAL, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://localhost:8000")


@pytest.fixture
async def web(world: World) -> AsyncIterator[Web]:
    """Return a running app on both databases."""
    app = create_app(world.settings.model_copy(update={"run_loops": False}))
    async with app.router.lifespan_context(app), local_client(app) as client:
        yield Web(app, app.state.services, client, world)


@pytest.fixture
async def line(world: World) -> AsyncIterator[Line]:
    """Return a store, a partner and what stands between them, on the database and at the time that `web` shows."""
    async with running_line(world) as started:
        started.clock.at = Clock().now()
        yield started
