"""The line fixture."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.services.line import Line, running_line
from tests.worlds import World


@pytest.fixture
async def line(world: World) -> AsyncIterator[Line]:
    """Return a running line on both databases."""
    async with running_line(world) as started:
        yield started
