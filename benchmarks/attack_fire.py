"""Sends raw requests over a few connections and tells what was answered: no HTTP library corrects what is sent."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum, auto
from urllib.parse import urlsplit

from benchmarks.attack_mutations import Shot

PATIENCE = 30.0  # seconds for one answer
MOMENT = 0.5  # seconds after which a request that promises more than came is given up
KEPT = 20  # requests kept of those that made a fault
AT_ONCE = 8
PROBLEM = b"application/problem+json"


class Outcome(Enum):
    """What a connection is good for after a request: the next one, nothing, or it ended without an answer."""

    OPEN = auto()
    ENDED = auto()
    SILENT = auto()


@dataclass(slots=True)
class Told:
    """What was answered. `statuses` by kind of request, `faulty` the first requests that were answered with 5xx.

    `silent`: broken framing that the server ended the connection for. `unlike`: refusals without a problem document,
    by who gave them: the server, to what is no HTTP, or the application.
    """

    sent: int = 0
    statuses: dict[str, Counter[int]] = field(default_factory=dict)
    operations: Counter[str] = field(default_factory=Counter)
    faulty: list[Shot] = field(default_factory=list)
    silent: Counter[str] = field(default_factory=Counter)
    late: list[Shot] = field(default_factory=list)
    no_http: int = 0
    unlike: list[Shot] = field(default_factory=list)

    @property
    def faults(self) -> int:
        """How many answers of 5xx there were."""
        return sum(count for each in self.statuses.values() for status, count in each.items() if status >= 500)

    def note(self, shot: Shot, head: bytes, body: bytes) -> None:
        """Take an answer into account."""
        status = int(head.split(None, 2)[1])
        self.statuses.setdefault(shot.kind, Counter())[status] += 1
        if status >= 500 and len(self.faulty) < KEPT:
            self.faulty.append(shot)
        if 400 <= status < 500 and PROBLEM not in head.lower():
            if body.startswith(b"Invalid HTTP request"):
                self.no_http += 1
            elif len(self.unlike) < KEPT:
                self.unlike.append(shot)


async def fire(url: str, shots: Iterator[Shot]) -> Told:
    """Send every request and return what was told."""
    told, place = Told(), urlsplit(url)
    await asyncio.gather(*(_gunner(str(place.hostname), place.port or 80, shots, told) for _ in range(AT_ONCE)))
    return told


async def _gunner(host: str, port: int, shots: Iterator[Shot], told: Told) -> None:
    """Send requests over one connection, and over a new one when it ends."""
    line: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
    for shot in shots:
        told.sent += 1
        told.operations[shot.operation] += 1
        while True:
            is_used = line is not None
            line = line or await asyncio.open_connection(host, port, limit=1 << 24)
            outcome = await _exchange(shot, *line, told)
            if outcome is not Outcome.OPEN:
                line[1].close()
                line = None
            if outcome is not Outcome.SILENT:
                break
            if not is_used or shot.ends:  # else the server had ended the connection just before: once more
                told.silent[shot.kind] += 1
                break
    if line:
        line[1].close()


async def _exchange(shot: Shot, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, told: Told) -> Outcome:
    """Send one request and read its answer."""
    try:
        writer.write(shot.raw)
        async with asyncio.timeout(PATIENCE):
            head, body = await _answer(shot, reader, writer)
    except TimeoutError:
        told.late.append(shot)
        return Outcome.ENDED
    except (asyncio.IncompleteReadError, OSError):
        return Outcome.SILENT
    told.note(shot, head, body)
    return Outcome.ENDED if shot.ends or b"connection: close" in head.lower() else Outcome.OPEN


async def _answer(shot: Shot, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[bytes, bytes]:
    """Return the answer's head and body. Where more was promised than came, hang up after a moment."""
    reading = asyncio.ensure_future(_read(reader))
    if shot.ends:
        await asyncio.wait([reading], timeout=MOMENT)
        if not reading.done():
            with suppress(OSError):  # the other side has hung up already; what it said is there to read
                writer.write_eof()
    return await reading


async def _read(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    while head.startswith(b"HTTP/1.1 100"):
        head = await reader.readuntil(b"\r\n\r\n")
    return head, await _body(reader, head)


async def _body(reader: asyncio.StreamReader, head: bytes) -> bytes:
    lengths = [line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    if lengths:
        return await reader.readexactly(int(lengths[0]))
    if b"transfer-encoding: chunked" not in head.lower():
        return b""
    whole = b""
    while size := int((await reader.readline()).split(b";")[0], 16):
        whole += (await reader.readexactly(size + 2))[:-2]
    await reader.readline()
    return whole
