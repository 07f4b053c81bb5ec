"""How the app begins and ends, told over the server's own protocol."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from fastapi import FastAPI
from starlette.types import Message

from backend.config import Settings
from backend.errors import SetupProblem
from backend.main import create_app

KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="  # no zeros: those are refused


async def lived(app: FastAPI) -> list[Message]:
    """Start and end an app as a server does; return what it said."""
    heard = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    said: list[Message] = []

    async def receive() -> Message:
        await asyncio.sleep(0)
        return heard.pop(0)

    async def send(message: Message) -> None:
        said.append(message)

    await app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, receive, send)
    return said


async def test_the_app_starts_with_an_empty_database_and_ends(tmp_path: Path) -> None:
    app = create_app(Settings(_env_file=None, database_url=f"sqlite:///{tmp_path}/carts.db"))
    assert [message["type"] for message in await lived(app)] == [
        "lifespan.startup.complete", "lifespan.shutdown.complete"
    ]  # fmt: skip


async def test_loops_run_only_where_they_are_wanted(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/carts.db"
    app = create_app(Settings(_env_file=None, database_url=url, run_loops=False))
    async with app.router.lifespan_context(app):
        assert (await app.state.services.poller.status())["workers"] == []
    app = create_app(Settings(_env_file=None, database_url=url))
    async with app.router.lifespan_context(app):
        (worker,) = (await app.state.services.poller.status())["workers"]
    assert (worker["role"], worker["runs_loops"]) == ("web", True)


async def test_a_start_that_fails_by_its_set_up_is_told_in_one_line(tmp_path: Path) -> None:
    url = f"postgresql://nobody@/x?host={tmp_path}"
    app = create_app(Settings(_env_file=None, database_url=url, master_key=KEY))
    said: list[Message] = []

    async def receive() -> Message:
        return {"type": "lifespan.startup"}

    async def send(message: Message) -> None:
        said.append(message)

    with pytest.raises(SetupProblem):
        await app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, receive, send)
    (told,) = said
    assert told["type"] == "lifespan.startup.failed"
    assert told["message"].startswith("the database cannot be reached")
    assert "\n" not in told["message"]


async def test_a_local_websocket_to_nowhere_is_closed(tmp_path: Path) -> None:
    app = create_app(Settings(_env_file=None, database_url=f"sqlite:///{tmp_path}/carts.db"))
    said: list[Message] = []

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        said.append(message)

    headers = [(b"host", b"localhost:8000")]
    await app(
        {"type": "websocket", "path": "/", "scheme": "ws", "client": ("127.0.0.1", 5), "headers": headers},
        receive,
        send,
    )
    assert said[0]["type"] == "websocket.close"
