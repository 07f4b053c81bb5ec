"""The line fixture."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import structlog

from tests.services.line import Line, running_line
from tests.worlds import World


@pytest.fixture(autouse=True)
def quiet_log() -> Iterator[None]:
    """Keep log lines to themselves: drawing the traceback of one expected bug takes seconds."""
    with structlog.testing.capture_logs():
        yield


@pytest.fixture
async def line(world: World) -> AsyncIterator[Line]:
    """Return a running line on both databases."""
    async with running_line(world) as started:
        yield started
