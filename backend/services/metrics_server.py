"""Serves the metrics of a process that has no web app, over plain HTTP, on an address that only monitors reach."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext

from backend.config import Settings
from backend.errors import SetupProblem
from backend.services.exposition import CONTENT_TYPE, Exposition

HEAD_LIMIT = 8 * 1024
PATIENCE = 10.0  # seconds for a request and its answer


def serving_metrics(exposition: Exposition, settings: Settings) -> AbstractAsyncContextManager[int]:
    """Serve on METRICS_HOST and METRICS_PORT while the block lasts; on no port, nothing."""
    if settings.metrics_port == 0:
        return nullcontext(0)
    return metrics_server(exposition, settings.metrics_host, settings.metrics_port)


@asynccontextmanager
async def metrics_server(exposition: Exposition, host: str, port: int) -> AsyncIterator[int]:
    """Serve `GET /metrics` while the block lasts; give the port it listens on.

    Raises `SetupProblem` when the port is taken.
    """

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(await _answer(head, exposition))
                await writer.drain()
        except (TimeoutError, ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # whoever asked has gone, or never asked
        finally:
            writer.close()

    try:
        server = await asyncio.start_server(serve, host, port, limit=HEAD_LIMIT)
    except OSError as error:
        raise SetupProblem(f"METRICS_PORT: {host}:{port} cannot be listened on: {error.strerror}") from error
    async with server:
        yield server.sockets[0].getsockname()[1]


async def _answer(head: bytes, exposition: Exposition) -> bytes:
    target = head.split(b"\r\n", 1)[0].split(b" ")
    if target[:2] != [b"GET", b"/metrics"]:
        return b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    body = await exposition.render()
    lines = ("HTTP/1.1 200 OK", f"Content-Type: {CONTENT_TYPE}", f"Content-Length: {len(body)}", "Connection: close")
    return "\r\n".join((*lines, "", "")).encode() + body
