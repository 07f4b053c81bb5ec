"""Scenes on PostgreSQL, where many processes may work, and servers of a fleet."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.e2e.scene import Scene, set_up
from tests.fleet.commands import Fleet, fleet_of
from tests.fleet.redis_server import RedisServer, running_redis
from tests.worlds import opened_world

CARTS = 10  # per store


@pytest.fixture
async def scene(postgresql_url: str) -> AsyncIterator[Scene]:
    """Return a scene on PostgreSQL."""
    async with opened_world(postgresql_url) as world, set_up(world, CARTS) as opened:
        yield opened


@pytest.fixture
async def redis() -> AsyncIterator[RedisServer]:
    """Return a redis-server of this test's own."""
    async with running_redis() as server:
        yield server


@pytest.fixture
async def plain(scene: Scene, tmp_path: Path) -> AsyncIterator[Fleet]:
    """Return a starter of processes that know of no Redis."""
    async with fleet_of(scene, tmp_path) as fleet:
        yield fleet


@pytest.fixture
async def fleet(scene: Scene, redis: RedisServer, tmp_path: Path) -> AsyncIterator[Fleet]:
    """Return a starter of processes that share a Redis."""
    async with fleet_of(scene, tmp_path, REDIS_URL=redis.url) as made:
        yield made
