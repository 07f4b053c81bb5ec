"""Starts a process by what it is there for: `python -m backend web`, `worker` or `all`."""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated

import typer
import uvloop

from backend.config import Settings, load_settings
from backend.errors import SetupProblem
from backend.logs import set_up_logs
from backend.main import serve
from backend.worker import Post, at_work, read_lanes, stop_on_signals

HELP = """Start a process of the service.

Settings come from the environment, .env.local and .env; .env.example lists them. On PostgreSQL start as many processes
as you like, on as many machines as you like: due work is claimed row by row, so nothing is done twice. On SQLite one
process runs the background loops.

Exit codes: 0 ended in order; 2 a setting, a file or the database is at fault, or another process already runs the
loops of this SQLite database.
"""

Lanes = Annotated[
    str,
    typer.Option(
        metavar="A,B",
        help="Work on these lanes only: polls (ask the stores), sweep (mark carts as abandoned), deliveries (hand off "
        "to partners). Left out: all three.",
    ),
]
Port = Annotated[int | None, typer.Option(min=1, max=65_535, help="Port to listen on. Left out: PORT, 8000 at first.")]

app = typer.Typer(
    help=HELP,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.command()
def web(port: Port = None) -> None:
    """Serve the API and the console, and do no background work."""
    serve(_settings(port, run_loops=False))


@app.command()
def worker(lanes: Lanes = "") -> None:
    """Do the background work without serving anything, until SIGINT or SIGTERM.

    Whether polling is wanted is set elsewhere (POST /polling/start, the console, run_abandoned_cart_polling.py) and
    obeyed within a second. Work in flight may end first, for DRAIN_SECONDS at most.
    """
    settings, post = load_settings(), Post(lanes=read_lanes(lanes))
    set_up_logs(settings)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_work(settings, post))


@app.command(name="all")
def both(lanes: Lanes = "", port: Port = None) -> None:
    """Serve the API and the console and do the background work, in one process."""
    serve(_settings(port, run_loops=True), read_lanes(lanes))


async def _work(settings: Settings, post: Post) -> None:
    with stop_on_signals() as stopped:
        async with at_work(settings, post):
            await stopped.wait()


def _settings(port: int | None, *, run_loops: bool) -> Settings:
    """Return the settings with what the command line says in their place."""
    given = {"run_loops": run_loops} | ({"port": port} if port is not None else {})
    return load_settings().model_copy(update=given)


if __name__ == "__main__":
    try:
        app(prog_name="python -m backend")
    except SetupProblem as problem:
        sys.stderr.write(f"error: {problem}\n")
        raise SystemExit(2) from None
