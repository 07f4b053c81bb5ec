"""The limit on callers over a real Redis: all web processes count together, and go on without it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import structlog

from backend.config import Settings
from backend.services.throttle import Throttle
from tests.fleet.redis_server import RedisServer

pytestmark = pytest.mark.redis


@pytest.fixture
async def two(redis: RedisServer) -> AsyncIterator[tuple[Throttle, Throttle]]:
    """Return the limits of two processes on one Redis."""
    both = tuple(Throttle(Settings(_env_file=None, redis_url=redis.url, rate_limit_caller=4)) for _ in range(2))
    yield both[0], both[1]
    for each in both:
        await each.aclose()


async def test_two_processes_count_together(two: tuple[Throttle, Throttle]) -> None:
    waits = [await each.wait_for("key:k", None) for each in two * 3]
    assert [bool(wait) for wait in waits] == [False] * 4 + [True] * 2


async def test_an_outage_is_told_once_and_lets_nobody_loose(
    redis: RedisServer, two: tuple[Throttle, Throttle], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backend.services.throttle.TRY_AGAIN", 0.0)
    one = two[0]
    await redis.kill()
    with structlog.testing.capture_logs() as lines:
        waits = [await one.wait_for("key:k", None) for _ in range(6)]
        await redis.start()
        await one.wait_for("key:other", None)
    assert [bool(wait) for wait in waits] == [False] * 4 + [True] * 2
    assert [line["event"] for line in lines] == ["throttle.redis_away", "throttle.redis_back"]
