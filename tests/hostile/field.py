"""A field of hostile stores beside a sound one, polled by the real engine on a real database."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import Row

from backend.domain.walks import MOST_PAGES
from backend.models import carts, integrations, quarantine
from backend.outbound import Outbound
from backend.services.engine import build_engine, outbound_policy
from simulator.hostile import HostileSimulator
from tests.factories import make_integration
from tests.services.acts import no_defaults
from tests.services.line import Line, running_line
from tests.worlds import World

# Far more than a sound store needs, far less than the half minute that a store is given otherwise.
PATIENCE = timedelta(seconds=5)
# The last round comes when the last cart is abandoned.
PAUSES = (timedelta(minutes=11), timedelta(minutes=31))
# An endless walk is met near its end: whole, it takes minutes.
ENDLESS, ALREADY = "new_pages", MOST_PAGES - 5


@dataclass(slots=True)
class Field:
    """The sound store's line, and the hostile ones by their kind."""

    line: Line
    hostile: HostileSimulator
    stores: dict[str, str]

    async def rows(self) -> dict[str, Row[Any]]:
        """Return the integration of each kind."""
        kinds = {integration: kind for kind, integration in self.stores.items()}
        return {kinds[row.id]: row for row in await self.line.rows(integrations) if row.id in kinds}

    async def states_of(self, kind: str) -> dict[str, str]:
        """Return the carts of a kind's store by the store's id, with their states."""
        rows = await self.line.rows(carts, carts.c.integration_id == self.stores[kind])
        return {row.source_cart_id: row.state for row in rows}

    async def set_aside(self, kind: str) -> list[str]:
        """Return the reasons of the records in a kind's quarantine."""
        rows = await self.line.rows(quarantine, quarantine.c.integration_id == self.stores[kind])
        return [row.reason for row in rows]


@asynccontextmanager
async def running_field(world: World, kinds: Iterable[str]) -> AsyncIterator[Field]:
    """Start a line and, beside its store, one hostile store of each kind."""
    async with running_line(world) as line:
        hostile = HostileSimulator(now=line.clock.now)
        await line.base.http.aclose()
        policy = replace(outbound_policy(world.settings), longest=PATIENCE)
        line.base = replace(line.base, http=Outbound(policy))
        line.engine = build_engine(line.base, no_defaults)
        async with hostile.running() as base_url:
            stores = {kind: await _connect(line, kind, f"{base_url}/{kind}") for kind in kinds}
            yield Field(line, hostile, stores)


async def _connect(line: Line, kind: str, base_url: str) -> str:
    settings = {"base_url": base_url, "allow_http": True}
    fields: dict[str, Any] = {}
    if kind == ENDLESS:
        fields = {"window_from": line.clock.now() - timedelta(days=3), "page_token": "begun", "walk_pages": ALREADY}
    return await make_integration(line.world, line.company, line.agent, settings=settings, name=kind, **fields)


@dataclass(frozen=True, slots=True)
class Found:
    """What became of one store after some rounds; `waited` is how long it was left alone after the first."""

    row: Row[Any]
    waited: timedelta
    carts: dict[str, str]
    reasons: list[str]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of every store; `effects` reached the partner, `failed` names the stores that failed at first."""

    began: datetime
    found: dict[str, Found]
    sound: Row[Any]
    effects: list[str]
    failed: list[str]


async def played(world: World, kinds: Iterable[str]) -> Outcome:
    """Let hostile stores be polled for a few rounds while a shopper of the sound store leaves a cart in each."""
    with structlog.testing.capture_logs():
        async with running_field(world, kinds) as field:
            line, began = field.line, field.line.clock.now()
            line.add("sound-0", 45)
            report = await line.run()
            failed = [part["name"] for part in report["integrations"] if part["outcome"] != "ok"]
            waited = {kind: row.next_poll_at - began for kind, row in (await field.rows()).items()}
            for number, pause in enumerate(PAUSES, 1):
                line.clock.at += pause
                line.add(f"sound-{number}", 0)
                await line.run()
            found = {
                kind: Found(row, waited[kind], await field.states_of(kind), await field.set_aside(kind))
                for kind, row in (await field.rows()).items()
            }
            (sound,) = await line.rows(integrations, integrations.c.id == line.integration)
            return Outcome(began, found, sound, line.effects(), failed)
