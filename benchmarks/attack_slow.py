"""500 slow clients: do others notice? Run with `python -m benchmarks.attack_slow`, `--long` for what counts.

A real web process, a process of slow clients (a fifth each: heads and bodies byte by byte, silence, answers not read,
idle connections), and polite callers who ask at a fixed pace, half of them on a new connection each time. Polite calls
are timed from when they were due, without the crowd and with it in turn, on the same server. The control is the same
crowd against Uvicorn's own protocol, which waits for ever: it must shut the polite out, or the crowd proves nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import re
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from benchmarks.meter import TICKS
from benchmarks.pages import RESULTS, Check, Page, percentile, spread, told
from benchmarks.servers import ROOT, die_with_parent
from tests.fleet.redis_server import free_port

FILES = 512  # that the server may have open: fewer than it has itself, and slow clients
CONNECTIONS = 400  # the service itself opens up to a hundred files
PACE = 20.0  # polite calls a second
PATHS = ("/api/health", "/api/v1/companies")
GIVE_UP, CONTROL_GIVES_UP = 30.0, 5.0  # seconds that a polite caller waits
SETTLE = 3.0  # seconds for a crowd to be gone
SLACK = 5.0  # seconds above a limit: two looks, and a machine that is busy
CLOSED = re.compile(r'^cart_clients_closed_total\{reason="(\w+)"\} ([0-9.]+)$', re.MULTILINE)
LIMITED = {"head byte by byte": "head", "silence": "head", "body byte by byte": "body", "answer not read": "answer"}
HEADINGS = ("pair", "p50 without, ms", "p50 with", "p99 without", "p99 with", "ratio", "calls", "failed", "memory, MB")


@dataclass(frozen=True, slots=True)
class Form:
    """How long and how often: pairs, seconds without the crowd and with it, seconds for a head and for a body."""

    pairs: int
    quiet: float
    crowded: float
    head: float
    body: float


SHORT, LONG = Form(1, 8, 14, 4, 9), Form(5, 30, 45, 10, 30)


@dataclass(slots=True)
class Calls:
    """Polite calls of one stretch of time: seconds each took from when it was due, and how many had no answer."""

    seconds: list[float]
    failed: int = 0

    def ms(self, share: float) -> float:
        """Return a percentile in milliseconds; calls without an answer took for ever."""
        return percentile(self.seconds, share) * 1000


class Server:
    """A web process on a throw-away SQLite database."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.process = process
        self.port = port
        self.url = f"http://127.0.0.1:{port}"

    def memory_mb(self) -> float:
        """Return its resident memory."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * resource.getpagesize() / 1e6

    def cpu(self) -> float:
        """Return the CPU seconds that it has used."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS


@contextmanager
def server(form: Form, *, is_guarded: bool) -> Iterator[Server]:
    """Run the service by its own command, or by Uvicorn's with its own protocol."""
    port = free_port()
    own = ["backend", "web", "--port", str(port)]
    bare = ["uvicorn", "backend.main:app", "--port", str(port), "--no-access-log"]
    limits = {
        "REQUEST_HEAD_SECONDS": form.head, "REQUEST_BODY_SECONDS": form.body if is_guarded else 3_600,
        "MAX_CONNECTIONS": CONNECTIONS,
        "RATE_LIMIT_CALLER": 0, "RATE_LIMIT_ANONYMOUS": 0, "RUN_LOOPS": "false", "LOG_LEVEL": "error",
    }  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="slow-") as folder:
        environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        environment |= {name: str(value) for name, value in limits.items()}
        process = subprocess.Popen(
            [sys.executable, "-m", *(own if is_guarded else bare)], cwd=ROOT, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=_prepare,  # noqa: PLW1509  no lock is taken
            env={**environment, "DATABASE_URL": f"sqlite:///{folder}/carts.db"},
        )  # fmt: skip
        try:
            yield Server(process, port)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _prepare() -> None:
    die_with_parent()
    resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, FILES))


@asynccontextmanager
async def crowd(port: int, clients: int, seed: int, within: float) -> AsyncIterator[dict[str, Any]]:
    """Keep slow clients at it, all there after so many seconds; what came of them is in the dictionary afterwards."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.attack_slow_crowd", cwd=ROOT, preexec_fn=die_with_parent,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    came: dict[str, Any] = {}
    try:
        assert process.stdin is not None
        process.stdin.write(
            json.dumps({"port": port, "clients": clients, "seed": seed, "within": within}).encode() + b"\n"
        )
        yield came
        out, _ = await process.communicate(b"")
        came |= json.loads(out)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


class Polite:
    """Callers who ask at a fixed pace: one session keeps its connections, the other opens one for each call."""

    def __init__(self, url: str, give_up: float = GIVE_UP) -> None:
        self._url = url
        self._timeout = aiohttp.ClientTimeout(total=give_up)

    async def __aenter__(self) -> Polite:
        self._kept = aiohttp.ClientSession(self._url, timeout=self._timeout)
        self._fresh = aiohttp.ClientSession(
            self._url, timeout=self._timeout, connector=aiohttp.TCPConnector(force_close=True)
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._kept.close()
        await self._fresh.close()

    async def up(self) -> None:
        """Wait until the server answers."""
        for _ in range(300):
            try:
                await self.text("/api/health")
            except aiohttp.ClientError:
                await asyncio.sleep(0.2)
            else:
                return
        raise RuntimeError("the server does not answer")

    async def text(self, path: str) -> str:
        """Return the answer to one call."""
        async with self._fresh.get(path) as answer:
            return await answer.text()

    async def closed(self) -> dict[str, float]:
        """Return how many clients the server has closed, by reason."""
        return {reason: float(count) for reason, count in CLOSED.findall(await self.text("/metrics"))}

    async def call_for(self, seconds: float) -> Calls:
        """Call for a while."""
        calls, began, tasks = Calls([]), time.perf_counter(), []
        for number in range(int(seconds * PACE)):
            due = began + number / PACE
            await asyncio.sleep(max(due - time.perf_counter(), 0))
            tasks.append(asyncio.create_task(self._call(number, due, calls)))
        await asyncio.gather(*tasks)
        return calls

    async def _call(self, number: int, due: float, calls: Calls) -> None:
        session = self._kept if number % 2 else self._fresh
        try:
            async with session.get(PATHS[number // 2 % len(PATHS)]) as answer:
                answer.raise_for_status()
                await answer.read()
        except (aiohttp.ClientError, TimeoutError):
            calls.failed += 1
            calls.seconds.append(float("inf"))
        else:
            calls.seconds.append(time.perf_counter() - due)


async def pair(polite: Polite, on: Server, form: Form, options: argparse.Namespace, number: int) -> dict[str, Any]:
    """Measure without the crowd, then with it."""
    quiet = await polite.call_for(form.quiet)
    before, cpu = await polite.closed(), on.cpu()
    async with crowd(on.port, options.clients, options.seed + number, form.head) as came:
        await asyncio.sleep(form.head)
        crowded = await polite.call_for(form.crowded)
        memory, used = on.memory_mb(), on.cpu() - cpu
        closed = {reason: count - before.get(reason, 0) for reason, count in (await polite.closed()).items()}
    await asyncio.sleep(SETTLE)
    row = {
        "pair": number + 1, "p50_quiet_ms": quiet.ms(0.5), "p50_ms": crowded.ms(0.5), "p99_quiet_ms": quiet.ms(0.99),
        "p99_ms": crowded.ms(0.99), "calls": len(crowded.seconds), "failed": crowded.failed + quiet.failed,
        "memory_mb": memory, "cpu_seconds": used, "closed": closed, "crowd": came,
    }  # fmt: skip
    told(f"pair {number + 1}: p99 {row['p99_quiet_ms']:.1f} ms without, {row['p99_ms']:.1f} ms with; {closed}")
    return row


async def measure(form: Form, options: argparse.Namespace) -> tuple[list[dict[str, Any]], Calls]:
    """Return a row for each pair, and the polite calls of the control."""
    with server(form, is_guarded=True) as on:
        async with Polite(on.url) as polite:
            await polite.up()
            await polite.call_for(3)  # the first calls load what later ones have
            rows = [await pair(polite, on, form, options, number) for number in range(form.pairs)]
    with server(form, is_guarded=False) as on:
        async with Polite(on.url, CONTROL_GIVES_UP) as polite:
            await polite.up()
            async with crowd(on.port, options.clients, options.seed, form.head):
                await asyncio.sleep(form.head)
                control = await polite.call_for(form.quiet)
    told(f"control: {control.failed} of {len(control.seconds)} calls had no answer")
    return rows, control


def page(form: Form, options: argparse.Namespace, rows: Sequence[dict[str, Any]], control: Calls) -> Page:
    """Return the page."""
    made = Page(
        "attack-slow-long" if options.long else "attack-slow",
        "Slow clients, and what others notice of them",
        f"{options.clients} slow clients, {CONNECTIONS} connections and {FILES} open files allowed, {form.head:g} s "
        f"for a head and {form.body:g} s for a body or an answer, {PACE:g} polite calls a second",
        HEADINGS,
        raw=[*rows, {"control_calls": len(control.seconds), "control_failed": control.failed}],
    )
    for row in rows:
        figures = (row[name] for name in ("p50_quiet_ms", "p50_ms", "p99_quiet_ms", "p99_ms"))
        counts = (f"{row['calls']:,}", row["failed"], f"{row['memory_mb']:.0f}")
        made.rows.append([row["pair"], *(f"{figure:.1f}" for figure in figures), f"{ratio(row):.2f}", *counts])
    made.checks = [*_checks(form, rows), _control(control)]
    made.notes = _notes(rows)
    return made


def ratio(row: dict[str, Any]) -> float:
    """Return how many times longer the slowest of a hundred calls took with the crowd."""
    return float(row["p99_ms"] / row["p99_quiet_ms"])


def _checks(form: Form, rows: Sequence[dict[str, Any]]) -> Iterator[Check]:
    ratios = [ratio(row) for row in rows]
    words, median = "others' p99 below twice that without, in the median", statistics.median(ratios)
    yield Check(words, spread(ratios), median < 2, is_figure=True)
    failed = sum(row["failed"] for row in rows)
    yield Check("every polite call is answered", f"{failed} were not", failed == 0)
    longest = {kind: max(row["crowd"][kind]["longest"] for row in rows) for kind in LIMITED}
    most = {"head": form.head, "body": form.body, "answer": 2 * form.body}
    words = ", ".join(f"{kind} {seconds:.1f} s" for kind, seconds in longest.items())
    kept = all(seconds <= most[LIMITED[kind]] + SLACK for kind, seconds in longest.items())
    yield Check("no slow client stays much longer than its limit", words, kept, is_figure=True)
    every = all(row["crowd"][kind]["closed"] for row in rows for kind in LIMITED)
    yield Check("slow clients of every kind are closed in every pair", "yes" if every else "no", every)
    first, last = rows[0]["memory_mb"], rows[-1]["memory_mb"]
    words = "memory stays flat from the first pair to the last"
    yield Check(words, f"{first:.0f} and {last:.0f} MB", last < 1.1 * first)


def _control(control: Calls) -> Check:
    share = control.failed / len(control.seconds)
    words = "control: without the limits the same crowd shuts polite callers out"
    return Check(words, f"{share:.0%} of {len(control.seconds)} calls had no answer", share > 0.1)


def _notes(rows: Sequence[dict[str, Any]]) -> str:
    totals: dict[str, float] = {}
    for reason, count in itertools.chain.from_iterable(row["closed"].items() for row in rows):
        totals[reason] = totals.get(reason, 0) + count
    closed = ", ".join(f"{reason} {count:,.0f}" for reason, count in sorted(totals.items()))
    kinds = [
        f"| {kind} | {sum(row['crowd'][kind]['opened'] for row in rows):,} | "
        f"{sum(row['crowd'][kind]['closed'] for row in rows):,} | "
        f"{max(row['crowd'][kind]['longest'] for row in rows):.1f} |"
        for kind in rows[0]["crowd"]
    ]
    head = ["| slow clients | connections | closed by the server | longest, s |", "| --- | --- | --- | --- |"]
    table = "\n".join([*head, *kinds])
    return f"{table}\n\nWhat the server says it closed them for: {closed}."


def keep(made: Page, options: argparse.Namespace) -> int:
    """Write the page and the raw figures, print it, and return the exit code. The short form judges no figure."""
    folder: Path = options.results
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{made.name}.md").write_text(made.text())
    (folder / f"{made.name}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in made.raw))
    sys.stdout.write(made.text())
    return int(not all(check.is_met for check in made.checks if options.long or not check.is_figure))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the experiment; return 1 when something was not reached."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.attack_slow", description=__doc__)
    parser.add_argument("--long", action="store_true", help="five pairs, with the limits as they are by default")
    parser.add_argument("--clients", type=int, default=500, help="slow clients")
    parser.add_argument("--seed", type=int, default=1, help="what chance is drawn from")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder that keeps the page")
    options = parser.parse_args(arguments)
    form = LONG if options.long else SHORT
    rows, control = asyncio.run(measure(form, options))
    made = page(form, options, rows, control)
    return keep(made, options)


if __name__ == "__main__":
    sys.exit(main())
