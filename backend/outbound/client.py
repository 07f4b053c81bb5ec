"""The client: `httpx.Request` straight through httpx's aiohttp transport, over one long-lived aiohttp session."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import timedelta
from functools import cache
from time import perf_counter
from typing import cast

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from backend.errors import BadBody, BodyTooLarge, DeadlinePassed, OurFault, OutboundError
from backend.outbound.body import BodyLimits, read_body
from backend.outbound.faults import classed
from backend.outbound.guard import AddressGuard, GuardedResolver, Lookup, SystemLookup
from backend.outbound.messages import HttpRequest, HttpResponse
from backend.outbound.policy import OutboundPolicy
from backend.outbound.room import Room
from backend.outbound.urls import checked_url

# Below the five seconds after which many servers drop an idle connection, so that they do not drop it under a request.
KEEPALIVE_SECONDS = 4.0
HEADER_BYTES = 16 * 1024  # of one header; at most 128 of them
# The connection's own business: a caller's value would change the framing or the target.
FRAMING_HEADERS = frozenset("connection content-length expect host te trailer transfer-encoding upgrade".split())


class Outbound:
    """Long-lived client; make one per event loop and close it. Raises the `OutboundError` tree.

    `lookup` and `tls` stand in for the system's resolver and trust store, where a network has its own.
    """

    def __init__(
        self, policy: OutboundPolicy, *, lookup: Lookup | None = None, tls: ssl.SSLContext | None = None
    ) -> None:
        self.policy = policy
        self._lookup = lookup
        self._system_lookup: SystemLookup | None = None
        self._tls = tls
        self._slots = asyncio.Semaphore(policy.connections)
        self._large_bodies = asyncio.Semaphore(policy.large_bodies)
        self._transport: AiohttpTransport | None = None
        self._closed = False

    async def send(self, request: HttpRequest) -> HttpResponse:
        """Send one request and read its whole answer. A 3xx is an answer like any other."""
        began = perf_counter()
        outgoing = self._outgoing(request)
        host = outgoing.url.host
        seconds = min(request.deadline, self.policy.longest).total_seconds()
        clock = asyncio.timeout(seconds)
        has_slot, room = False, Room(self._large_bodies)
        fault: OutboundError
        try:
            async with clock, self._slots:
                has_slot = True
                answer = await self._start(outgoing)
                headers = _flat_headers(answer.headers)
                with room:
                    body = await self._read(answer, headers, request, room)
            return HttpResponse(answer.status_code, headers, body, timedelta(seconds=perf_counter() - began))
        except (BadBody, BodyTooLarge) as exc:
            fault = exc.with_traceback(None)  # whose frames hold what was read, for as long as the error is looked at
        except (httpx.HTTPError, aiohttp.ClientError, TimeoutError) as exc:
            if self._closed:
                fault = OurFault("the client was closed")
            elif not clock.expired():
                fault = classed(exc, host)
            elif room.is_waiting:
                fault = OurFault(f"no room for a large answer within {seconds:g} s")
            elif has_slot:
                fault = DeadlinePassed(f"{host} gave no whole answer within {seconds:g} s")
            else:
                fault = OurFault(f"no free connection within {seconds:g} s")
        # Outside the handler: the library's error, which may quote the URL, must not hang on to ours.
        raise fault

    async def aclose(self) -> None:
        """Close every connection."""
        self._closed = True
        transport, self._transport = self._transport, None
        if transport is not None:
            await transport.aclose()
        if self._system_lookup is not None:
            self._system_lookup.close()

    def _outgoing(self, request: HttpRequest) -> httpx.Request:
        """Build the request. Raises `AddressBlocked` for its URL, `OurFault` for headers that cannot be sent."""
        url = checked_url(request.url, request.allow_http)
        headers = {name.lower(): value for name, value in request.headers.items()}
        if not FRAMING_HEADERS.isdisjoint(headers):
            raise OurFault("a request must not set the headers that frame it")
        headers["accept-encoding"] = "gzip, deflate"
        headers["user-agent"] = self.policy.user_agent
        if request.body is not None:
            headers.setdefault("content-type", "application/json")
        try:
            return httpx.Request(request.method, url, headers=headers, content=request.body)
        except UnicodeEncodeError:
            raise OurFault("a header of the request is not ASCII") from None

    async def _start(self, outgoing: httpx.Request) -> httpx.Response:
        """Send, and return once the answer's head is there."""
        transport = self._transport or self._open()
        try:
            return await transport.handle_async_request(outgoing)
        except ValueError:
            raise OurFault("the request's method or headers hold characters that cannot be sent") from None

    async def _read(self, answer: httpx.Response, headers: dict[str, str], request: HttpRequest, room: Room) -> bytes:
        """Read the body within its limits, and give the connection up unless it was read to its end."""
        raw = self.policy.raw_limit if request.raw_limit is None else request.raw_limit
        inflated = min(raw, self.policy.inflated_limit) if request.truncate else self.policy.inflated_limit
        stream = cast(httpx.AsyncByteStream, answer.stream)
        try:
            async with aclosing(cast(AsyncGenerator[bytes, None], aiter(stream))) as chunks:
                limits = BodyLimits(raw, inflated, request.truncate)
                return await read_body(chunks, headers.get("content-encoding", ""), limits, room)
        finally:
            await stream.aclose()

    def _open(self) -> AiohttpTransport:
        """Make the session, inside the loop that will use it."""
        if self._closed:
            raise OurFault("the client was closed")
        if self._lookup is None:
            self._lookup = self._system_lookup = SystemLookup()
        guard = AddressGuard(self.policy)
        tls = self._tls or tls_context(require_tls13=self.policy.require_tls13)
        connector = aiohttp.TCPConnector(
            resolver=GuardedResolver(guard, self._lookup),
            socket_factory=guard.open_socket,
            ssl=tls,
            limit=0,  # `_slots` counts, so that waiting for a place is told from a slow target
            limit_per_host=self.policy.connections_per_host,
            keepalive_timeout=KEEPALIVE_SECONDS,
        )
        session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            auto_decompress=False,
            max_field_size=HEADER_BYTES,
        )
        self._transport = AiohttpTransport(verify=tls, client=session, trust_env=False)
        return self._transport


@cache
def tls_context(*, require_tls13: bool) -> ssl.SSLContext:
    """Return the process's context: TLS 1.2 or newer, certificates of the system and of the bundled authorities.

    Building one takes tens of milliseconds of CPU.
    """
    context = httpx.create_ssl_context(trust_env=False)
    context.load_default_certs()
    context.minimum_version = ssl.TLSVersion.TLSv1_3 if require_tls13 else ssl.TLSVersion.TLSv1_2
    return context


def _flat_headers(headers: httpx.Headers) -> dict[str, str]:
    """Return lower-case names with their values; any byte is a character, so no header is unreadable."""
    flat: dict[str, str] = {}
    for name, value in headers.raw:
        key = name.decode("latin-1").lower()
        text = value.decode("latin-1")
        flat[key] = f"{flat[key]}, {text}" if key in flat else text
    return flat
