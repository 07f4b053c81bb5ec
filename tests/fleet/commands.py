"""Processes of a fleet, started by the commands that people are told to type, on a scene's database."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from backend.config import ROOT
from tests.e2e.scene import Scene, until
from tests.fleet.redis_server import TRIES, free_port

LIMIT = 60.0  # seconds for anything a process is waited for; a healthy one takes a few
LOG_SHOWN = 6_000  # characters of a process's log in a failure
NEVER = "300"  # seconds between two safety ticks in tests where messages alone must do


@dataclass(slots=True)
class Command:
    """One process and where its output goes."""

    process: Process
    log: Path

    async def end(self) -> int:
        """Ask it to end in order; return its exit code."""
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        return await asyncio.wait_for(self.process.wait(), LIMIT)

    async def ended(self) -> tuple[int, str]:
        """Wait until it ends by itself; return its exit code and what it said."""
        code = await asyncio.wait_for(self.process.wait(), LIMIT)
        return code, self.written()

    async def kill(self) -> None:
        """Kill it with no chance to do anything more."""
        with suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()

    async def says(self, words: str, *, or_ends: bool = False) -> None:
        """Wait until it has said something. Fails with its output when it ends or stays silent."""
        with suppress(TimeoutError):
            await until(lambda: words in self.written() or self.process.returncode is not None)
        assert words in self.written() or or_ends, self.written()[-LOG_SHOWN:]

    def written(self) -> str:
        """Return all that it wrote."""
        return self.log.read_text(encoding="utf-8", errors="replace")


@dataclass(slots=True)
class Fleet:
    """Starts processes with one environment; their output lies in `folder`."""

    folder: Path
    environment: dict[str, str]
    started: list[Command] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=itertools.count)

    async def start(self, *arguments: str, **environment: str) -> Command:
        """Start `python -m` with these arguments."""
        log = self.folder / f"{next(self.numbers)}.log"
        with log.open("wb") as file:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", *arguments, cwd=ROOT, env={**self.environment, **environment},
                stdin=DEVNULL, stdout=file, stderr=file,
            )  # fmt: skip
        command = Command(process, log)
        self.started.append(command)
        return command

    async def worker(self, *options: str, app: str = "backend.celery_app", **environment: str) -> Command:
        """Start a Celery worker and wait until it works."""
        command = await self.start("celery", "-A", app, "worker", *options, **environment)
        await command.says("worker.started")
        return command

    async def beat(self, app: str = "backend.celery_app") -> Command:
        """Start Celery's beat."""
        return await self.start("celery", "-A", app, "beat")

    async def plain_worker(self, *options: str) -> Command:
        """Start a worker without Celery and wait until it works."""
        command = await self.start("backend", "worker", *options)
        await command.says("worker.started")
        return command

    async def web(self, what: str = "web") -> tuple[Command, str]:
        """Start a web app on a free port, wait until it serves, and return it with its address."""
        for _ in range(TRIES):
            port = free_port()
            command = await self.start("backend", what, "--port", str(port))
            await command.says("Uvicorn running on", or_ends=True)
            if command.process.returncode is None:
                return command, f"http://127.0.0.1:{port}"
        raise RuntimeError(f"python -m backend {what} did not serve: {self.started[-1].written()[-LOG_SHOWN:]}")

    async def aclose(self) -> None:
        """Kill what is left."""
        for command in self.started:
            await command.kill()


@asynccontextmanager
async def fleet_of(scene: Scene, folder: Path, **environment: str) -> AsyncIterator[Fleet]:
    """Give a starter of processes on the scene's database; kill what is left."""
    settings = scene.world.settings
    given = {
        "PATH": os.environ["PATH"],
        "DATABASE_URL": settings.database_url,
        "MASTER_KEY": settings.master_key,
        "OUTBOUND_ALLOW_LOOPBACK": "true",
        "LOG_FORMAT": "json",
        **environment,
    }
    made = Fleet(folder, given)
    try:
        yield made
    finally:
        await made.aclose()
