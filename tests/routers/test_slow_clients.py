"""Clients that keep the service waiting are closed; those that do not are served, however many others do."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from backend.routers.slow_clients import HEAD_LIMIT, ROOM, Patience, PatientProtocol, Room
from tests.fleet.commands import Fleet

LIMIT = 20.0  # seconds for anything that is waited for; it takes a fraction of one
METRICS = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"
GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
UPGRADED = b"HTTP/1.1 101 Switching Protocols\r\n\r\n"
LARGE = 8 * 1024 * 1024  # bytes: more than any two sockets hold
SHORT, LONG = 0.15, 600.0  # seconds


@dataclass(slots=True)
class Serving:
    """A server in this process, and what it closed clients for."""

    port: int
    closed: Counter[str] = field(default_factory=Counter)
    may_go_on: asyncio.Event = field(default_factory=asyncio.Event)
    is_working: asyncio.Event = field(default_factory=asyncio.Event)

    @asynccontextmanager
    async def client(self, *sent: bytes) -> AsyncIterator[Client]:
        """Connect, and send something."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            for part in sent:
                writer.write(part)
            yield Client(reader, writer)
        finally:
            writer.transport.abort()

    async def until_closed(self, why: str, count: int = 1) -> None:
        """Wait until so many were closed for this."""
        async with asyncio.timeout(LIMIT):
            while self.closed[why] < count:  # noqa: ASYNC110  a counter sets no event
                await asyncio.sleep(0.01)


class Upgraded(asyncio.Protocol):
    """What a connection speaks that is HTTP no longer: it gives back what it gets."""

    def __init__(self, **_parts: Any) -> None:
        self._greeted = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._transport.write(data if self._greeted else UPGRADED)
        self._greeted = True


@dataclass(slots=True)
class Client:
    """One connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def answer(self) -> tuple[int, Mapping[str, str], bytes]:
        """Return status, headers and body of the next answer."""
        async with asyncio.timeout(LIMIT):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
            return int(head[0].split()[1]), headers, await self.reader.readexactly(int(headers["content-length"]))

    async def is_closed(self) -> bool:
        """Wait until the server closes the connection; whether it did without an answer."""
        async with asyncio.timeout(LIMIT):
            try:
                return await self.reader.read() == b""
            except ConnectionError:
                return True

    async def dribble(self, part: bytes) -> None:
        """Send the same few bytes again and again, until the connection is closed."""
        async with asyncio.timeout(LIMIT):
            while not self.reader.at_eof() and not self.writer.transport.is_closing():
                self.writer.write(part)
                await asyncio.sleep(0.02)


@asynccontextmanager
async def serving(
    head: float = LONG,
    body: float = LONG,
    connections: int = 100,
    keep_alive: int = 5,
    ws: type[asyncio.Protocol] | None = None,
) -> AsyncIterator[Serving]:
    """Serve an app that answers at once, reads bodies, works until told, or answers at length."""
    with listening() as listener:
        made = Serving(listener.getsockname()[1])
        room = Room(Patience(head, body, connections), lambda why: made.closed.update([why]), tick=0.02)
        app = _app(made, room)
        config = uvicorn.Config(
            app, http=PatientProtocol, ws=ws or "none", log_config=None, timeout_keep_alive=keep_alive
        )
        server = uvicorn.Server(config)
        config.load()
        server.lifespan = config.lifespan_class(config)
        await server.startup([listener])
        try:
            yield made
        finally:
            made.may_go_on.set()
            async with asyncio.timeout(LIMIT):
                await server.shutdown([listener])


@contextmanager
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def _app(made: Serving, room: Room) -> Starlette:
    async def at_once(request: Request) -> Response:
        return JSONResponse({name: value for name, value in request.headers.items() if name.startswith("x-")})

    async def read(request: Request) -> Response:
        read = await request.body()
        return JSONResponse({"read": len(read), "names": sorted(request.headers)})

    async def work(_request: Request) -> Response:
        made.is_working.set()
        await made.may_go_on.wait()
        return PlainTextResponse("worked")

    async def large(_request: Request) -> Response:
        return PlainTextResponse("x" * LARGE)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[Mapping[str, Any]]:
        yield {ROOM: room}

    paths = [Route("/", at_once, methods=["GET", "POST"]), Route("/read", read, methods=["POST"])]
    return Starlette(routes=[*paths, Route("/work", work), Route("/large", large)], lifespan=lifespan)


HALF_HEADS = {"silence": b"", "half a line": b"GET / HT", "half a head": b"GET / HTTP/1.1\r\nHost: localhost\r\n"}


@pytest.mark.parametrize("sent", HALF_HEADS.values(), ids=HALF_HEADS)
async def test_a_head_that_does_not_come_is_not_waited_for(sent: bytes) -> None:
    async with serving(head=SHORT) as server, server.client(sent) as client:
        assert await client.is_closed()
        assert server.closed == {"head": 1}


async def test_a_head_that_comes_byte_by_byte_is_not_waited_for() -> None:
    async with serving(head=SHORT) as server, server.client(b"GET / HTTP/1.1\r\nX-Slow: ") as client:
        await client.dribble(b"a")
        assert server.closed == {"head": 1}


async def test_a_further_head_is_not_waited_for_either() -> None:
    async with serving(head=SHORT) as server, server.client(GET) as client:
        assert (await client.answer())[0] == 200
        client.writer.write(b"GET / HTTP/1.1\r\n")
        await server.until_closed("head")


async def test_what_is_no_request_does_not_keep_a_connection_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backend.routers.slow_clients.LINGER", SHORT)
    async with serving(keep_alive=1) as server, server.client(GET) as client:
        await client.answer()
        await client.dribble(b"\r\n")
        assert server.closed == {"idle": 1}


async def test_a_body_that_nobody_reads_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backend.routers.slow_clients.LINGER", SHORT)
    sent = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n"
    async with serving() as server, server.client(sent) as client:
        assert (await client.answer())[0] == 200
        await client.dribble(b"a")
        assert server.closed == {"body": 1}


async def test_a_body_that_a_route_waits_for_does_not_last_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backend.routers.slow_clients.LINGER", 0)
    sent = b"POST /read HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n"
    async with serving(body=SHORT) as server, server.client(sent) as client:
        await client.dribble(b"a")
        assert server.closed == {"body": 1}


async def test_a_client_that_does_not_read_is_closed() -> None:
    async with serving(body=SHORT) as server, server.client(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n"):
        await server.until_closed("answer")


async def test_a_client_that_reads_gets_a_long_answer_whole() -> None:
    async with serving() as server, server.client(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n") as client:
        assert len((await client.answer())[2]) == LARGE
        assert server.closed == {}


async def test_whoever_waits_for_us_is_never_closed() -> None:
    asked = b"GET /work HTTP/1.1\r\nHost: localhost\r\n\r\n"
    async with serving(head=SHORT, body=SHORT) as server, server.client(asked) as client, server.client() as slow:
        await server.is_working.wait()
        assert await slow.is_closed()  # by then the worker has waited as long
        server.may_go_on.set()
        assert (await client.answer())[2] == b"worked"


async def test_requests_sent_one_behind_the_other_are_all_answered() -> None:
    asked = b"GET /work HTTP/1.1\r\nHost: localhost\r\n\r\n"
    post = b"POST /read HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc"
    async with serving(head=SHORT, body=SHORT) as server, server.client(asked + post + GET) as client:
        await server.is_working.wait()
        async with server.client() as slow:
            await slow.is_closed()
        server.may_go_on.set()
        bodies = [(await client.answer())[2] for _ in range(3)]
    assert (bodies[0], json.loads(bodies[1])["read"], bodies[2]) == (b"worked", 3, b"{}")


async def test_room_is_made_by_closing_who_has_kept_us_waiting_longest() -> None:
    async with serving(connections=3) as server, AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(server.client(sent)) for sent in (b"", b"", GET, GET)]
        assert [(await client.answer())[0] for client in clients[2:]] == [200, 200]
        assert await clients[0].is_closed()
        assert server.closed == {"made_room": 1}
        clients[1].writer.write(GET)
        assert (await clients[1].answer())[0] == 200


async def test_a_crowd_of_slow_clients_shuts_nobody_out() -> None:
    async with serving(connections=16) as server:
        crowd = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(100)]
        for _ in range(20):
            async with server.client(GET) as client:
                assert (await client.answer())[0] == 200
        for _, writer in crowd:
            writer.transport.abort()


async def test_with_work_on_every_connection_a_new_one_is_told_to_come_back() -> None:
    asked = b"GET /work HTTP/1.1\r\nHost: localhost\r\n\r\n"
    async with serving(connections=1) as server, server.client(asked):
        await server.is_working.wait()
        async with server.client(GET) as late:
            status, headers, body = await late.answer()
    assert (status, headers["retry-after"], headers["connection"]) == (503, "1", "close")
    assert json.loads(body)["type"] == "/docs#problem-too_busy"
    assert server.closed["turned_away"] == 1


LARGE_HEADS = {
    "all at once": b"GET / HTTP/1.1\r\nX-Large: " + b"a" * HEAD_LIMIT + b"\r\n\r\n",
    "a long address": b"GET /?" + b"a" * HEAD_LIMIT + b" HTTP/1.1\r\n\r\n",
    "without end": b"GET / HTTP/1.1\r\nX-Large: " + b"a" * (2 * HEAD_LIMIT),
}


@pytest.mark.parametrize("sent", LARGE_HEADS.values(), ids=LARGE_HEADS)
async def test_a_head_that_is_too_large_is_refused(sent: bytes) -> None:
    async with serving() as server, server.client(sent) as client:
        status, headers, body = await client.answer()
    assert (status, json.loads(body)["type"]) == (431, "/docs#problem-headers_too_large")
    assert headers["content-type"] == "application/problem+json"


NOT_HTTP = [
    b"\x16\x03\x01\x02\x00\x01\x00",
    b"GET\r\n\r\n",
    b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
    b"GET \xff HTTP/1.1\r\n\r\n",
]


@pytest.mark.parametrize("sent", NOT_HTTP, ids=ascii)
async def test_what_is_not_http_is_refused_by_a_problem_document(sent: bytes) -> None:
    async with serving() as server, server.client(sent) as client:
        status, headers, body = await client.answer()
    assert (status, json.loads(body)["type"]) == (400, "/docs#problem-bad_request")
    assert (headers["content-type"], headers["x-content-type-options"]) == ("application/problem+json", "nosniff")


async def test_headers_behind_a_body_get_past_nobody() -> None:
    head = b"POST /read HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with serving() as server, server.client(head, b"3\r\nabc\r\n0\r\nX-Late: 1\r\n\r\n") as client:
        told = json.loads((await client.answer())[2])
    assert (told["read"], told["names"]) == (3, ["host", "transfer-encoding"])


async def test_an_upgraded_connection_is_nobody_s_debt() -> None:
    asks = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    async with serving(head=SHORT, body=SHORT, ws=Upgraded) as server, server.client(asks) as client:
        assert await client.reader.readexactly(len(UPGRADED)) == UPGRADED
        async with server.client() as slow:
            await slow.is_closed()
        client.writer.write(b"still here")
        assert await client.reader.readexactly(10) == b"still here"


async def test_a_server_that_ends_does_not_wait_for_slow_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backend.routers.slow_clients.LINGER", SHORT)
    answer = b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n"
    half = b"POST /read HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n"
    async with AsyncExitStack() as stack, serving(head=SHORT, body=SHORT) as server:
        for sent in (b"", b"GET /", GET, half, answer):
            await stack.enter_async_context(server.client(sent))


async def test_the_service_s_own_command_closes_and_counts_slow_clients(tmp_path: Path, sqlite_url: str) -> None:
    environment = {"PATH": os.environ["PATH"], "DATABASE_URL": sqlite_url, "REQUEST_HEAD_SECONDS": "0.1"}
    fleet = Fleet(tmp_path, environment)
    try:
        command, address = await fleet.web()
        server = Serving(int(address.rpartition(":")[2]))
        async with server.client(b"GET /") as slow:
            assert await slow.is_closed()
        async with server.client(METRICS) as client:
            shown = (await client.answer())[2].decode()
        async with server.client(b"GET /"):
            assert await command.end() == 0
    finally:
        await fleet.aclose()
    assert 'cart_clients_closed_total{reason="head"} 1.0' in shown
