"""A small world for tests of stores and services: real settings, a real migrated database, keys, clock and HTTP."""

from __future__ import annotations

import base64
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from backend.clock import Clock
    from backend.config import Settings
    from backend.db import Database
    from backend.outbound import Outbound
    from backend.services.keyring import Keyring


@dataclass(slots=True)
class World:
    """What services are made of. Replace a part where a test needs its own, for example the clock."""

    settings: Settings
    database: Database
    keyring: Keyring
    clock: Clock
    http: Outbound


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[World]:
    """Return a world on a fresh migrated database; the test runs once on SQLite and once on PostgreSQL."""
    async with opened_world(database_url) as opened:
        yield opened


@asynccontextmanager
async def opened_world(database_url: str) -> AsyncIterator[World]:
    """Open a world on a migrated database.

    Loopback is allowed, as the simulators live there. `settings.master_key` is the keyring's own key, so that a
    command started by the test opens what the test sealed.
    """
    # Imported here so that tests of pure rules start without SQLAlchemy and aiohttp.
    from backend.clock import Clock  # noqa: PLC0415
    from backend.config import Settings  # noqa: PLC0415
    from backend.db import Database  # noqa: PLC0415
    from backend.outbound import Outbound, OutboundPolicy  # noqa: PLC0415
    from backend.services.keyring import Keyring  # noqa: PLC0415

    master_key = os.urandom(32)
    settings = Settings(
        _env_file=None,
        database_url=database_url,
        master_key=base64.b64encode(master_key).decode(),
        outbound_allow_loopback=True,
    )
    database, http = Database(settings), Outbound(OutboundPolicy(allow_loopback=True))
    try:
        yield World(settings, database, Keyring(master_key), Clock(), http)
    finally:
        await http.aclose()
        await database.close()
