"""A redis-server of a test's own, which may be killed with all that it holds and come back empty on the same port."""

from __future__ import annotations

import asyncio
import shutil
import socket
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

PROGRAM = "redis-server"
START_LIMIT = 20.0  # seconds
TRIES = 5  # another program may take the port that was found free


@dataclass(slots=True)
class RedisServer:
    """One server at a time, always on the same port."""

    program: str
    port: int
    process: Process | None = None

    @property
    def url(self) -> str:
        """Return where it listens."""
        return f"redis://127.0.0.1:{self.port}/0"

    async def start(self) -> bool:
        """Start it, empty; False when it does not come up."""
        command = [self.program, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self.process = await asyncio.create_subprocess_exec(*command, stdout=DEVNULL, stderr=DEVNULL)
        async with asyncio.timeout(START_LIMIT):
            while self.process.returncode is None:
                if await self.ask("PING") == "+PONG":
                    return True
                await asyncio.sleep(0.02)
        return False

    async def kill(self) -> None:
        """End it at once; what it held is gone."""
        if self.process is not None:
            with suppress(ProcessLookupError):
                self.process.kill()
            await self.process.wait()

    async def ask(self, *words: str) -> str:
        """Return the first line of the answer to a command; empty when nobody answers."""
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return ""
        try:
            writer.write(f"{' '.join(words)}\r\n".encode())
            return (await reader.readline()).decode().strip()
        finally:
            writer.close()


@asynccontextmanager
async def running_redis() -> AsyncIterator[RedisServer]:
    """Give a server on a free port. Raises `RuntimeError` when the machine has none: such a test fails, never skips."""
    program = shutil.which(PROGRAM)
    if program is None:
        raise RuntimeError("redis-server is not installed: run scripts/install_test_servers.sh")
    for _ in range(TRIES):
        server = RedisServer(program, free_port())
        try:
            if await server.start():
                yield server
                return
        finally:
            await server.kill()
    raise RuntimeError("redis-server did not start")


def free_port() -> int:
    """Return a port that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
