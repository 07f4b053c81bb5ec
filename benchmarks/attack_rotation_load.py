"""A steady load on two web processes, with what a proxy in front of them does and no more."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp

TIMEOUT = aiohttp.ClientTimeout(total=30)  # seconds
REPEATABLE = {"GET", "PUT", "DELETE"}  # by RFC 9110: to do it twice is to do it once
CLIENTS = 4
PAUSE = 0.05  # seconds between two requests of one client
WRITE_EVERY = 5  # requests


@dataclass(slots=True)
class Tally:
    """What became of requests. `passed_on`: those that a process in restart refused and the other one took."""

    statuses: Counter[int] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    passed_on: int = 0

    @property
    def made(self) -> int:
        """All requests that got an answer, or none."""
        return sum(self.statuses.values()) + len(self.faults)

    @property
    def failed(self) -> int:
        """Those that did not get what they asked for."""
        return len(self.faults) + sum(times for status, times in self.statuses.items() if not 200 <= status < 300)


class Proxy:
    """What stands in front: a fresh connection for each request, to one process after the other.

    Where a process refuses the connection, the request goes to the other one; so does one that may be repeated
    (`REPEATABLE`) whose connection broke before there was an answer, as when a process that ends had not taken it from
    the kernel yet. That is what nginx does by itself (`proxy_next_upstream error`).
    """

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self._turns: Iterator[int] = itertools.count()
        self.addresses: dict[str, str] = {}  # by the process's name

    async def ask(self, tally: Tally, key: str, method: str, path: str, body: Any = None) -> Any:
        """Make one request and count it; return the JSON answer."""
        names = sorted(self.addresses)
        first = next(self._turns) % len(names)
        for name in names[first:] + names[:first]:
            try:
                return await self.ask_at(self.addresses[name], tally, key, (method, path, body))
            except aiohttp.ClientConnectorError:
                tally.passed_on += 1
            except (aiohttp.ClientError, TimeoutError) as error:
                if method not in REPEATABLE or isinstance(error, TimeoutError):
                    tally.faults.append(f"{method}: {type(error).__name__}")
                    return None
                tally.passed_on += 1
        tally.faults.append(f"{method}: no process took it")
        return None

    async def ask_at(self, address: str, tally: Tally, key: str, what: tuple[str, str, Any]) -> Any:
        """Make one request to one process and count it."""
        method, path, body = what
        headers = {"Authorization": f"Bearer {key}", "Connection": "close"}
        async with self._session.request(method, f"{address}{path}", json=body, headers=headers) as answer:
            found = await answer.json()
            tally.statuses[answer.status] += 1
            return found


@asynccontextmanager
async def proxied() -> AsyncIterator[Proxy]:
    """Give a proxy while the block lasts."""
    async with aiohttp.ClientSession(timeout=TIMEOUT, connector=aiohttp.TCPConnector(force_close=True)) as session:
        yield Proxy(session)


@dataclass(slots=True)
class Load:
    """Requests without a pause: reading ones that open sealed values, and every fifth one that seals some anew.

    `working` is the company whose stores and destination work meanwhile; `quiet` and `destination` are another one and
    its destination, to which nothing is sent: its signing secrets are replaced all the time.
    """

    proxy: Proxy
    working: str
    quiet: str
    destination: str
    key: str
    tally: Tally = field(default_factory=Tally)
    _is_over: bool = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Make requests while the block lasts."""
        clients = [asyncio.create_task(self._client(number)) for number in range(CLIENTS)]
        try:
            yield
        finally:
            self._is_over = True
            await asyncio.gather(*clients)

    async def until(self, seconds: float) -> None:
        """Go on for a while."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:  # noqa: ASYNC110  the load goes by time
            await asyncio.sleep(PAUSE)

    async def _client(self, number: int) -> None:
        root, quiet = f"/api/v1/companies/{self.working}", f"/api/v1/companies/{self.quiet}/destinations"
        paths = [f"{root}/integrations", f"{root}/destinations", f"{root}/carts", f"{quiet}/{self.destination}"]
        for turn in itertools.count(number):
            if self._is_over:
                return
            if turn % WRITE_EVERY == 0:
                await self.proxy.ask(self.tally, self.key, "PUT", f"{quiet}/{self.destination}/secret", {})
            else:
                await self.proxy.ask(self.tally, self.key, "GET", paths[turn % len(paths)])
            await asyncio.sleep(PAUSE)
