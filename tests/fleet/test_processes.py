"""Processes without Celery: web only, workers only, both; several of each on one database; and what is refused."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import httpx
import psutil
import pytest

from backend.config import ROOT
from backend.models import integrations, poll_cycles, workers
from tests.e2e.scene import Scene, until
from tests.fleet.commands import Command, Fleet, fleet_of

WITHOUT_CELERY = "import sys; sys.modules['celery'] = None; import backend.celery_app"
KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="  # no zeros: those are refused
RABBIT = """
import backend.celery_app
made = backend.celery_app.app
print(type(made.connection().transport).__module__, sorted(queue.name for queue in made.conf.task_queues))
"""


async def status(address: str) -> dict[str, object]:
    """Return what a web app says of polling."""
    async with httpx.AsyncClient(base_url=address, trust_env=False) as client:
        return dict((await client.get("/polling/status")).json())


def listens(command: Command) -> bool:
    """Whether a process listens anywhere."""
    found = psutil.Process(command.process.pid).net_connections(kind="inet")
    return any(each.status == psutil.CONN_LISTEN for each in found)


async def test_web_only_serves_and_polls_nothing(scene: Scene, plain: Fleet) -> None:
    _, address = await plain.web()
    said = await status(address)
    assert (said["running"], said["loops_here"], said["workers"]) == (True, False, [])
    assert (scene.store.requests, await scene.rows(workers)) == ([], [])


async def test_a_worker_only_works_and_serves_nothing(scene: Scene, plain: Fleet) -> None:
    worker = await plain.plain_worker()
    await scene.finished()
    assert not listens(worker)
    assert await worker.end() == 0


async def test_both_in_one_process_serve_and_work(scene: Scene, plain: Fleet) -> None:
    web, address = await plain.web("all")
    await scene.finished()
    assert ((await status(address))["loops_here"], listens(web)) == (True, True)


async def test_a_worker_of_some_lanes_leaves_the_others_alone(scene: Scene, plain: Fleet) -> None:
    await plain.plain_worker("--lanes", "sweep,deliveries")
    (row,) = await scene.rows(workers)
    assert (row.role, row.lanes, row.bell) == ("worker", "sweep,deliveries", "ticks")
    assert scene.store.requests == []


async def test_two_web_apps_and_two_workers_on_one_database_double_nothing(scene: Scene, plain: Fleet) -> None:
    (first, _), (second, _) = await asyncio.gather(plain.web("all"), plain.web("all"))
    await asyncio.gather(plain.plain_worker(), plain.plain_worker())
    assert len(await scene.rows(workers)) == 4
    await scene.finished()
    account = await scene.close_account()
    assert (account.lost, account.doubled, account.repeated, account.faults) == ([], [], 0, [])
    assert (first.process.returncode, second.process.returncode) == (None, None)


async def test_two_pollers_on_one_database_poll_each_store_once_a_beat(scene: Scene, plain: Fleet) -> None:
    await asyncio.gather(plain.plain_worker(), plain.plain_worker())
    await until(lambda: _has_polled(scene, 6))
    polled = [row.polls for row in await scene.rows(integrations)]
    beats = len(await scene.rows(poll_cycles, poll_cycles.c.kind == "beat"))
    assert max(polled) <= beats


async def _has_polled(scene: Scene, times: int) -> bool:
    return all(row.polls >= times for row in await scene.rows(integrations))


async def test_a_second_worker_on_sqlite_is_refused_and_told_what_to_set(tmp_path: Path, sqlite_url: str) -> None:
    environment = {"PATH": os.environ["PATH"], "DATABASE_URL": sqlite_url, "LOG_FORMAT": "json"}
    fleet = Fleet(tmp_path, environment)
    try:
        first = await fleet.plain_worker()
        code, said = await (await fleet.start("backend", "worker")).ended()
        assert await first.end() == 0
    finally:
        await fleet.aclose()
    assert (code, len(said.splitlines())) == (2, 1)
    assert "set DATABASE_URL to a PostgreSQL database" in said


def run(*arguments: str, **environment: str) -> tuple[int, list[str]]:
    """Run a command of this Python; return its exit code and the lines that it said."""
    given = {"PATH": os.environ["PATH"], **environment}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=given, capture_output=True, text=True, check=False, timeout=60
    )
    return done.returncode, (done.stdout + done.stderr).splitlines()


@pytest.mark.parametrize(
    ("arguments", "environment", "words"),
    [
        (("-m", "backend", "worker"), {"ENV": "production", "MASTER_KEY": KEY}, "production needs PostgreSQL"),
        (("-m", "backend", "web"), {"ENV": "production", "MASTER_KEY": KEY}, "production needs PostgreSQL"),
        (("-m", "backend", "all"), {"POLLING_INTERVAL": "1"}, "POLLING_INTERVAL"),
        (("-m", "backend", "worker", "--lanes", "polls,mails"), {}, "no lane is called mails: choose from polls"),
        (
            ("-m", "backend", "web"),
            {"DATABASE_URL": "postgresql://nobody@/x?host=/nowhere", "MASTER_KEY": KEY},
            "the database cannot be reached",
        ),
        (("-m", "celery", "-A", "backend.celery_app", "worker"), {}, "set REDIS_URL=redis://host:6379/0"),
        (("-m", "celery", "-A", "app.celery", "beat"), {}, "CELERY_BROKER_URL=amqp://host for RabbitMQ"),
        (
            ("-m", "celery", "-A", "app.celery", "worker", "-Q", "polls,mails"),
            {"REDIS_URL": "redis://127.0.0.1:1/0"},
            "-Q: no lane is called 'mails': choose from polls",
        ),
        (("-c", WITHOUT_CELERY), {}, "pip install 'cart-recovery[fleet]'"),
    ],
    ids=["worker", "web", "all", "lanes", "database", "no broker", "no broker for beat", "queues", "no package"],
)
def test_what_cannot_be_started_ends_with_one_line_and_code_2(
    arguments: tuple[str, ...], environment: dict[str, str], words: str
) -> None:
    code, said = run(*arguments, **environment)
    assert (code, len(said)) == (2, 1), said
    assert words in said[0]


def test_celery_speaks_to_rabbitmq_by_url() -> None:
    code, said = run("-c", RABBIT, CELERY_BROKER_URL="amqp://carts:secret@mq.example.com:5672/carts")
    assert (code, said) == (0, ["kombu.transport.pyamqp ['deliveries', 'polls', 'sweep']"])


async def test_a_celery_worker_in_other_processes_than_threads_is_refused(tmp_path: Path, scene: Scene) -> None:
    async with fleet_of(scene, tmp_path, REDIS_URL="redis://127.0.0.1:1/0") as fleet:
        code, said = await (await fleet.start("celery", "-A", "app.celery", "worker", "-P", "solo")).ended()
    assert (code, said.splitlines()[-1]) == (2, "error: this worker runs in threads: leave out -P, or give -P threads")
