"""A request's body is read whole before its route does: not too much of it, not for ever, and only if it is JSON."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backend.routers.json_text import BadText, TooManyValues, check_text
from backend.routers.problems import problem, unreadable

KIB = 1024
BODY_LIMIT = 1024 * KIB
# Paths whose bodies have a limit of their own, in bytes.
LIMITS: Mapping[str, int] = {"/api/v1/carts/track": 64 * KIB}
SLOWEST = 1 * KIB  # bytes a second, after the first third of the time


class Refused(Exception):
    """The body is not taken; `answer` says why."""

    def __init__(self, answer: Response) -> None:
        super().__init__(answer.status_code)
        self.answer = answer


class BodyGuard:
    """Refuses a body that is too large, too slow or, to the API, not JSON; `seconds` is the most that it may take."""

    def __init__(self, app: ASGIApp, *, seconds: float) -> None:
        self._app = app
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # Of a header that comes twice the first counts, as it does for the route.
        headers: dict[bytes, bytes] = dict(reversed(list(scope["headers"])))
        path = str(scope["path"])
        limit = LIMITS.get(path, BODY_LIMIT)
        try:
            if _announced(headers, limit) > limit:
                raise _too_large(limit)
            body = await _read(receive, limit, self._seconds)
            if body:
                _check(body, path, headers.get(b"content-type", b""))
        except Refused as refused:
            await refused.answer(scope, receive, send)
        else:
            await self._app(scope, _replayed(body, receive), send)


def _announced(headers: dict[bytes, bytes], limit: int) -> int:
    length = headers.get(b"content-length", b"0")
    return int(length) if length.isdigit() and len(length) < 20 else limit + 1


async def _read(receive: Receive, limit: int, seconds: float) -> bytes:
    """Return the whole body. Raises `Refused` when it passes the limit, takes too long, or is cut off."""
    chunks: list[bytes] = []
    size, began = 0, asyncio.get_running_loop().time()
    while True:
        try:
            async with asyncio.timeout_at(began + min(seconds, seconds / 3 + size / SLOWEST)):
                message = await receive()
        except TimeoutError:
            raise _too_slow(seconds) from None
        if message["type"] != "http.request":
            # The caller went away. Nobody reads this; but half a form, acted upon, would do what nobody asked for.
            raise Refused(unreadable("the body was cut off", "send it whole"))
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > limit:
            raise _too_large(limit)
        chunks.append(chunk)
        if not message.get("more_body", False):
            return b"".join(chunks)


def _check(body: bytes, path: str, content_type: bytes) -> None:
    """Look at a body. Raises `Refused`."""
    if _is_json(content_type):
        try:
            check_text(body)
        except TooManyValues as error:
            raise Refused(problem(413, "body_too_large", str(error), remedy=error.remedy)) from None
        except BadText as error:
            raise Refused(unreadable(str(error), error.remedy, error.place)) from None
    elif path.startswith("/api/"):
        told, remedy = "the body is not sent as JSON", "set Content-Type: application/json"
        raise Refused(problem(415, "wrong_media_type", told, remedy=remedy))


def _too_large(limit: int) -> Refused:
    size = f"{limit // KIB} KiB" if limit < BODY_LIMIT else "1 MiB"
    return Refused(problem(413, "body_too_large", f"the body is larger than {size}", remedy="send less at once"))


def _too_slow(seconds: float) -> Refused:
    told = f"the body did not arrive within {seconds:g} s, or at less than {SLOWEST // KIB} KiB/s"
    # A server that keeps the connection would go on waiting for the rest.
    return Refused(problem(408, "too_slow", told, remedy="send it faster", headers={"Connection": "close"}))


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that gives the body once, then whatever the server says."""
    is_given = False

    async def again() -> Message:
        nonlocal is_given
        if is_given:
            return await receive()
        is_given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def _is_json(content_type: bytes) -> bool:
    kind = content_type.split(b";")[0].strip().lower()
    return kind == b"application/json" or (kind.startswith(b"application/") and kind.endswith(b"+json"))
