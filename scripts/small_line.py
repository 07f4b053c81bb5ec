"""A whole line in one process for the scripts beside: a store, a partner that verifies, the product between them.

Everything is made anew in a temporary folder, on ports that the system chooses, and gone afterwards.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import structlog

from backend.config import Settings
from backend.db import prepare_database
from backend.domain.signing import make_secret
from backend.services.wiring import Services, build_services
from scripts.configure import configure
from simulator.custom import CustomSimulator
from simulator.partner import PartnerSimulator

HOOK = "partner"


@dataclass(slots=True)
class SmallLine:
    """`store` is a simulated custom store with the tenant `s0`, `partner` what its agent hands off to."""

    services: Services
    store: CustomSimulator
    partner: PartnerSimulator
    secret: str
    failed: list[str] = field(default_factory=list)

    async def configure(self, integrations: list[dict[str, Any]]) -> None:
        """Set up the company Acme with one agent, these integrations and the partner."""
        destination = {"name": HOOK, "url": f"{self.partner.base_url}/hook/{HOOK}", "secret": "env:HOOK_SECRET"}
        agent = {"name": "Recovery agent", "integrations": integrations, "destinations": [destination]}
        text = orjson.dumps({"companies": [{"name": "Acme", "agents": [agent]}]}).decode()  # JSON is YAML too
        await configure(self.services, text, {"HOOK_SECRET": self.secret}, "the set-up")

    async def cycle(self) -> dict[str, Any]:
        """Run one cycle and return its report."""
        return await self.services.poller.run_once("once")

    def payloads(self) -> list[dict[str, Any]]:
        """Return every payload that the partner accepted, oldest first."""
        return [orjson.loads(body) for body in self.partner.hook(HOOK).bodies]

    def check(self, what: str, is_so: object) -> None:
        """Say whether something is as it should be."""
        print(f"  {'ok    ' if is_so else 'FAILED'}  {what}")
        if not is_so:
            self.failed.append(what)

    def check_arrival(self, messages: int, carts: int) -> None:
        """Check what the partner has, each message under a signature that it verified with code of its own."""
        found = self.partner.hook(HOOK).report()
        self.check(f"the partner has {messages} message(s) with {carts} cart(s)", found["carts"]["unique"] == carts)
        self.check("every signature was good", found["messages"]["raw"] == messages and not found["bad_signatures"])
        self.check("nothing came twice", not found["doubled_effects"] and not found["repeated_messages"])


@asynccontextmanager
async def small_line() -> AsyncIterator[SmallLine]:
    """Run the line while the block lasts."""
    store, partner, secret = CustomSimulator(), PartnerSimulator(), make_secret()
    store.add_tenant("s0")
    partner.register(HOOK, [secret])
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="cart-line-"))
        await stack.enter_async_context(store.running())
        await stack.enter_async_context(partner.running())
        settings = _settings(Path(folder))
        await prepare_database(settings)
        services = await build_services(settings)
        stack.push_async_callback(services.aclose)
        yield SmallLine(services, store, partner, secret)


def _settings(folder: Path) -> Settings:
    """Return the defaults, whatever this shell or .env says."""
    values: dict[str, Any] = {name: entry.default for name, entry in Settings.model_fields.items()}
    values |= {"database_url": f"sqlite:///{folder / 'line.db'}", "outbound_allow_loopback": True}
    return Settings(_env_file=None, **values)


def _be_quiet() -> None:
    """Let only warnings through: what these scripts do, they say themselves."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def run(work: Callable[[SmallLine], Awaitable[None]]) -> int:
    """Do a script's work on a line of its own; return the exit code."""

    async def on_line() -> list[str]:
        async with small_line() as line:
            await work(line)
            return line.failed

    _be_quiet()
    failed = asyncio.run(on_line())
    print("all is well" if not failed else f"{len(failed)} check(s) failed")
    return 1 if failed else 0
