"""The outermost ring: security headers on every answer, no trace in any, and no body that is too large or not JSON."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backend.routers.problems import our_bug, problem

BODY_LIMIT = 1024 * 1024
# Scripts and styles come from our own files only; nothing may frame the console or send its forms elsewhere.
CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
SECURITY_HEADERS = (
    (b"content-security-policy", CONTENT_POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    # Not `no-referrer`: browsers would then send `Origin: null` with our own forms.
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
)
NOT_STORED = (b"cache-control", b"no-store")


class Edge:
    """Adds the headers, and turns what nobody caught into a problem document; a failed start into one line."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, _tersely(send))
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        is_started = False

        async def send_on(message: Message) -> None:
            nonlocal is_started
            if message["type"] == "http.response.start":
                is_started = True
                message = {**message, "headers": _with_headers(list(message["headers"]))}
            await send(message)

        try:
            await self._app(scope, receive, send_on)
        except Exception as error:
            answer = our_bug(error, str(scope["path"]))
            if is_started:
                raise  # the answer is half out; the server must break the connection
            await answer(scope, receive, send_on)


def _tersely(send: Send) -> Send:
    """Return a `send` that says in one line why the service does not start, where that is a matter of its set-up."""

    async def send_on(message: Message) -> None:
        said = str(message.get("message", "")).rstrip().rpartition("\n")[2]
        if message["type"] == "lifespan.startup.failed" and "SetupProblem: " in said:
            message = {**message, "message": said.partition("SetupProblem: ")[2]}
        await send(message)

    return send_on


def _with_headers(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    names = {name.lower() for name, _ in headers}
    headers.extend(SECURITY_HEADERS)
    # Pages and answers show a company's affairs: no cache keeps them unless the route says so (static files do).
    if not names & {b"cache-control", b"etag"}:
        headers.append(NOT_STORED)
    return headers


class BodyGuard:
    """Reads a request's body before its route does; refuses it over 1 MiB, and to the API when it is not JSON."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers: dict[bytes, bytes] = dict(scope["headers"])
        body = None if _announced(headers) > BODY_LIMIT else await _read(receive)
        if body is None:
            refused = problem(413, "body_too_large", "the body is larger than 1 MiB", remedy="send less at once")
            await refused(scope, receive, send)
        elif body and str(scope["path"]).startswith("/api/") and not _is_json(headers.get(b"content-type", b"")):
            refused = problem(
                415, "wrong_media_type", "the body is not sent as JSON", remedy="set Content-Type: application/json"
            )
            await refused(scope, receive, send)
        else:
            await self._app(scope, _replayed(body, receive), send)


def _announced(headers: dict[bytes, bytes]) -> int:
    length = headers.get(b"content-length", b"0")
    return int(length) if length.isdigit() and len(length) < 20 else BODY_LIMIT + 1


async def _read(receive: Receive) -> bytes | None:
    """Return the whole body, or None once it passes the limit."""
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return b"".join(chunks)  # the caller went away
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > BODY_LIMIT:
            return None
        chunks.append(chunk)
        if not message.get("more_body", False):
            return b"".join(chunks)


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
