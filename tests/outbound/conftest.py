"""Clients that are closed after the test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from backend.outbound import Outbound, OutboundPolicy

MakeClient = Callable[..., Outbound]


@pytest.fixture
async def make_client() -> AsyncIterator[MakeClient]:
    """Return a maker of clients; loopback is allowed unless the policy given says otherwise."""
    async with AsyncExitStack() as stack:

        def make(policy: OutboundPolicy | None = None, **options: Any) -> Outbound:
            client = Outbound(policy or OutboundPolicy(allow_loopback=True), **options)
            stack.push_async_callback(client.aclose)
            return client

        yield make


@pytest.fixture
def client(make_client: MakeClient) -> Outbound:
    """Return a client that may talk to loopback."""
    return make_client()
