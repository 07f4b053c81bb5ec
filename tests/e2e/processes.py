"""Starts victims, hears what they say, and ends them in every way there is."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import orjson

from tests.e2e.victim import Orders, main

LIMIT = 60.0  # seconds for anything a process is waited for; a healthy one takes a few
LOG_SHOWN = 6_000  # characters of a process's log in a failure

# Processes of their own, forked from one that has the imports behind it: starting one takes milliseconds.
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["tests.e2e.victim"])


@dataclass(slots=True)
class Victim:
    """One process."""

    process: ForkServerProcess
    voice: Connection
    log: Path

    async def hears(self, word: str) -> None:
        """Wait until it says `word`. Raises `AssertionError` with its log when it ends or stays silent."""
        heard = "nothing"
        if await asyncio.to_thread(self.voice.poll, LIMIT):
            try:
                heard = self.voice.recv()
            except EOFError:
                heard = "its end"
        assert heard == word, f"waited for {word!r}, heard {heard!r}\n{self._written()[-LOG_SHOWN:]}"

    async def stopped(self) -> None:
        """Wait until the process stands still: it says that it will just before it does."""
        async with asyncio.timeout(LIMIT):
            while self._state() != "T":  # noqa: ASYNC110  another process sets no event of ours
                await asyncio.sleep(0.001)

    def _state(self) -> str:
        return Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()[0]

    def send(self, number: signal.Signals) -> None:
        """Send a signal, unless it has ended."""
        if self.process.pid is not None and self.process.is_alive():
            os.kill(self.process.pid, number)

    async def kill(self) -> None:
        """Kill it with no chance to do anything more."""
        self.send(signal.SIGKILL)
        await asyncio.to_thread(self.process.join, LIMIT)

    async def end(self) -> int | None:
        """Ask it to end in order; return its exit code, None when it does not end."""
        self.send(signal.SIGTERM)
        await asyncio.to_thread(self.process.join, LIMIT)
        return self.process.exitcode

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return its log lines of one event."""
        return [line for line in json_lines(self.log) if line.get("event") == name]

    def _written(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""


def json_lines(log: Path) -> list[dict[str, Any]]:
    """Return the log lines of a process that are JSON; one that a kill cut short is none."""
    lines = log.read_bytes().splitlines() if log.exists() else []
    return [orjson.loads(line) for line in lines if line.startswith(b"{") and line.endswith(b"}")]


@dataclass(slots=True)
class Victims:
    """Starts processes. Their logs lie in `folder`."""

    folder: Path
    started: list[Victim] = field(default_factory=list)

    async def start(self, orders: Orders) -> Victim:
        """Return a process at work."""
        voice, theirs = _FORKS.Pipe()
        log = self.folder / f"{len(self.started)}.log"
        process = _FORKS.Process(target=main, args=(orders, theirs, str(log)))
        process.start()
        theirs.close()
        victim = Victim(process, voice, log)
        self.started.append(victim)
        await victim.hears("running")
        return victim

    async def aclose(self) -> None:
        """Kill what is left."""
        for victim in self.started:
            await victim.kill()
            victim.voice.close()
            victim.process.close()


@asynccontextmanager
async def victims() -> AsyncIterator[Victims]:
    """Give processes while the block lasts."""
    with tempfile.TemporaryDirectory(prefix="victims-") as folder:
        made = Victims(Path(folder))
        try:
            yield made
        finally:
            await made.aclose()
