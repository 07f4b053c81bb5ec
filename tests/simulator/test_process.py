"""Each simulated server runs as a process of its own and says where."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

ROOT = Path(__file__).parents[2]


@asynccontextmanager
async def running(*arguments: str) -> AsyncIterator[str]:
    """Start `python -m simulator`, yield its base URL, and stop it."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "simulator", *arguments, cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        line = (await process.stdout.readline()).decode()
        assert line.startswith("listening http://127.0.0.1:")
        yield line.removeprefix("listening ").strip()
    finally:
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0


@pytest.mark.parametrize("server", ["shopify", "woocommerce", "magento", "bigcommerce", "custom", "partner"])
async def test_a_server_says_where_it_listens(server: str) -> None:
    async with (
        running(server, "--shops", "2", "--carts", "3") as base_url,
        aiohttp.ClientSession() as client,
        client.get(f"{base_url}/_control/health") as response,
    ):
        assert (await response.json())["name"] == server


async def test_each_custom_store_begins_with_carts_of_its_own() -> None:
    async with running("custom", "--shops", "2", "--carts", "3") as base_url, aiohttp.ClientSession() as client:
        query = {"updated_since": "2020-01-01T00:00:00Z"}
        headers = {"Authorization": "Bearer token-s1"}
        async with client.get(f"{base_url}/s1/abandoned-carts", params=query, headers=headers) as response:
            body = await response.json()
    assert sorted(cart["id"] for cart in body["carts"]) == ["s1-cart-0", "s1-cart-1", "s1-cart-2"]
