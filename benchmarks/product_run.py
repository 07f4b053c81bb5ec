"""The product's own runs on a prepared database, in a process of their own: one whole cycle, or beats of polling.

What is asked is read from standard input as JSON: `job`, `settings` (of the product), for `beats` also how many, and
`profile`, a file, if a profile is wanted. What was measured is printed as JSON.
"""

from __future__ import annotations

import asyncio
import cProfile
import json
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import uvloop
from sqlalchemy import func, select

from backend.clock import Clock
from backend.config import Settings
from backend.logs import set_up_logs
from backend.models import integrations
from backend.services.wiring import Services, build_services
from backend.worker import quiet_collector
from benchmarks.meter import Meter

INTERVAL = 30  # seconds between beats; the clock is moved, nobody waits


class HurriedClock(Clock):
    """The real time, moved ahead by hand."""

    def __init__(self) -> None:
        super().__init__()
        self._ahead = timedelta(0)

    def now(self) -> datetime:
        """Return the real time and what it was moved by."""
        return super().now() + self._ahead

    def hurry(self, by: timedelta) -> None:
        """Go ahead."""
        self._ahead += by


async def once(services: Services) -> dict[str, Any]:
    """Measure one whole cycle: poll every store, sweep, deliver."""
    meter = Meter()
    report = await services.poller.run_once("once")
    figures: dict[str, Any] = dict(meter.read())
    figures["report"] = {name: report[name] for name in ("carts_new", "deliveries_succeeded", "ok", "timings_ms")}
    return figures


async def beats(services: Services, clock: HurriedClock, count: int) -> dict[str, Any]:
    """Measure beats in which every store is due; a first one, which opens connections and keys, is not counted."""
    await services.poller.start(INTERVAL)
    await services.poller.ring("polls")
    before, meter = await _polls(services), Meter()
    for _ in range(count):
        clock.hurry(timedelta(seconds=INTERVAL))
        await services.poller.ring("polls")
    figures: dict[str, Any] = dict(meter.read())
    return {**figures, "polls": await _polls(services) - before}


async def _polls(services: Services) -> int:
    async with services.database.overview() as tx:
        return int((await tx.execute(select(func.sum(integrations.c.polls)))).scalar_one())


async def main(ask: dict[str, Any]) -> dict[str, Any]:
    """Do what is asked."""
    settings, clock = Settings(_env_file=None, **ask["settings"]), HurriedClock()
    set_up_logs(settings)
    services = await build_services(settings, clock=clock)
    quiet_collector()
    try:
        return await (once(services) if ask["job"] == "once" else beats(services, clock, int(ask["beats"])))
    finally:
        await services.aclose()


if __name__ == "__main__":
    asked = json.load(sys.stdin)
    if asked.get("profile"):
        profile = cProfile.Profile()
        result = profile.runcall(lambda: asyncio.run(main(asked)))
        profile.dump_stats(Path(asked["profile"]))
    else:
        result = uvloop.run(main(asked))
    sys.stdout.write(json.dumps(result) + "\n")
