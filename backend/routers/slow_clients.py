"""Connections that keep the service waiting are closed, and there are only so many connections at once.

Uvicorn waits for ever for a request's head, and for a client that does not read. Here each connection says what its
client owes: the head of a request, the rest of a body, the taking of an answer. A look every second closes those that
owe it too long; when there is no room for a new one, the one that has owed longest goes. So a crowd of slow clients
shuts out nobody.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from backend.routers.edge import with_security
from backend.routers.problems import problem

HEAD_LIMIT = 32 * 1024  # bytes of a request's first line and headers
TICK = 1.0  # seconds between two looks
LINGER = 5.0  # seconds for what follows an answer, so that a client that still sends gets to read it
ROOM = "room"  # its name in the state of the server


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds for a head, seconds for a body or for an answer, and connections at once."""

    head: float
    body: float
    connections: int


@dataclass(frozen=True, slots=True)
class Debt:
    """What a client owes: head, body, answer (to take it) or idle (a further request); since when, for how long."""

    what: str
    since: float
    seconds: float


class Room:
    """The open connections of a process. `count` is told what each one was closed for."""

    def __init__(self, patience: Patience, count: Callable[[str], None], tick: float = TICK) -> None:
        self.patience = patience
        self._count = count
        self._tick = tick
        self._inside: set[PatientProtocol] = set()
        self._next_look: asyncio.TimerHandle | None = None

    def enter(self, connection: PatientProtocol) -> bool:
        """Let a connection in. False when there is no room, and nobody who keeps us waiting to make some."""
        is_full = len(self._inside) >= self.patience.connections and not self._make_room()
        self._inside.add(connection)
        if self._next_look is None:
            self._next_look = connection.loop.call_later(self._tick, self._look, connection.loop)
        return not is_full

    def leave(self, connection: PatientProtocol) -> None:
        """Let a connection out."""
        self._inside.discard(connection)

    def turned_away(self) -> None:
        """Count a request that was refused because there was no room."""
        self._count("turned_away")

    def close(self, connection: PatientProtocol, why: str) -> None:
        """Close a connection at once: a polite end would wait for a client that does not read."""
        self._count(why)
        self.leave(connection)
        connection.transport.abort()

    def _make_room(self) -> bool:
        owing = [(debt.since, each) for each in self._inside if (debt := each.debt()) is not None]
        if not owing:
            return False
        self.close(min(owing, key=lambda one: one[0])[1], "made_room")
        return True

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        for connection in list(self._inside):
            connection.note_unsent(now)
            debt = connection.debt()
            if debt is not None and now - debt.since > debt.seconds:
                self.close(connection, debt.what)
        self._next_look = loop.call_later(self._tick, self._look, loop) if self._inside else None


class _Stage(Enum):
    """How far the client has come with its request; before its first one too it is at a head."""

    HEAD = "head"
    BODY = "body"
    WHOLE = "whole"


class PatientProtocol(HttpToolsProtocol):
    """Uvicorn's HTTP protocol, in a room: the one that the app's lifespan put into the state of the server."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._room: Room = app_state[ROOM]
        self._stage = _Stage.HEAD
        self._since = self.loop.time()
        self._head_size = 0
        self._unsent_since: float | None = None

    # -- what the room asks ---------------------------------------------------------------------------------------

    def debt(self) -> Debt | None:
        """Return what the client owes; None while it waits for us."""
        patience = self._room.patience
        if self._unsent_since is not None:
            return Debt("answer", self._unsent_since, patience.body)
        if not getattr(self.cycle, "response_complete", True):
            # Whoever reads the body gives up first and says so; while reading is paused it is we who are slow.
            waits = self._stage is _Stage.BODY and not self.flow.read_paused
            return Debt("body", self._since, patience.body + LINGER) if waits else None
        if self._stage is _Stage.HEAD:
            return Debt("head", self._since, patience.head)
        if self._stage is _Stage.BODY:
            return Debt("body", self._since, LINGER)
        return Debt("idle", self._since, self.timeout_keep_alive + LINGER)

    def note_unsent(self, now: float) -> None:
        """Look whether the client takes what was sent."""
        if not self.transport.get_write_buffer_size():
            self._unsent_since = None
        elif self._unsent_since is None:
            self._unsent_since = now

    # -- what happens on the connection ---------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if not self._room.enter(self):
            self._room.turned_away()
            self.app = _too_busy

    def connection_lost(self, exc: Exception | None) -> None:
        self._room.leave(self)
        super().connection_lost(exc)

    def handle_websocket_upgrade(self) -> None:
        self._room.leave(self)
        super().handle_websocket_upgrade()

    def resume_writing(self) -> None:
        self._unsent_since = None  # it took some tens of KiB
        super().resume_writing()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._stage is _Stage.HEAD:
            self._head_size += len(data)
            if self._head_size > HEAD_LIMIT and not self.transport.is_closing():
                self._write(_head_too_large())
                self.transport.close()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self._stage is _Stage.WHOLE:
            self._enter_stage(_Stage.HEAD)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._stage is _Stage.HEAD:  # what follows a body would get past whoever has read the headers
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._enter_stage(_Stage.BODY)
        if len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > HEAD_LIMIT:
            self.app = _refuse_head
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._enter_stage(_Stage.WHOLE)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._since = self.loop.time()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP, as everything else is refused."""
        self._write(problem(400, "bad_request", msg, remedy="send HTTP/1.1"))
        self.transport.close()

    def _enter_stage(self, stage: _Stage) -> None:
        self._stage, self._since, self._head_size = stage, self.loop.time(), 0

    def _write(self, answer: Response) -> None:
        """Write an answer to what never became a request."""
        headers = [*self.server_state.default_headers, *with_security(list(answer.raw_headers))]
        lines = [name + b": " + value + b"\r\n" for name, value in headers]
        end = b"connection: close\r\n\r\n" + bytes(answer.body)
        self.transport.write(b"".join([STATUS_LINE[answer.status_code], *lines, end]))


async def _too_busy(scope: Scope, receive: Receive, send: Send) -> None:
    headers = {"Retry-After": "1", "Connection": "close"}
    told = "this process has as many connections as it may have, and works for all of them"
    await problem(503, "too_busy", told, remedy="try again in a second", headers=headers)(scope, receive, send)


async def _refuse_head(scope: Scope, receive: Receive, send: Send) -> None:
    await _head_too_large()(scope, receive, send)


def _head_too_large() -> Response:
    told = f"the first line and the headers are larger than {HEAD_LIMIT // 1024} KiB"
    return problem(431, "headers_too_large", told, remedy="send fewer or shorter headers")
