"""Requests to the development sign-in, byte by byte over real sockets, and small real proxies on the same machine."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

LIMIT = 15.0  # seconds
# Reads, changes, pages, files, and what is nowhere.
TARGETS = (
    ("GET", "/"),
    ("GET", "/polling/status"),
    ("POST", "/polling/start?interval=60"),
    ("POST", "/console/start"),
    ("GET", "/api/v1/companies"),
    ("POST", "/api/v1/companies"),
    ("GET", "/metrics"),
    ("GET", "/openapi.json"),
    ("GET", "/api/v1/keys"),
    ("OPTIONS", "/polling/start"),
    ("GET", "/nowhere"),
)


@dataclass(frozen=True, slots=True)
class Case:
    """One way to ask. `head` makes the request's bytes of method, path and the server's port."""

    name: str
    head: Callable[[str, str, int], bytes]


def plain(*lines: str, version: str = "1.1", host: str | None = "localhost:{port}") -> Callable[[str, str, int], bytes]:
    """Return the maker of an ordinary request with more header lines; `host` None sends none."""

    def made(method: str, path: str, port: int) -> bytes:
        named = [] if host is None else [f"Host: {host.format(port=port)}"]
        more = [line.format(port=port) for line in lines]
        length = ["Content-Length: 0"] if method == "POST" else []
        return "\r\n".join([f"{method} {path} HTTP/{version}", *named, *more, *length, "", ""]).encode("latin-1")

    return made


def absolute(name: str, host: str) -> Callable[[str, str, int], bytes]:
    """Return the maker of a request with a whole URL in its first line."""

    def made(method: str, path: str, port: int) -> bytes:
        return plain(host=host)(method, f"http://{name.format(port=port)}{path}", port)

    return made


HOSTS = (
    "evil.example", "evil.example:{port}", "localhost.evil.example:{port}", "evil-localhost:{port}",
    "localhost.:{port}",
    "localhost:{port}@evil.example", "127.0.0.1.evil.example", "127.1:{port}", "2130706433:{port}", "0x7f.1:{port}",
    "0.0.0.0:{port}", "[::]:{port}", "[::ffff:127.0.0.1]:{port}", "192.168.1.7:{port}",
    "localhost:{port},evil.example", "localhost%00.evil.example", "localhost:", "localhost:999999", "", "local host",
    "\xe2\x85\xbcocalhost",
)  # fmt: skip
TRACES = (
    "X-Forwarded-For: 127.0.0.1", "X-Forwarded-Host: localhost", "X-Forwarded-Proto: http", "X-Forwarded-Server: x",
    "x-forwarded-anything: ", "Forwarded: for=127.0.0.1;host=localhost", "Via: 1.1 proxy", "X-Real-IP: 127.0.0.1",
    "True-Client-IP: 10.0.0.1", "CF-Connecting-IP: 10.0.0.1", "X-Client-IP: 10.0.0.1", "X-Original-Host: evil.example",
)  # fmt: skip
PAGES = (
    "Origin: http://evil.example", "Origin: null", "Origin: http://localhost:1", "Origin: https://localhost:{port}",
    "Origin: http://127.0.0.1:{port}", "Origin: http://localhost:{port}\r\nOrigin: http://evil.example",
    "Origin: http://localhost:{port} http://evil.example", "Origin: ", "Sec-Fetch-Site: cross-site",
    "Sec-Fetch-Site: same-site", "Sec-Fetch-Site: none\r\nSec-Fetch-Site: cross-site", "Sec-Fetch-Site: odd",
)  # fmt: skip


def cases() -> Iterator[Case]:
    """Yield every way to ask that must be refused."""
    for host in HOSTS:
        yield Case(f"Host: {host!r}", plain(host=host))
    yield Case("no Host", plain(host=None))
    yield Case("HTTP/1.0 without Host", plain(host=None, version="1.0"))
    yield Case("HTTP/1.0", plain(version="1.0"))
    yield Case("two Hosts, ours first", plain("Host: evil.example"))
    yield Case("two Hosts, ours last", plain("Host: localhost:{port}", host="evil.example"))
    yield Case("two Hosts, both ours", plain("Host: localhost:{port}"))
    yield Case("whole URL of another name, another Host", absolute("evil.example", "evil.example"))
    yield Case("whole URL of ours, another Host", absolute("localhost:{port}", "evil.example"))
    for line in TRACES:
        yield Case(line, plain(line))
    for line in PAGES:
        yield Case(" and ".join(line.split("\r\n")), plain(line))
    for line in ("Authorization: Bearer crk_live_wrong", "Authorization: Basic b3duZXI6", "Authorization: "):
        yield Case(line, plain(line))
    yield Case("a websocket of another page", plain(*UPGRADE, "Origin: http://evil.example"))


UPGRADE = (
    "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
)  # fmt: skip


async def status(address: tuple[str, int], request: bytes) -> int:
    """Send one request; return the answer's status, 0 when the connection was closed without one."""
    reader, writer = await asyncio.open_connection(*address)
    try:
        writer.write(request)
        async with asyncio.timeout(LIMIT):
            first = await reader.readline()
    except (ConnectionError, TimeoutError):
        return 0
    finally:
        writer.close()
    found = re.match(rb"HTTP/1\.[01] (\d{3})", first)
    return int(found[1]) if found else 0


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy on the same machine: `added` header lines, the Host kept or put to ours, the version it speaks."""

    name: str
    added: str = ""
    keeps_host: bool = False
    version: str = "1.1"


PROXIES = (
    Proxy("one that adds X-Forwarded-For", "X-Forwarded-For: 10.1.2.3"),
    Proxy("one that adds Forwarded", "Forwarded: for=10.1.2.3"),
    Proxy("one that adds Via alone", "Via: 1.1 proxy"),
    Proxy("one that adds X-Real-IP alone", "X-Real-IP: 10.1.2.3"),
    Proxy("one that adds nothing and keeps the Host", keeps_host=True),
    Proxy("one that adds nothing and speaks HTTP/1.0, as nginx unless told otherwise", version="1.0"),
)
UNTRACED = Proxy("one that adds nothing, asks for localhost and speaks HTTP/1.1")


@asynccontextmanager
async def proxy(kind: Proxy, port: int) -> AsyncIterator[int]:
    """Run a proxy before the service while the block lasts; yields its port."""

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.rstrip().split("\r\n")
        kept = [line for line in lines if kind.keeps_host or not line.lower().startswith("host:")]
        named = [] if kind.keeps_host else [f"Host: 127.0.0.1:{port}"]
        added = [kind.added] if kind.added else []
        request = "\r\n".join([f"{first[:-3]}{kind.version}", *named, *kept, *added, "Connection: close", "", ""])
        there_reader, there = await asyncio.open_connection("127.0.0.1", port)
        there.write(request.encode("latin-1"))
        writer.write(await there_reader.read())
        there.close()
        writer.close()

    listening = await asyncio.start_server(meet, "127.0.0.1", 0)
    async with listening:
        yield listening.sockets[0].getsockname()[1]
