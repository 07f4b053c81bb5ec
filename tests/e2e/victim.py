"""A worker process that is there to be stopped or killed.

It says `running` and works like any worker. When the named moment of the work comes for the nth time it says `reached`
and stops itself, all threads at once, right there: whoever started it kills it or lets it go on. Told `again` before it
goes on, it lets its other work move a little and stops at the same place once more.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import socket
import sys
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from backend.config import Settings
from backend.logs import set_up_logs
from backend.services.wiring import build_services
from backend.worker import Worker, stop_on_signals

DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG


@dataclass(frozen=True, slots=True)
class Orders:
    """What a process is told: its settings, and the moment at which to stop, if any.

    `is_web`: it is the web app, with the loops in it, and says its address after `running`.
    """

    settings: dict[str, Any]
    moment: str | None = None
    nth: int = 1
    is_web: bool = False


class Checkpoint:
    """Counts how often the moment came."""

    def __init__(self, orders: Orders, voice: Connection) -> None:
        self._name = orders.moment
        self._left = orders.nth
        self._voice = voice

    async def __call__(self, moment: str) -> None:
        """Stop the process when the moment has come so often."""
        if moment != self._name:
            return
        self._left -= 1
        if self._left == 0:
            self._stop()
            while self._voice.poll() and self._voice.recv() == "again":
                await asyncio.sleep(0.01)
                self._stop()

    def _stop(self) -> None:
        self._voice.send("reached")
        os.kill(os.getpid(), signal.SIGSTOP)


def main(orders: Orders, voice: Connection, log: str) -> None:
    """Be the process; `log` names the file that its log lines go to."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(DIE_WITH_PARENT, signal.SIGKILL)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(file, sys.stderr.fileno())
    asyncio.run(_serve(orders, voice) if orders.is_web else _work(orders, voice))


async def _work(orders: Orders, voice: Connection) -> None:
    """Run the loops until told to end."""
    settings = Settings(_env_file=None, **orders.settings)
    set_up_logs(settings)
    services = await build_services(settings, checkpoint=Checkpoint(orders, voice))
    try:
        with stop_on_signals() as stopped:
            async with Worker(services).running():
                voice.send("running")
                await stopped.wait()
    finally:
        await services.aclose()


async def _serve(orders: Orders, voice: Connection) -> None:
    """Be the web app, on a port that the system gives, until told to end."""
    # Imported here so that workers start without FastAPI.
    import uvicorn  # noqa: PLC0415

    from backend.main import create_app  # noqa: PLC0415

    app = create_app(Settings(_env_file=None, **orders.settings))
    config = uvicorn.Config(app, log_config=None)
    server = uvicorn.Server(config)
    with stop_on_signals() as stopped, socket.create_server(("127.0.0.1", 0)) as listener:
        config.load()
        server.lifespan = config.lifespan_class(config)
        await server.startup([listener])
        voice.send("running")
        voice.send(f"http://127.0.0.1:{listener.getsockname()[1]}")
        serving = asyncio.create_task(server.main_loop())
        await stopped.wait()
        server.should_exit = True
        await serving
        await server.shutdown([listener])
