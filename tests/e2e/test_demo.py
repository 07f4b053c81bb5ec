"""The demo in one command: carts arrive, the documented calls work, and nothing is left when it ends."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import sys
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import psutil
from jsonschema import Draft202012Validator

from backend.config import ROOT

LIMIT = 120.0  # seconds that anything is waited for; with free processors the first carts take under ten
FIRST = "first carts delivered"
CALL = re.compile(r'^  curl (?:-X (?P<method>[A-Z]+) )?"(?P<url>[^"]+)"$')


@dataclass(slots=True)
class Demo:
    """A demo that runs, and what it has said so far."""

    process: Process
    port: int
    said: list[str] = field(default_factory=list)

    async def hears(self, words: str) -> None:
        """Wait until a line holds `words`."""
        assert self.process.stdout is not None
        while line := (await asyncio.wait_for(self.process.stdout.readline(), LIMIT)).decode():
            self.said.append(line.rstrip("\n"))
            if words in line:
                return
        raise AssertionError("\n".join([f"it ended without saying {words!r}:", *self.said]))

    async def end(self, number: signal.Signals) -> int:
        """Send a signal and return the exit code."""
        self.process.send_signal(number)
        _output, _none = await asyncio.wait_for(self.process.communicate(), LIMIT)
        assert self.process.returncode is not None
        return self.process.returncode

    def children(self) -> list[psutil.Process]:
        """Return the processes it started."""
        return psutil.Process(self.process.pid).children(recursive=True)


@asynccontextmanager
async def demo(folder: Path, port: int | None = None) -> AsyncIterator[Demo]:
    """Start the demo on a free port unless one is given; kill it when the block ends, if nobody ended it before."""
    port = port or free_port()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "scripts.demo", "--port", str(port), "--folder", str(folder / "demo"),
        cwd=ROOT, stdin=DEVNULL, stdout=PIPE, stderr=STDOUT, env={**os.environ, "POLLING_INTERVAL": "77"},
    )  # fmt: skip
    try:
        yield Demo(process, port)
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


def free_port() -> int:
    """Return a port that the system says is free."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def call(method: str, url: str) -> tuple[int, Any]:
    """Call the API as curl would; return the status and the JSON answer."""
    async with aiohttp.ClientSession() as client, client.request(method, url) as answer:
        return answer.status, await answer.json()


def all_gone(children: list[psutil.Process]) -> bool:
    """Whether all of them end; waits for stragglers."""
    _gone, alive = psutil.wait_procs(children, timeout=LIMIT)
    return not alive


async def test_the_demo_delivers_answers_the_documented_calls_and_leaves_nothing(tmp_path: Path) -> None:
    async with demo(tmp_path) as running:
        await running.hears(FIRST)
        await running.hears("Ctrl-C ends all of it")
        children = running.children()
        calls = [match for line in running.said if (match := CALL.match(line))]
        answers = [await call(match["method"] or "GET", match["url"]) for match in calls]
        code = await running.end(signal.SIGINT)
    assert [match["url"].removeprefix(f"http://localhost:{running.port}") for match in calls] == [
        "/polling/start-abandoned-cart?interval=60",
        "/polling/status",
        "/polling/abandoned-cart/test-once",
        "/polling/stop",
    ]
    assert [status for status, _answer in answers] == [200] * 4
    started, status, report, stopped = (answer for _status, answer in answers)
    assert (started["running"], started["interval_seconds"]) == (True, 60)
    assert (status["running"], len(status["integrations"])) == (True, 5)
    assert fits_the_report_schema(report)
    assert stopped["running"] is False
    assert any("3 carts of Bazaar Lane (shopify, mock), USD 459.97" in line for line in running.said)
    assert code == 0
    assert len(children) == 5  # two shop systems, the custom one, the partner, the web app
    assert all_gone(children)


async def test_nothing_is_left_when_the_demo_is_killed(tmp_path: Path) -> None:
    async with demo(tmp_path) as running:
        await running.hears(FIRST)
        children = running.children()
        await running.end(signal.SIGKILL)
    assert children
    assert all_gone(children)


async def test_a_web_app_that_is_killed_is_named_with_its_signal_and_the_log(tmp_path: Path) -> None:
    async with demo(tmp_path) as running:
        await running.hears(FIRST)
        next(child for child in running.children() if "uvicorn" in child.cmdline()).kill()
        output, _none = await asyncio.wait_for(running.process.communicate(), LIMIT)
    last = output.decode().splitlines()[-1]
    assert running.process.returncode == 2
    assert last == f"the web app was ended by SIGKILL; see {tmp_path / 'demo' / 'demo.log'}"


async def test_a_second_demo_in_the_same_folder_is_told_why_it_ends(tmp_path: Path) -> None:
    async with demo(tmp_path) as running:
        await running.hears(FIRST)
        async with demo(tmp_path) as second:
            output, _none = await asyncio.wait_for(second.process.communicate(), LIMIT)
    assert second.process.returncode == 2
    assert "another demo is running" in output.decode()
    assert "ended" not in output.decode().splitlines()


async def test_a_busy_port_is_named(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        async with demo(tmp_path, port) as running:
            output, _none = await running.process.communicate()
    assert running.process.returncode == 2
    assert f"port {port} is in use" in output.decode()


async def test_a_folder_that_cannot_be_made_is_one_line() -> None:
    async with demo(Path("/dev/null/demo"), free_port()) as running:
        output, _none = await running.process.communicate()
    assert (running.process.returncode, len(output.splitlines())) == (2, 1), output
    assert b"--folder /dev/null/demo" in output


def fits_the_report_schema(report: Any) -> bool:
    """Whether test-once answers what is published."""
    schema = json.loads((ROOT / "docs" / "cycle-report.schema.json").read_text(encoding="utf-8"))
    return bool(Draft202012Validator(schema).is_valid(report))
