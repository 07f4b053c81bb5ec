"""The outermost ring: security headers on every answer, and no trace in any."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backend.routers.problems import our_bug

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
                message = {**message, "headers": with_security(list(message["headers"]))}
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


def with_security(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return an answer's headers with those that every answer has."""
    names = {name.lower() for name, _ in headers}
    headers.extend(SECURITY_HEADERS)
    # Pages and answers show a company's affairs: no cache keeps them unless the route says so (static files do).
    if not names & {b"cache-control", b"etag"}:
        headers.append(NOT_STORED)
    return headers
