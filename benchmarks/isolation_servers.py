"""Servers that keep the time: a partner with hooks that are dead in seven ways, and stores that hold nothing.

The hostile stores of the simulator can be started from here too.

Start one as a process: `python -m benchmarks.isolation_servers partner --secret whsec_...`; it prints its address.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import suppress

import orjson
from aiohttp import web

from simulator.__main__ import new_event_loop, serve
from simulator.base import Simulator
from simulator.faults import drop
from simulator.hostile import HostileSimulator
from simulator.partner import Hook, Item, PartnerOptions, PartnerSimulator, drip

LOOK_EVERY = 0.05  # seconds between looks whether the other side has hung up
GIANT = 64 * 1024 * 1024  # bytes
RETRY_AFTER = "60"
# Where a destination refuses connections nothing arrives here: its address is a port that nobody listens on.
REFUSE = "refuse"

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


def is_waiting(request: web.Request) -> bool:
    """Whether the other side still waits for the answer."""
    return request.transport is not None and not request.transport.is_closing()


async def hang(request: web.Request) -> web.StreamResponse:
    """Answer nothing for as long as the other side waits."""
    while is_waiting(request):  # noqa: ASYNC110  the server sets no event when the other side hangs up
        await asyncio.sleep(LOOK_EVERY)
    return drop(request)


async def give_body_for_ever(request: web.Request) -> web.StreamResponse:
    """Answer 200 and 64 MiB, or as much of it as the other side takes."""
    response = web.StreamResponse()
    await response.prepare(request)
    with suppress(ConnectionError):  # it has hung up
        for _ in range(GIANT // 65536):
            await response.write(b"x" * 65536)
    return response


async def break_down(_request: web.Request) -> web.StreamResponse:
    """Answer 500."""
    return web.Response(status=500, text="out of order")


async def put_off(_request: web.Request) -> web.StreamResponse:
    """Answer 429."""
    return web.Response(status=429, headers={"Retry-After": RETRY_AFTER})


async def be_gone(_request: web.Request) -> web.StreamResponse:
    """Answer 410."""
    return web.Response(status=410)


async def trickle(request: web.Request) -> web.StreamResponse:
    """Answer 200 and then a byte now and then."""
    return await drip(request, 0.2)


# The ways of being dead, by the first word of the hook's name.
DEAD: dict[str, Answer] = {
    "hang": hang,
    "drip": trickle,
    "error": break_down,
    "throttle": put_off,
    "gone": be_gone,
    "giant": give_body_for_ever,
}
WAYS = (REFUSE, *DEAD)


class TimedPartner(PartnerSimulator):
    """A partner that notes when each cart first arrived, and how many requests each hook had in the air at most."""

    name = "timed partner"

    def __init__(self, options: PartnerOptions | None = None) -> None:
        super().__init__(options)
        self.arrivals: dict[str, float] = {}
        self.in_air: defaultdict[str, dict[int, web.Request]] = defaultdict(dict)
        self.peaks: dict[str, int] = {}

    def routes(self) -> list[web.RouteDef]:
        """Return the hook and the control routes."""
        control = [web.get("/_control/times", self._control_times), web.post("/_control/reset", self._control_reset)]
        return [*super().routes(), *control]

    async def _receive(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        self.in_air[name][id(request)] = request
        self.peaks[name] = max(self.peaks.get(name, 0), sum(map(is_waiting, self.in_air[name].values())))
        try:
            dead = DEAD.get(name.partition("-")[0])
            if dead is None:
                return await super()._receive(request)
            await request.read()
            return await dead(request)
        finally:
            del self.in_air[name][id(request)]

    def _accept(self, hook: Hook, request: web.Request, carts: list[Item]) -> None:
        super()._accept(hook, request, carts)
        now = time.time()
        for _event, effect, _happening in carts:
            self.arrivals.setdefault(effect.source_cart_id, now)

    async def _control_times(self, _request: web.Request) -> web.Response:
        """Return when (Unix time) each cart first arrived, and the most requests in the air at once, by hook."""
        return web.Response(body=orjson.dumps({"arrivals": self.arrivals, "peaks": self.peaks}))

    async def _control_reset(self, _request: web.Request) -> web.Response:
        self.hooks.clear()
        self.arrivals.clear()
        self.peaks.clear()
        return web.Response(status=204)


class EmptyStores(Simulator):
    """Custom stores without a cart, at `/{store}/abandoned-carts`; notes when each one was first asked."""

    name = "empty stores"
    keep_requests = 0
    page = b'{"carts": [], "next_cursor": null}'

    def __init__(self) -> None:
        super().__init__()
        self.first: dict[str, float] = {}
        self.polls = 0

    def routes(self) -> list[web.RouteDef]:
        """Return the one page and the control routes."""
        return [
            web.get("/{store}/abandoned-carts", self._page),
            web.get("/_control/times", self._control_times),
            web.post("/_control/reset", self._control_reset),
        ]

    async def _page(self, request: web.Request) -> web.Response:
        self.polls += 1
        self.first.setdefault(request.match_info["store"], time.time())
        return web.Response(body=self.page, content_type="application/json")

    async def _control_times(self, _request: web.Request) -> web.Response:
        """Return when (Unix time) each store was first asked, and how many polls there were."""
        return web.Response(body=orjson.dumps({"first": self.first, "polls": self.polls}))

    async def _control_reset(self, _request: web.Request) -> web.Response:
        self.first.clear()
        self.polls = 0
        return web.Response(status=204)


def main() -> None:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("server", choices=["partner", "stores", "hostile"])
    parser.add_argument("--secret", action="append", default=[], help="partner only: what it verifies messages with")
    asked = parser.parse_args()
    servers: dict[str, Callable[[], Simulator]] = {
        "partner": lambda: TimedPartner(PartnerOptions(tuple(asked.secret), keep_bodies=0)),
        "stores": EmptyStores,
        "hostile": HostileSimulator,
    }
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(serve(servers[asked.server](), 0))


if __name__ == "__main__":
    main()
