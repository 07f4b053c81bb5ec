"""What `run_abandoned_cart_polling.py` does: the worker without the web server, or one cycle and its report."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import uvloop

from backend.config import Settings, load_settings
from backend.db import prepare_database
from backend.domain.acting import AS_COMMAND, acting_as
from backend.errors import SetupProblem
from backend.logs import set_up_logs
from backend.services.wiring import Services, build_services
from backend.worker import REFUSED, Worker, stop_on_signals
from scripts.configure import configure, read_file
from scripts.progress import (
    Display,
    beside,
    display,
    follow_beats,
    follow_once,
    latest_beats,
    on_terminal,
    report_lines,
)

INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class Order:
    """What was asked for on the command line."""

    interval: int | None = None
    once: bool = False
    as_json: bool = False
    demo: bool = False
    config: Path | None = None


def run(order: Order) -> int:
    """Carry the order out; return the exit code: 0 done, 1 something in the one cycle failed, 2 set-up at fault."""
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_run(order))
    except SetupProblem as problem:
        print(problem, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return INTERRUPTED


async def _run(order: Order) -> int:
    async with AsyncExitStack() as stack:
        shown = await stack.enter_async_context(display(as_json=order.as_json))
        if order.demo:
            services = await stack.enter_async_context(_demo_services())
        else:
            services = await stack.enter_async_context(_services(load_settings()))
        if order.config is not None:
            text = read_file(order.config)
            await configure(services, text, os.environ, str(order.config))
        if order.once:
            return await _once(services, shown, order)
        return await _until_signalled(services, shown, order)


@asynccontextmanager
async def _services(settings: Settings) -> AsyncIterator[Services]:
    quiet = on_terminal() and not settings.debug_mode and "log_level" not in settings.model_fields_set
    # On a terminal the progress line says what the usual log lines would.
    set_up_logs(settings.model_copy(update={"log_level": "warning"}) if quiet else settings)
    await prepare_database(settings)
    services = await build_services(settings)
    try:
        yield services
    finally:
        await services.aclose()


@asynccontextmanager
async def _demo_services() -> AsyncIterator[Services]:
    """Yield the services of a demo world whose shoppers go on shopping."""
    # Imported here: only the demo needs the simulated stores.
    from scripts.demo_world import TEMPLATE, demo_world  # noqa: PLC0415

    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cart-demo-")))
        world = await stack.enter_async_context(demo_world(folder))
        services = await stack.enter_async_context(_services(world.settings))
        stocked = world.shoppers.begin()
        await asyncio.gather(stocked, configure(services, world.configuration, world.credentials, str(TEMPLATE)))
        await stack.enter_async_context(beside(world.shoppers.go_on()))
        yield services


async def _once(services: Services, shown: Display, order: Order) -> int:
    async with beside(follow_once(services, shown)):
        with acting_as(AS_COMMAND):
            report = await services.poller.run_once("once")
    if order.as_json:
        print(json.dumps(report, ensure_ascii=False, indent=2), flush=True)
    else:
        for line in report_lines(report):
            print(line, flush=True)
    if (held := await services.hold.state()) is not None:
        print(f"deliveries are held: {held['reason']}. {held['what_to_do']}", file=sys.stderr, flush=True)
    return 0 if report["ok"] else 1


async def _until_signalled(services: Services, shown: Display, order: Order) -> int:
    """Run the loops until SIGINT or SIGTERM, then let work in flight end within the drain limit."""
    worker = Worker(services)
    if not worker.holds_the_loops():
        raise SetupProblem(REFUSED)
    with stop_on_signals() as stopped:
        earlier = [cycle["cycle_id"] for cycle in await latest_beats(services)]
        with acting_as(AS_COMMAND):  # not the loops, which are the service's own
            await services.poller.start(order.interval)
        async with worker.running():
            async with beside(follow_beats(services, shown, earlier)):
                await stopped.wait()
            shown.say("stopping: work in flight ends first")
    return 0
