"""`python -m backend.main`: the web app where HOST and PORT say."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process

import aiohttp

from backend.config import ROOT

LIMIT = 60.0  # seconds that it is waited for; it takes a few


async def start(**variables: str) -> Process:
    """Start the command with these settings."""
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "backend.main", cwd=ROOT, env={**os.environ, "MASTER_KEY": "", **variables},
        stdin=DEVNULL, stdout=PIPE, stderr=STDOUT,
    )  # fmt: skip


def free_port() -> int:
    """Return a port that the system says is free."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def test_it_listens_on_the_port_of_the_settings_and_ends_in_order(sqlite_url: str) -> None:
    port = free_port()
    process = await start(DATABASE_URL=sqlite_url, PORT=str(port))
    assert process.stdout is not None
    while b"running on" not in await asyncio.wait_for(process.stdout.readline(), LIMIT):
        assert process.returncode is None
    url = f"http://127.0.0.1:{port}/api/health"
    async with aiohttp.ClientSession() as client, client.get(url) as answer:
        assert await answer.json() == {"status": "ok"}
    process.send_signal(signal.SIGINT)
    await asyncio.wait_for(process.communicate(), LIMIT)
    assert process.returncode == 0


async def test_a_faulty_setting_is_one_line(sqlite_url: str) -> None:
    process = await start(DATABASE_URL=sqlite_url, PORT="many")
    output, _none = await asyncio.wait_for(process.communicate(), LIMIT)
    assert process.returncode == 2
    assert output.decode().startswith("error: PORT: ")
    assert len(output.splitlines()) == 1
