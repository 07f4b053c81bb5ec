"""What tests of the line do over and over: shoppers' doings, rows looked up, engines that stop at a moment."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

from sqlalchemy import Table, update

from backend.models import carts, deliveries, delivery_carts, integrations
from backend.services.engine import Engine, build_base, build_engine
from backend.services.poller import Rhythm
from tests.factories import make_integration
from tests.services.line import Line


class Stopped(Exception):
    """A test ends the work here."""


async def no_defaults() -> None:
    """Make no default destinations."""


def engine_with(line: Line, checkpoint: Callable[[str], Awaitable[None]]) -> Engine:
    """Return the line's engine with another checkpoint."""
    return build_engine(replace(line.base, checkpoint=checkpoint), no_defaults)


@asynccontextmanager
async def another(line: Line) -> AsyncIterator[Engine]:
    """Return the engine of another process on the same database."""
    base = build_base(line.world.settings, clock=line.clock)
    try:
        yield build_engine(base, no_defaults)
    finally:
        await base.leases.aclose()
        await base.http.aclose()
        await base.database.close()


def stopping_at(line: Line, moment: str) -> Engine:
    """Return the line's engine, ended by an exception whenever it comes to `moment`."""

    async def checkpoint(now: str) -> None:
        if now == moment:
            raise Stopped(moment)

    return engine_with(line, checkpoint)


def doing_at(line: Line, moment: str, act: Callable[[], Any]) -> Engine:
    """Return the line's engine; the first time it comes to `moment` the world does `act`."""
    acts = [act]

    async def checkpoint(now: str) -> None:
        if now == moment and acts:
            done = acts.pop()()
            if isinstance(done, Awaitable):
                await done

    return engine_with(line, checkpoint)


async def poll(line: Line) -> None:
    """Let the next beat, half a minute later, poll what is due; nothing is delivered."""
    line.clock.move(seconds=30)
    await line.engine.poller.run_beat(Rhythm(is_wanted=True, interval=30, since=line.clock.now()))


def buy(line: Line, cart_id: str, minutes_ago: float = 0, tenant: str = "s0") -> None:
    """Let the shopper buy."""
    line.store.complete(tenant, cart_id, line.clock.now() - timedelta(minutes=minutes_ago))


def fill(line: Line, cart_id: str, total: str = "25.00", minutes_ago: float = 0, **fields: Any) -> None:
    """Let the shopper put something else into the cart."""
    line.store.touch("s0", cart_id, line.clock.now() - timedelta(minutes=minutes_ago), total=total, **fields)


async def add_store(line: Line, name: str, company: str = "", agent: str = "", **fields: Any) -> str:
    """Open another store of the simulator and connect it; return the integration's id."""
    line.store.add_tenant(name)
    settings = {"base_url": f"{line.store.base_url}/{name}", "allow_http": True}
    return await make_integration(
        line.world,
        company or line.company,
        agent or line.agent,
        settings=settings,
        credentials={"token": f"token-{name}"},
        **fields,
    )


async def change(line: Line, table: Table, **values: Any) -> None:
    """Change every row of a table."""
    async with line.world.database.work() as tx:
        await tx.execute(update(table).values(**values))


async def states(line: Line) -> dict[str, str]:
    """Return the state of each cart by the store's id."""
    return {row.source_cart_id: row.state for row in await line.rows(carts)}


async def cart(line: Line, cart_id: str = "c1") -> Any:
    """Return the row of a cart."""
    (row,) = await line.rows(carts, carts.c.source_cart_id == cart_id)
    return row


async def store_row(line: Line) -> Any:
    """Return the row of the line's own store."""
    (row,) = await line.rows(integrations, integrations.c.id == line.integration)
    return row


async def outbox(line: Line) -> list[Any]:
    """Return the deliveries, oldest first."""
    return sorted(await line.rows(deliveries), key=lambda row: row.id)


async def verdicts(line: Line) -> dict[str, tuple[str, str | None]]:
    """Return (verdict, rule) of each decision by the store's id of its cart; of the newest episode."""
    names = {row.id: row.source_cart_id for row in await line.rows(carts)}
    rows = sorted(await line.rows(delivery_carts), key=lambda row: row.episode)
    return {names[row.cart_id]: (row.verdict, row.rule) for row in rows}


def messages(line: Line, hook: str = "p") -> int:
    """Return how many messages arrived at the partner, repeated ones counted."""
    raw: int = line.partner.hook(hook).counts["messages"]
    return raw
