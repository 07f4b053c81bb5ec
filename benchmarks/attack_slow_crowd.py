"""Slow clients, as a process: `python -m benchmarks.attack_slow_crowd`.

It reads its orders as JSON from a line of standard input, holds that many connections, a fifth of each kind, and opens
another for each one that is closed. When standard input ends it prints what came of them as JSON.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass

LOCAL = "127.0.0.1"
STEP = 0.5  # seconds between two bytes
IDLE = 4.0  # seconds between two requests of those that stay idle, less than a server keeps a connection for
AGAIN = (2.0, 6.0)  # seconds after which a client that was closed comes back
# Bytes that a client has room for which does not read, and of one packet to it: so the server's own buffers stay small.
ROOM, SEGMENT = 4096, 536
HEAD = b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: "
BODY = (
    b"POST /api/v1/companies HTTP/1.1\r\nHost: localhost\r\n"
    b"Content-Type: application/json\r\nContent-Length: 99999\r\n\r\n"
)
ASKS = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n"
HEALTH = b"GET /api/health HTTP/1.1\r\nHost: localhost\r\n\r\n"


@dataclass(slots=True)
class Tally:
    """What came of one kind of client: connections opened, closed by the server, and the longest stay in seconds."""

    opened: int = 0
    closed: int = 0
    refused: int = 0
    longest: float = 0.0


async def _send_on(writer: asyncio.StreamWriter, part: bytes, every: float) -> None:
    with suppress(OSError):  # the reading side notices as well
        while True:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(every)


async def _read_on(reader: asyncio.StreamReader) -> None:
    while await reader.read(65_536):
        pass


def _sender(first: bytes, part: bytes, every: float) -> Callable[[int], Awaitable[None]]:
    """Return a client that sends one thing at first and another again and again, and reads, until it is closed."""

    async def stay(port: int) -> None:
        reader, writer = await asyncio.open_connection(LOCAL, port)
        sending = asyncio.create_task(_send_on(writer, part, every)) if part else None
        try:
            writer.write(first)
            await _read_on(reader)
        finally:
            if sending is not None:
                sending.cancel()
            writer.transport.abort()

    return stay


async def _stay_unread(port: int) -> None:
    """Ask for much and read nothing; a byte now and then tells when the server has closed."""
    loop = asyncio.get_running_loop()
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, ROOM)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SEGMENT)
        client.setblocking(False)  # noqa: FBT003  as the standard library has it
        await loop.sock_connect(client, (LOCAL, port))
        await loop.sock_sendall(client, ASKS)
        while True:
            await asyncio.sleep(STEP)
            with suppress(BlockingIOError):
                client.send(b"\r")


KINDS: Mapping[str, Callable[[int], Awaitable[None]]] = {
    "head byte by byte": _sender(HEAD, b"a", STEP),
    "body byte by byte": _sender(BODY, b" ", STEP),
    "silence": _sender(b"", b"", STEP),
    "answer not read": _stay_unread,
    "idle, a request now and then": _sender(HEALTH, HEALTH, IDLE),
}


async def _come_again(kind: str, port: int, chance: random.Random, within: float, tally: Tally) -> None:
    await asyncio.sleep(chance.uniform(0, within))
    while True:
        began = time.monotonic()
        try:
            await KINDS[kind](port)
        except ConnectionRefusedError:
            tally.refused += 1
        except OSError:
            tally.closed += 1  # while it was sending
        else:
            tally.closed += 1
        finally:
            tally.opened += 1
            tally.longest = max(tally.longest, time.monotonic() - began)
        await asyncio.sleep(chance.uniform(*AGAIN))


async def crowd(port: int, clients: int, seed: int, within: float) -> dict[str, Tally]:
    """Be the crowd, all there after so many seconds, until standard input ends; return what came of it."""
    tallies = {kind: Tally() for kind in KINDS}
    chance = random.Random(seed)
    kinds = itertools.islice(itertools.cycle(KINDS), clients)
    tasks = [asyncio.create_task(_come_again(kind, port, chance, within, tallies[kind])) for kind in kinds]
    await asyncio.to_thread(sys.stdin.read)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return tallies


if __name__ == "__main__":
    orders = json.loads(sys.stdin.readline())
    came = asyncio.run(crowd(**orders))
    sys.stdout.write(json.dumps({kind: asdict(tally) for kind, tally in came.items()}) + "\n")
