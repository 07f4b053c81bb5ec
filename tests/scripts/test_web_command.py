"""`python -m backend.main`: the web app where HOST and PORT say."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process

import aiohttp
import pytest

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


async def serves(process: Process) -> None:
    """Wait until a process says that it serves."""
    assert process.stdout is not None
    while b"running on" not in await asyncio.wait_for(process.stdout.readline(), LIMIT):
        assert process.returncode is None


async def ends(process: Process, number: signal.Signals = signal.SIGINT) -> int | None:
    """Send a signal and return the exit code."""
    process.send_signal(number)
    await asyncio.wait_for(process.communicate(), LIMIT)
    return process.returncode


async def refusal(process: Process) -> str:
    """Return the one line with which a process ended that could not start."""
    output, _none = await asyncio.wait_for(process.communicate(), LIMIT)
    assert (process.returncode, len(output.splitlines())) == (2, 1), output
    return output.decode()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_it_listens_on_the_port_of_the_settings_and_ends_in_order(
    sqlite_url: str, number: signal.Signals
) -> None:
    port = free_port()
    process = await start(DATABASE_URL=sqlite_url, PORT=str(port))
    await serves(process)
    url = f"http://127.0.0.1:{port}/api/health"
    async with aiohttp.ClientSession() as client, client.get(url) as answer:
        assert await answer.json() == {"status": "ok"}
    assert await ends(process, number) == 0


async def test_a_port_in_use_is_told_before_the_loops_begin(sqlite_url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        line = await refusal(await start(DATABASE_URL=sqlite_url, PORT=str(port)))
    assert f"cannot listen on 127.0.0.1 port {port}" in line


async def test_a_second_process_with_loops_on_one_sqlite_file_is_refused_with_what_to_set(sqlite_url: str) -> None:
    first = await start(DATABASE_URL=sqlite_url, PORT=str(free_port()))
    await serves(first)
    second = await refusal(await start(DATABASE_URL=sqlite_url, PORT=str(free_port())))
    third = await start(DATABASE_URL=sqlite_url, PORT=str(free_port()), RUN_LOOPS="false")
    await serves(third)
    assert ("DATABASE_URL" in second, await ends(third), await ends(first)) == (True, 0, 0)


async def test_a_faulty_setting_is_one_line(sqlite_url: str) -> None:
    assert (await refusal(await start(DATABASE_URL=sqlite_url, PORT="many"))).startswith("error: PORT: ")
