"""The canaries of the address attack, and the watch over every connection that this process tries.

Nothing leaves the machine: an attempt at an address that is not here is counted and refused. What stands for the
outside are public addresses whose connections are led to servers on loopback, below everything the product does.
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Any

Address = tuple[str, int]
DIALS = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg"})
NOTHING_HERE = b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"
# Where an attempt may go on, to be met by a canary; every other address is far away.
HERE = [ip_network(text) for text in ("0.0.0.0/32", "127.0.0.0/8", "::/127")]
TRIES = 20  # to find a port that is free on every address


@dataclass
class Watch:
    """What was dialled: every attempt but those at `known` servers. `lent` are addresses given to this machine."""

    known: set[Address] = field(default_factory=set)
    lent: set[str] = field(default_factory=set)
    attempts: list[str] = field(default_factory=list)

    def saw(self, address: Any) -> None:
        """Note an attempt. Raises `ConnectionRefusedError` for one that would leave the machine."""
        host, port = str(address[0]), int(address[1])
        if (host, port) in self.known:
            return
        self.attempts.append(f"{host} port {port}")
        if not self._is_here(host):
            raise ConnectionRefusedError(111, "the attack lets nothing leave this machine")

    def _is_here(self, host: str) -> bool:
        try:
            found = ip_address(host.partition("%")[0])
        except ValueError:
            return False
        mapped = getattr(found, "ipv4_mapped", None)
        return str(found) in self.lent or any((mapped or found) in network for network in HERE)


_watches: list[Watch] = []
_is_installed = False


@contextmanager
def watching() -> Iterator[Watch]:
    """Count every attempt to connect or send of this process while the block lasts."""
    global _is_installed  # noqa: PLW0603  an audit hook cannot be removed, so there is one, which may have nothing to do
    if not _is_installed:
        sys.addaudithook(_told)
        _is_installed = True
    watch = Watch()
    _watches.append(watch)
    try:
        yield watch
    finally:
        _watches.remove(watch)


def _told(event: str, arguments: tuple[Any, ...]) -> None:
    if event in DIALS and _watches:
        connection, address = arguments[0], arguments[1]
        if connection.family in {socket.AF_INET, socket.AF_INET6} and address:
            _watches[-1].saw(address)


@contextmanager
def led(routes: Mapping[Address, Address]) -> Iterator[None]:
    """Lead connections of the running loop from public addresses to servers of the attack while the block lasts."""
    loop = asyncio.get_running_loop()
    dial = loop.sock_connect

    async def lead(sock: socket.socket, address: Any) -> None:
        await dial(sock, routes.get((address[0], address[1]), address))

    loop.sock_connect = lead  # type: ignore[method-assign]
    try:
        yield
    finally:
        del loop.sock_connect  # the class's own shows again


@dataclass
class Canary:
    """Listeners that nobody should reach, all on one port, and another pair on a `closed` one."""

    port: int = 0
    closed: int = 0
    hits: int = 0
    methods: Counter[str] = field(default_factory=Counter)

    async def meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Count a connection, and answer so that a control need not wait."""
        self.hits += 1
        try:
            self.methods[(await reader.readuntil(b"\r\n\r\n")).split()[0].decode("latin-1")] += 1
            writer.write(NOTHING_HERE)
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # it hung up; that it came is what counts
        finally:
            writer.close()


@asynccontextmanager
async def canary(lent: set[str]) -> AsyncIterator[Canary]:
    """Listen on loopback of both families and on the lent addresses while the block lasts."""
    bird, hosts = Canary(), ["127.0.0.1", "::1", *sorted(lent)]
    async with AsyncExitStack() as stack:
        bird.port, bird.closed = [await _listen(bird, hosts, stack) for _ in range(2)]
        yield bird


async def _listen(bird: Canary, hosts: list[str], stack: AsyncExitStack) -> int:
    """Listen on one port of every address; return it."""
    for _ in range(TRIES):
        servers: list[asyncio.Server] = []
        try:
            for host in hosts:
                port = servers[0].sockets[0].getsockname()[1] if servers else 0
                servers.append(await asyncio.start_server(bird.meet, host, port))
        except OSError:
            for server in servers:
                server.close()
            continue
        for server in servers:
            stack.callback(server.close)
        return int(servers[0].sockets[0].getsockname()[1])
    raise RuntimeError("no port was free on every address")


@contextmanager
def lending(addresses: tuple[str, ...]) -> Iterator[set[str]]:
    """Give this machine further addresses while the block lasts, as far as this process may; yield which it has."""
    lent: set[str] = set()
    try:
        if os.geteuid() == 0:
            lent.update(address for address in addresses if _changed("add", address))
        yield lent
    finally:
        for address in lent:
            _changed("del", address)


def _changed(change: str, address: str) -> bool:
    """Whether the loopback interface now has the address, or has it no more."""
    whole, more = (f"{address}/128", ["nodad"]) if ":" in address else (f"{address}/32", [])
    command = ["ip", "address", change, whole, "dev", "lo", *(more if change == "add" else [])]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False
