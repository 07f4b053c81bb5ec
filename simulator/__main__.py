"""Start one simulated server as a process: ``python -m simulator shopify --shops 2``.

Prints one line, ``listening http://127.0.0.1:NNN``, and serves until it is told to stop. What its stores hold is
set through the control routes.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from simulator.base import Simulator
from simulator.bigcommerce import BigCommerceSimulator
from simulator.custom import CustomSimulator
from simulator.hostile import HostileSimulator
from simulator.magento import MagentoSimulator
from simulator.partner import PartnerOptions, PartnerSimulator
from simulator.shopify import ShopifySimulator
from simulator.woocommerce import WooCommerceSimulator

try:
    import uvloop

    new_event_loop: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
except ImportError:  # it is not made for every system
    new_event_loop = asyncio.new_event_loop

# Old enough to be abandoned at first sight, young enough to be worth recovering.
NEWEST_CART, CART_STEP = timedelta(minutes=45), timedelta(minutes=7)


def shopify(asked: argparse.Namespace) -> Simulator:
    """Shops below ``/s0``, ``/s1`` and so on."""
    simulator = ShopifySimulator(asked.shops)
    for index in range(asked.shops):
        for moment in _moments(asked.carts):
            simulator.shop(index).add_cart(updated_at=moment)
    return simulator


def woocommerce(asked: argparse.Namespace) -> Simulator:
    """Sites below ``/s0``, ``/s1`` and so on."""
    simulator = WooCommerceSimulator()
    for index in range(asked.shops):
        site = simulator.add_site(f"/s{index}")
        for moment in _moments(asked.carts):
            site.add(at=moment, total="25.00")
    return simulator


def magento(asked: argparse.Namespace) -> Simulator:
    """Stores below ``/s0``, ``/s1`` and so on, each with the integration that `simulator.magento` begins with."""
    simulator = MagentoSimulator()
    for index in range(asked.shops):
        store = simulator.add_store(f"/s{index}")
        for moment in _moments(asked.carts):
            store.add(at=moment, total="25.00", billing={"email": "shopper@example.com"})
    return simulator


def bigcommerce(asked: argparse.Namespace) -> Simulator:
    """Stores ``s0``, ``s1`` and so on, each with the access token ``token-<hash>``."""
    simulator = BigCommerceSimulator()
    for index in range(asked.shops):
        store = simulator.add_store(f"s{index}")
        for moment in _moments(asked.carts):
            store.abandon(at=moment, total="25.00")
    return simulator


def custom(asked: argparse.Namespace) -> Simulator:
    """Tenants ``s0``, ``s1`` and so on, each with the bearer token ``token-<name>``."""
    simulator = CustomSimulator()
    for index in range(asked.shops):
        name = f"s{index}"
        simulator.add_tenant(name, asked.auth)
        for number, moment in enumerate(_moments(asked.carts)):
            simulator.add_cart(name, f"{name}-cart-{number}", moment, recovery_url=None)
    return simulator


def hostile(_: argparse.Namespace) -> Simulator:
    """One sick or hostile store of each kind, below ``/hang``, ``/gzip_bomb`` and so on (see simulator/hostile.py)."""
    return HostileSimulator()


def partner(asked: argparse.Namespace) -> Simulator:
    """A receiver; its secrets come from the options or, separated by blanks, from PARTNER_SECRETS."""
    secrets = asked.secret or os.environ.get("PARTNER_SECRETS", "").split()
    return PartnerSimulator(PartnerOptions(tuple(secrets), asked.verify, asked.keep_bodies, asked.journal))


SERVERS: dict[str, Callable[[argparse.Namespace], Simulator]] = {
    "shopify": shopify,
    "woocommerce": woocommerce,
    "magento": magento,
    "bigcommerce": bigcommerce,
    "custom": custom,
    "hostile": hostile,
    "partner": partner,
}


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m simulator", description="Start one simulated server.")
    parser.add_argument("server", choices=SERVERS)
    parser.add_argument("--port", type=int, default=0, help="0, the default: a free one")
    parser.add_argument("--shops", type=int, default=1, help="how many stores, below /s0, /s1 and so on")
    parser.add_argument("--carts", type=int, default=0, help="how many carts each store begins with")
    parser.add_argument("--auth", default="bearer", choices=["bearer", "header", "basic", "hmac"], help="custom only")
    parser.add_argument("--secret", action="append", help="partner only; may be given several times")
    parser.add_argument("--no-verify", dest="verify", action="store_false", help="partner only: take any signature")
    parser.add_argument("--keep-bodies", type=int, default=5, help="partner only: how many bodies each hook shows")
    parser.add_argument("--journal", type=Path, help="partner only: a file that keeps effects over restarts")
    return parser.parse_args(arguments)


async def serve(simulator: Simulator, port: int) -> None:
    """Serve until SIGTERM or SIGINT."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    async with simulator.running(port) as base_url:
        sys.stdout.write(f"listening {base_url}\n")
        sys.stdout.flush()
        await stopped.wait()


def _moments(count: int) -> list[datetime]:
    newest = datetime.now(UTC).replace(microsecond=0) - NEWEST_CART
    return [newest - CART_STEP * number for number in range(count)]


if __name__ == "__main__":
    options = parse(sys.argv[1:])
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(serve(SERVERS[options.server](options), options.port))
