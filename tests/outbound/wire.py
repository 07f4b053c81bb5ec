"""Raw servers on loopback: they say exactly the bytes a test wants, and count who connected."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

LENGTH = re.compile(r"content-length: (\d+)", re.IGNORECASE)
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class RawServer:
    """A listening server: where it is, how many connections it took, and the request heads and bodies it read."""

    port: int = 0
    connections: int = 0
    heads: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    arrivals: asyncio.Queue[None] = field(default_factory=asyncio.Queue)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    async def arrived(self, count: int = 1) -> None:
        """Wait until `count` more requests are there."""
        for _ in range(count):
            await self.arrivals.get()


@asynccontextmanager
async def raw_server(talk: Talk, tls: ssl.SSLContext | None = None) -> AsyncIterator[RawServer]:
    """Listen on a free loopback port; each request read is followed by `talk`."""
    server = RawServer()
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.connections += 1
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            while True:
                request_head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                server.heads.append(request_head)
                length = LENGTH.search(request_head)
                server.bodies.append(await reader.readexactly(int(length[1])) if length else b"")
                server.arrivals.put_nowait(None)
                await talk(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            return  # the client hung up, the talk is over, or the server stops: asyncio logs a cancelled handler
        finally:
            tasks.discard(task)
            writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def answering(*parts: bytes, then: str = "stay") -> Talk:
    """Write `parts` as they are; `then` stay connected, close, or reset."""

    async def talk(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for part in parts:
            writer.write(part)
            await writer.drain()
        if then == "reset":
            # Give the client the time to see the bytes, or the reset overtakes them.
            await asyncio.sleep(0.05)
            writer.transport.abort()
        if then != "stay":
            raise ConnectionError(then)

    return talk


def with_body(body: bytes, *headers: str, status: str = "200 OK") -> Talk:
    """Answer with `body` and its right length."""
    return answering(head(*headers, f"Content-Length: {len(body)}", status=status) + body)


def head(*headers: str, status: str = "200 OK") -> bytes:
    """Return the bytes of a response head."""
    return "".join(f"{line}\r\n" for line in (f"HTTP/1.1 {status}", *headers, "")).encode("latin-1")


def slowly(*parts: bytes) -> Talk:
    """Write `parts` so far apart that the client sees each by itself."""

    async def talk(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0.05)

    return talk


async def dripping(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer 200 at once and then one byte at a time, without end."""
    writer.write(head("Content-Length: 1000000"))
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.01)


async def dripping_head(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Begin an answer whose head never ends, one byte at a time."""
    writer.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.01)


async def hinting(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Say again and again that an answer will come."""
    while True:
        writer.write(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        await writer.drain()
        await asyncio.sleep(0.01)


async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    """Never answer."""
    await reader.read()
