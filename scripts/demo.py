"""The main job in one command: simulated stores and a partner, the web app that polls the ones for the other.

`make run` calls this. What the web app runs is `uvicorn backend.main:app`, as in production; only the stores and the
partner are simulated, each as a process of its own.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated

import aiohttp
import typer

from backend.db import prepare_database
from backend.errors import SetupProblem
from backend.services.wiring import build_services
from backend.worker import stop_on_signals
from scripts.configure import configure
from scripts.demo_screen import Screen, screen
from scripts.demo_watch import PartnerWatch, figures
from scripts.demo_world import FOLDER, INTERVAL, TEMPLATE, DemoWorld, demo_world
from scripts.progress import beside

HOST = "127.0.0.1"
START_LIMIT = 60.0  # seconds
LOOK_EVERY = 0.5


@dataclass(frozen=True, slots=True)
class Demo:
    """A demo that runs. `began` is monotonic time."""

    world: DemoWorld
    url: str
    shown: Screen
    began: float = field(default_factory=time.monotonic)


def main(
    port: Annotated[int, typer.Option(min=1, max=65_535, help="Port of the console and the API.")] = 8000,
    folder: Annotated[Path, typer.Option(help="Where the demo's database and log lie.")] = FOLDER,
    keep: Annotated[bool, typer.Option("--keep", help="Go on with the database of the last demo.")] = False,
) -> None:
    """Run the main job on simulated stores, with its console, until Ctrl-C."""
    try:
        refuse_busy(port)
        make_folder(folder)
        asyncio.run(run(port, folder.resolve(), keep=keep))
    except SetupProblem as problem:
        print(problem, file=sys.stderr)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def refuse_busy(port: int) -> None:
    """Raise `SetupProblem` when the port is taken or not ours to take."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            what = "in use by another program" if error.errno == errno.EADDRINUSE else "not allowed here"
            raise SetupProblem(f"port {port} is {what}: choose another one, for example make run PORT=8010") from error


def make_folder(folder: Path) -> None:
    """Make the folder unless it is there. Raises `SetupProblem`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SetupProblem(f"--folder {folder}: {error.strerror}") from error


async def run(port: int, folder: Path, *, keep: bool) -> None:
    """Run the demo until SIGINT or SIGTERM. Raises `SetupProblem` when a part of it does not start, or ends."""
    with stop_on_signals() as stopped:
        work = asyncio.ensure_future(_run(port, folder, keep=keep))
        waiting = asyncio.ensure_future(stopped.wait())
        await asyncio.wait({work, waiting}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        work.cancel()
        await asyncio.wait({work})
        if not work.cancelled():
            work.result()


async def _run(port: int, folder: Path, *, keep: bool) -> None:
    url = f"http://localhost:{port}"
    settings = {"port": port, "app_url": url}
    async with AsyncExitStack() as stack:
        shown = stack.enter_context(screen())
        shown.say("starting four simulated servers, the database and the web app ...")
        stack.push(partial(_say_ended, shown))
        world = await stack.enter_async_context(demo_world(folder, keep=keep, **settings))
        stack.callback(shown.say, "ending: deliveries in flight first, then every process of the demo")
        demo = Demo(world, url, shown)
        await prepare_database(world.settings)
        await stack.enter_async_context(_web(demo, port))
        await stack.enter_async_context(beside(world.shoppers.go_on()))
        await _call(demo, f"/polling/start?interval={INTERVAL}", method="POST")
        await _show(demo)


def _say_ended(shown: Screen, _kind: object, error: BaseException | None, _trace: object) -> None:
    """Say that all is over, unless a reason follows, which is then the last word."""
    if not isinstance(error, SetupProblem):
        shown.say("ended")


@asynccontextmanager
async def _web(demo: Demo, port: int) -> AsyncIterator[None]:
    """Start the web app, and meanwhile stock the stores and apply the configuration."""
    world = demo.world
    command = ["uvicorn", "backend.main:app", "--host", HOST, "--port", str(port), "--timeout-graceful-shutdown", "3"]
    await world.children.start("web app", *command, environment=world.process_environment)
    await asyncio.gather(world.shoppers.begin(), _configure(world))
    await _wait_until_ready(demo)
    yield


async def _configure(world: DemoWorld) -> None:
    services = await build_services(world.settings)
    try:
        await configure(services, world.configuration, world.credentials, str(TEMPLATE))
    finally:
        await services.aclose()


async def _wait_until_ready(demo: Demo) -> None:
    deadline = time.monotonic() + START_LIMIT
    while time.monotonic() < deadline:
        _refuse_ended(demo)
        try:
            await _call(demo, "/api/health")
        except aiohttp.ClientError:
            await asyncio.sleep(0.1)
        else:
            return
    raise SetupProblem(f"the web app did not answer; {demo.world.children.last_words()}")


async def _call(demo: Demo, path: str, method: str = "GET") -> dict[str, object]:
    async with demo.world.http.request(method, demo.url + path) as answer:
        answer.raise_for_status()
        found: dict[str, object] = await answer.json()
        return found


def _refuse_ended(demo: Demo) -> None:
    ended = demo.world.children.ended()
    if ended is not None:
        raise SetupProblem(ended)


async def _show(demo: Demo) -> None:
    """Tell of the first delivered carts, then keep the summary up to date, for ever."""
    partner = PartnerWatch(demo.world.partner)
    is_first, is_patient = True, True
    while True:
        _refuse_ended(demo)
        for line in await partner.news():
            demo.shown.happened(line)
        took = time.monotonic() - demo.began
        if is_first and partner.carts:
            is_first = False
            demo.shown.introduce(demo.url, took)
        if is_first and is_patient and took > START_LIMIT:
            is_patient = False
            demo.shown.say(f"nothing was delivered in {took:.0f} s; {demo.world.children.last_words()}")
        await _sum_up(demo, partner)
        await asyncio.sleep(LOOK_EVERY)


async def _sum_up(demo: Demo, partner: PartnerWatch) -> None:
    try:
        demo.shown.update(figures(await _call(demo, "/polling/status"), partner))
    except (aiohttp.ClientError, TimeoutError) as error:  # busy, or on its way down: the next round tells
        demo.shown.say(f"no status: {type(error).__name__}")


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.command()(main)
    sys.exit(app(prog_name="python -m scripts.demo"))
