"""The doors of the address attack: a bare request, a store's poll and a delivery, as the product makes them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from ipaddress import ip_network
from typing import Any, cast
from unittest.mock import patch
from urllib.parse import urlsplit

import aiohttp
import structlog
from pydantic import ValidationError

from backend.errors import AddressBlocked, OutboundError
from backend.models import deliveries, destinations, integrations
from backend.outbound import HttpRequest, Outbound, OutboundPolicy
from backend.outbound.guard import AddressGuard, GuardedResolver, Lookup
from backend.outbound.urls import _read
from backend.platforms.custom.settings import CustomSettings
from backend.services.engine import build_engine, outbound_policy
from benchmarks.attack_canary import Address, Canary, Watch, canary, led, watching
from benchmarks.attack_cases import Case, Names, Outside, every_case
from benchmarks.attack_forms import DENIED_HERE, OUTSIDE, Form
from tests.factories import make_destination, make_integration
from tests.services.acts import no_defaults
from tests.services.line import Line, running_line
from tests.worlds import opened_world

STORE, PARTNER = "8.8.8.8", "8.8.4.4"  # the sound ones, which deliveries need a cart from
REFUSED = "address_blocked"
PATIENCE = timedelta(seconds=5)


@dataclass
class Field:
    """Where cases are tried: canaries, the watch, the attacker's names and the outside."""

    bird: Canary
    watch: Watch
    names: Names
    outside: Outside
    routes: dict[Address, Address] = field(default_factory=dict)

    def policy(self, base: OutboundPolicy) -> OutboundPolicy:
        """Return a strict policy that lets the canaries' open port through, so that only addresses decide."""
        denied = tuple(ip_network(text) for text in DENIED_HERE)
        ports = base.allowed_ports | {self.bird.port}
        return replace(base, allow_loopback=False, allowed_ports=ports, denied=denied)

    def lead(self, host: str, port: int, to: int) -> None:
        """Lead a public address to a server on loopback, and let the watch know it."""
        self.routes[host, port] = ("127.0.0.1", to)
        self.watch.known.add(("127.0.0.1", to))

    def taken(self) -> tuple[list[str], int]:
        """Return what was dialled and how many connections the canaries took, since the last call."""
        attempts, hits = self.watch.attempts.copy(), self.bird.hits
        self.watch.attempts.clear()
        self.bird.hits = 0
        return attempts, hits

    def cases(self, forms: Sequence[Form]) -> list[Case]:
        """Return every case of these forms; anew for every pass, as the name server's answers are used up."""
        return every_case(forms, self.bird, self.names, self.outside)


@asynccontextmanager
async def attacked(lent: set[str]) -> AsyncIterator[Field]:
    """Set everything up in the running loop while the block lasts."""
    async with AsyncExitStack() as stack:
        watch = stack.enter_context(watching())
        watch.lent = lent
        outside = Outside()
        await stack.enter_async_context(outside.running())
        where = Field(await stack.enter_async_context(canary(lent)), watch, Names(), outside)
        for port in (80, where.bird.port):
            where.lead(OUTSIDE, port, outside.port)
        stack.enter_context(led(where.routes))
        yield where


@dataclass(frozen=True, slots=True)
class Result:
    """What a case came to. `attempts` are the addresses dialled, `hits` the connections that a canary took."""

    case: Case
    outcomes: tuple[str, ...]
    attempts: tuple[str, ...]
    hits: int

    @property
    def is_leak(self) -> bool:
        """Whether anything was dialled that should not be."""
        return bool(self.attempts or self.hits)

    @property
    def is_well(self) -> bool:
        """Whether nothing leaked and the door said what it should have said."""
        return not self.is_leak and self.outcomes == self.case.expected


# -- a bare request -------------------------------------------------------------------------------------------------


async def tried(where: Field, cases: Sequence[Case]) -> list[Result]:
    """Send every case through one door."""
    http = Outbound(where.policy(OutboundPolicy()), lookup=cast(Lookup, where.names))
    try:
        return [await _tried(where, http, case) for case in cases]
    finally:
        await http.aclose()


async def _tried(where: Field, http: Outbound, case: Case) -> Result:
    where.taken()
    outcomes = [await _sent(http, case.url)]
    for _ in case.expected[1:]:
        if not case.is_remembered:
            forget_names(http)
        outcomes.append(await _sent(http, case.url))
    attempts, hits = where.taken()
    return Result(case, tuple(outcomes), tuple(attempts), hits)


async def _sent(http: Outbound, url: str) -> str:
    try:
        return str((await http.send(HttpRequest("GET", url, allow_http=True, deadline=PATIENCE))).status)
    except AddressBlocked:
        return "refused"
    except OutboundError as fault:
        return fault.code
    except Exception as fault:  # noqa: BLE001  no case expects one, and the control may meet anything
        return type(fault).__name__


def forget_names(http: Outbound) -> None:
    """Let the time pass for which a looked-up name is remembered."""
    transport = http._transport  # noqa: SLF001  ten seconds of waiting instead
    if transport is not None:
        cast(aiohttp.TCPConnector, transport.get_client().connector).clear_dns_cache()


# -- a store's poll and a partner's delivery ------------------------------------------------------------------------


@dataclass(slots=True)
class Round:
    """What became of all cases at one door. `wrong` names those whose outcome was not the one expected."""

    cases: Sequence[Case]
    requests: int = 0
    wrong: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Played:
    """Two cycles of the product: the stores' polls, the partners' deliveries, and what was dialled in all."""

    polls: Round
    deliveries: Round
    attempts: list[str]
    hits: int


async def played(where: Field, url: str, stores: Sequence[Case], partners: Sequence[Case]) -> Played:
    """Make each case a store or a destination of one company on a fresh database, and run two cycles.

    A case whose URL the platform's own model refuses can be no store.
    """
    where.taken()
    polls, sent = Round([case for case in stores if _is_base_url(case.url)]), Round(partners)
    async with _line(where, url) as line:
        for case in polls.cases:
            settings = {"base_url": case.url.rstrip("/"), "allow_http": True}
            await make_integration(line.world, line.company, line.agent, settings=settings, id=_id("s", case))
        for case in sent.cases:
            await make_destination(line.world, line.company, line.agent, case.url, id=_id("d", case))
        for number in range(2):
            line.add(f"cart-{number}", 45)
            with structlog.testing.capture_logs():
                await line.run()
            found = await _outcomes(line)
            for letter, part in (("s", polls), ("d", sent)):
                part.wrong += _wrong(letter, part.cases, number, found)
                part.requests += sum(_id(letter, case) in found for case in part.cases)
            forget_names(line.base.http)
            line.clock.move(hours=1)
        attempts, hits = where.taken()
    return Played(polls, sent, attempts, hits)


@asynccontextmanager
async def _line(where: Field, url: str) -> AsyncIterator[Line]:
    """Start a sound store and a sound partner in the outside, and the product's engine with a strict door."""
    async with opened_world(url) as world, running_line(world) as line:
        for name, host, simulator in (("store", STORE, line.store), ("partner", PARTNER, line.partner)):
            where.names.answers[f"{name}.attack.example"] = [[host]]
            where.lead(host, 80, int(urlsplit(simulator.base_url).port or 0))
        async with world.database.work() as tx:
            settings = {"base_url": "http://store.attack.example/s0", "allow_http": True}
            await tx.execute(integrations.update().values(settings=settings))
            await tx.execute(destinations.update().values(url="http://partner.attack.example/hook/p"))
        await line.base.http.aclose()
        policy = where.policy(outbound_policy(world.settings))
        line.base = replace(line.base, http=Outbound(policy, lookup=cast(Lookup, where.names)))
        line.engine = build_engine(line.base, no_defaults)
        yield line


def _id(letter: str, case: Case) -> str:
    return f"{letter}-{case.number:05d}"


def _is_base_url(url: str) -> bool:
    """Whether the platform's own model takes it as a store's address."""
    try:
        CustomSettings.model_validate({"base_url": url, "allow_http": True})
    except ValidationError:
        return False
    return True


async def _outcomes(line: Line) -> dict[str, str]:
    """Return the last outcome of each store and of each destination's newest delivery, by id."""
    found = {row.id: row.last_error_code or "200" for row in await line.rows(integrations)}
    rows = sorted(await line.rows(deliveries, deliveries.c.last_outcome.is_not(None)), key=lambda row: row.id)
    return found | {row.destination_id: row.last_outcome for row in rows}


def _wrong(letter: str, part: Sequence[Case], number: int, found: Mapping[str, str]) -> list[str]:
    """Return the cases whose outcome in this cycle is not the one expected."""
    meant = {"refused": {REFUSED}, "200": {"200", "delivered"}}
    wrong = []
    for case in part:
        expected = meant.get(case.expected[min(number, len(case.expected) - 1)], {"redirected"})
        outcome = found.get(_id(letter, case), "nothing")
        if outcome not in expected:
            wrong.append(f"{letter} {case.way} {case.form.name}: {outcome} in cycle {number + 1}")
    return wrong


# -- controls -------------------------------------------------------------------------------------------------------


@contextmanager
def without_guard() -> Iterator[None]:
    """Take the guard's checks out, of addresses and of URLs, while the block lasts."""
    with (
        patch.object(AddressGuard, "check", lambda *_: None),
        patch("backend.outbound.client.checked_url", lambda url, _: _read(url)[0]),
    ):
        yield


@contextmanager
def without_resolver_check() -> Iterator[None]:
    """Leave the check to the socket alone while the block lasts."""
    whole = GuardedResolver.resolve

    async def unchecked(self: GuardedResolver, host: str, port: int = 0, family: Any = 0) -> Any:
        with patch.object(self, "_guard", _Careless()):
            return await whole(self, host, port, family)

    with patch.object(GuardedResolver, "resolve", unchecked):
        yield


class _Careless:
    """A guard that refuses nothing."""

    def check(self, _address: str, _port: int) -> None:
        """Let it pass."""


@contextmanager
def with_redirects() -> Iterator[None]:
    """Let the library follow redirects while the block lasts."""
    ask: Callable[..., Any] = aiohttp.ClientSession.request

    def follow(self: aiohttp.ClientSession, **options: Any) -> Any:
        return ask(self, **options | {"allow_redirects": True})

    with patch.object(aiohttp.ClientSession, "request", follow):
        yield
