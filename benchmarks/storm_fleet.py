"""The fleet of a storm: Redis, Celery's beat, and Celery workers that are killed at random and replaced."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import redis

from benchmarks.chaos_processes import end, free_port, kill_tree, start
from benchmarks.servers import ROOT
from benchmarks.storm_crew import in_order
from benchmarks.storm_world import StormWorld
from tests.e2e.processes import json_lines

LIMIT = 60.0  # seconds for anything a process is waited for
CELERY = (sys.executable, "-m", "celery", "-A", "backend.celery_app")
SAFETY_TICK = "5"  # seconds
LOG_SHOWN = 2_000  # characters


class RedisServer:
    """A server without any file: what it holds is gone when it is killed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = free_port()
        self._process: subprocess.Popen[str] | None = None
        self.client = redis.Redis(port=self._port)

    @property
    def url(self) -> str:
        """Where it listens, also after it was started anew."""
        return f"redis://127.0.0.1:{self._port}/0"

    @property
    def version(self) -> str:
        """The server's version."""
        info = self.client.info("server")
        assert isinstance(info, dict)
        return str(info["redis_version"])

    def start(self) -> None:
        """Start it, from the main thread: it dies with the thread that started it."""
        where = ["--bind", "127.0.0.1", "--port", str(self._port), "--dir", str(self._folder)]
        command = ["redis-server", *where, "--save", "", "--appendonly", "no", "--daemonize", "no"]
        self._process = start(command, log=self._folder / "redis.log")

    def wait(self) -> None:
        """Return when it answers. Raises `RuntimeError` when it does not."""
        deadline = time.monotonic() + LIMIT
        while time.monotonic() < deadline and self._process is not None and self._process.poll() is None:
            try:
                self.client.ping()
            except redis.ConnectionError:
                time.sleep(0.02)
            else:
                return
        raise RuntimeError(f"Redis did not start:\n{(self._folder / 'redis.log').read_text()[-LOG_SHOWN:]}")

    def flush_and_kill(self) -> None:
        """Empty it and kill it."""
        self.client.flushall()
        self.kill()

    def kill(self) -> None:
        """Kill it, if it runs."""
        if self._process is not None:
            kill_tree(self._process)
            self._process = None


class CeleryWorkers:
    """Processes of `celery worker`, rung through Redis by beat."""

    def __init__(self, world: StormWorld, server: RedisServer, luck: random.Random) -> None:
        self._world = world
        self._server = server
        self._luck = luck
        self._environment = {
            **{name.upper(): _text(value) for name, value in world.settings.items()},
            "REDIS_URL": server.url,
            "SAFETY_TICK_SECONDS": SAFETY_TICK,
        }
        self._beat: subprocess.Popen[str] | None = None
        self.alive: list[subprocess.Popen[str]] = []

    def start_beat(self) -> None:
        """Start the bell."""
        self._beat = self._start("beat")

    async def kill_one(self) -> None:
        """Kill one; waits for one if all are dead."""
        while not self.alive:  # noqa: ASYNC110  another process sets no event of ours
            await asyncio.sleep(0.05)
        worker = self.alive.pop(self._luck.randrange(len(self.alive)))
        await asyncio.to_thread(kill_tree, worker)

    async def replace_one(self) -> None:
        """Start another one; returns when it has signed in. Raises `RuntimeError` with its log when it does not."""
        worker = self._start("worker")
        deadline = time.monotonic() + LIMIT
        while not await self._world.eye.one("SELECT count(*) FROM workers WHERE pid = $1", worker.pid):
            if worker.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"a Celery worker did not start:\n{self._log().read_text()[-LOG_SHOWN:]}")
            await asyncio.sleep(0.05)
        self.alive.append(worker)

    async def end(self) -> list[str]:
        """End all; a worker that does not end in order is a fault."""
        programs = [*self.alive, *([self._beat] if self._beat else [])]
        await asyncio.gather(*(asyncio.to_thread(end, each) for each in programs))
        said = self._log().read_text(errors="replace")[-LOG_SHOWN:].replace(f"{ROOT}/", "")
        bad = [each for each in programs if each.returncode]
        return [f"celery {'beat' if each is self._beat else 'worker'}: {each.returncode}; {said}" for each in bad]

    def warnings(self) -> list[dict[str, Any]]:
        """Return what they warned of."""
        return in_order(json_lines(self._log()))

    def kill(self) -> None:
        """Kill what is left."""
        for each in [*self.alive, *([self._beat] if self._beat else [])]:
            if each.poll() is None:
                kill_tree(each)

    def _start(self, what: str) -> subprocess.Popen[str]:
        return start([*CELERY, what], log=self._log(), environment=self._environment)

    def _log(self) -> Path:
        return self._world.folder / "celery.log"


@asynccontextmanager
async def redis_server(folder: Path) -> AsyncIterator[RedisServer]:
    """Run a server while the block lasts."""
    server = RedisServer(folder)
    try:
        server.start()
        await asyncio.to_thread(server.wait)
        yield server
    finally:
        server.client.close()
        server.kill()


@asynccontextmanager
async def celery_workers(world: StormWorld, count: int, luck: random.Random) -> AsyncIterator[CeleryWorkers]:
    """Start Redis, beat and so many workers; kill what is left at the end."""
    async with redis_server(world.folder) as server, fleet(world, server, count, luck) as crew:
        yield crew


@asynccontextmanager
async def fleet(
    world: StormWorld, server: RedisServer, count: int, luck: random.Random
) -> AsyncIterator[CeleryWorkers]:
    """Start beat and so many workers over a Redis that is there."""
    crew = CeleryWorkers(world, server, luck)
    try:
        crew.start_beat()
        await asyncio.gather(*(crew.replace_one() for _ in range(count)))
        yield crew
    finally:
        crew.kill()


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
