"""The address guard: refuses bad addresses at the moment of connecting, whatever name led to them.

Two layers. The resolver refuses a name if any of its addresses is bad. The socket factory sees the address that is
really dialled, so it also covers literals in URLs, which no resolver sees.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult

from backend.domain.addresses import classify_address, is_loopback
from backend.errors import AddressBlocked, ResolverDown
from backend.outbound.own import is_own
from backend.outbound.policy import OutboundPolicy

# Takes a host name, returns its addresses as literals; raises `socket.gaierror` as getaddrinfo does.
Lookup = Callable[[str], Awaitable[Sequence[str]]]

LOOKUP_SECONDS = 5.0
LOOKUP_THREADS = 16
# The resolver did answer: there is no such name, or it has no address. Anything else is our side's trouble.
NAME_UNKNOWN = frozenset(code for code in (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", None)) if code is not None)


class AddressGuard:
    """Decides on addresses. Its error is not an `OSError`, so the transport lets it through as it is."""

    def __init__(self, policy: OutboundPolicy) -> None:
        self._policy = policy

    def check(self, address: str, port: int) -> None:
        """Raise `AddressBlocked` unless `address` and `port` may be dialled.

        Where loopback is allowed, it is so in its plain form alone, and on any port.
        """
        if self._policy.allow_loopback and is_loopback(address):
            return
        if reason := classify_address(address, self._policy.denied):
            raise AddressBlocked(f"the target's address is not allowed: {reason}")
        if is_own(address):
            raise AddressBlocked("the target's address is not allowed: this machine's own")
        if port not in self._policy.allowed_ports:
            raise AddressBlocked(f"port {port} is not allowed")

    def open_socket(self, addr_info: tuple[Any, ...]) -> socket.socket:
        """Make the socket for one address that is about to be dialled (aiohttp's `socket_factory`)."""
        family, kind, proto, _, sockaddr = addr_info
        self.check(sockaddr[0], sockaddr[1])
        return socket.socket(family, kind, proto)


class GuardedResolver(AbstractResolver):
    """aiohttp's resolver: looks a name up once and gives out its addresses only if every one of them is allowed."""

    def __init__(self, guard: AddressGuard, lookup: Lookup) -> None:
        self._guard = guard
        self._lookup = lookup

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the name's addresses. Raises `AddressBlocked`, `ResolverDown`, or `OSError` for an unknown name."""
        addresses = await self._look_up(host)
        if not addresses:
            raise socket.gaierror(socket.EAI_NONAME, "the name has no address")
        for address in addresses:
            self._guard.check(address, port)
        return [_result(host, address, port) for address in addresses]

    async def _look_up(self, host: str) -> Sequence[str]:
        try:
            async with asyncio.timeout(LOOKUP_SECONDS):
                return await self._lookup(host)
        except TimeoutError:
            raise ResolverDown(f"our resolver gave no answer for {host} in time") from None
        except socket.gaierror as exc:
            if exc.errno in NAME_UNKNOWN:
                raise
            raise ResolverDown(f"our resolver could not look up {host}") from None

    async def close(self) -> None:
        """Nothing to close: the lookup belongs to whoever passed it in."""


def _result(host: str, address: str, port: int) -> ResolveResult:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    return ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=flags)


class SystemLookup:
    """Asks the system's resolver, on threads of its own: a dead name server must not fill the loop's shared pool."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(LOOKUP_THREADS, thread_name_prefix="lookup")

    async def __call__(self, host: str) -> Sequence[str]:
        """Return every address of `host`, in the system's order of preference."""
        loop = asyncio.get_running_loop()
        infos = await loop.run_in_executor(self._threads, _system_addresses, host)
        return list(dict.fromkeys(infos))

    def close(self) -> None:
        """Drop what waits; a lookup that already runs ends by itself."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _system_addresses(host: str) -> list[str]:
    return [str(info[4][0]) for info in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)]
