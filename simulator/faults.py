"""Faults that any simulated server can be asked for, whatever it speaks."""

from __future__ import annotations

import asyncio
import gzip
from dataclasses import asdict, dataclass, field
from typing import Any

from aiohttp import web


@dataclass(slots=True)
class Fault:
    """One fault for the next `times` requests whose path (with query) contains `match`, after `after` of them passed.

    `kind`: status (answer `status` with `body` and `headers`), html, truncated (cut JSON), drip (one byte a
    `seconds`), hang (no answer for `seconds`), reset (close before the answer), cut (close in mid-body), gzip_bomb,
    huge (endless body), nan (a JSON NaN), deep (JSON nested 100,000 deep), date (the real answer with `Date` moved
    by `seconds`), slow (the real answer after `seconds`), answered_then_reset (the work is done, the answer lost).
    A kind a server knows itself (such as THROTTLED for Shopify) is left to it.
    """

    kind: str
    times: int = 1
    after: int = 0
    match: str = ""
    status: int = 500
    body: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    options: dict[str, Any] = field(default_factory=dict)

    def takes(self, path: str) -> bool:
        """Whether this request is the fault's; counts it down."""
        if self.times <= 0 or self.match not in path:
            return False
        if self.after > 0:
            self.after -= 1
            return False
        self.times -= 1
        return True

    def as_json(self) -> dict[str, Any]:
        """Return the fault as the control route shows it."""
        return asdict(self)


GENERIC_ANSWERS = frozenset(
    {"status", "html", "truncated", "drip", "hang", "reset", "cut", "gzip_bomb", "huge", "nan", "deep"}
)


async def answer_with(fault: Fault, request: web.Request) -> web.StreamResponse:
    """Carry out a fault that replaces the real answer."""
    if fault.kind == "hang":
        await asyncio.sleep(fault.seconds or 3600)
        return web.Response(status=504)
    if fault.kind == "reset":
        return drop(request)
    if fault.kind in {"drip", "cut", "huge"}:
        return await _stream(fault, request)
    return _whole(fault)


def drop(request: web.Request) -> web.Response:
    """Close the connection at once, without an answer."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=500)


def _whole(fault: Fault) -> web.Response:
    if fault.kind == "html":
        page = fault.body or "<html><body><h1>Briefly unavailable</h1></body></html>"
        status = fault.status if fault.status != 500 else 200
        return web.Response(status=status, text=page, content_type="text/html", headers=fault.headers)
    if fault.kind == "gzip_bomb":
        bomb = gzip.compress(b" " * 64 * 1024 * 1024)
        return web.Response(body=bomb, content_type="application/json", headers={"Content-Encoding": "gzip"})
    text = {"truncated": '{"data": {"carts": [', "nan": '{"value": NaN}', "deep": "[" * 100_000}.get(
        fault.kind, fault.body
    )
    status = fault.status if fault.kind == "status" else 200
    headers = {"Content-Type": "application/json", **fault.headers}
    return web.Response(status=status, body=text.encode(), headers=headers)


async def _stream(fault: Fault, request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    if fault.kind == "cut":
        response.content_length = 1000
    await response.prepare(request)
    if fault.kind == "cut":
        await response.write(b'{"carts": [')
        return drop(request)
    chunk = b" " if fault.kind == "drip" else b" " * 65536
    for _ in range(10_000):
        await response.write(chunk)
        if fault.kind == "drip":
            await asyncio.sleep(fault.seconds or 0.05)
    return response
