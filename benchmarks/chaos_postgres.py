"""PostgreSQL for the chaos runs: the tests' own server, set so that it survives its own sudden end, and that end."""

from __future__ import annotations

import asyncio
import itertools
import os
import pwd
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from backend.db import upgrade_database
from benchmarks.chaos_processes import die_with_parent
from tests.databases import SERVER_USER, PostgresServer, copy_sqlite, running_postgres

START_LIMIT = 60.0  # seconds
# Unlike in the tests, what was committed must outlive the server's sudden end.
SAFE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on", "max_connections": "300"}
END_ONE = """
SELECT pg_terminate_backend(pid) FROM (
    SELECT pid FROM pg_stat_activity
    WHERE datname = '{database}' AND usename = 'cart_owner' AND xact_start IS NOT NULL AND state <> 'idle'
    ORDER BY random() LIMIT 1
) AS picked
"""


class Postgres:
    """The server, which can be stopped at once and started again."""

    def __init__(self, server: PostgresServer) -> None:
        self.server = server
        self._command = [*map(str, _arguments(server)), *(part for each in SAFE.items() for part in _option(*each))]

    def stop_at_once(self) -> None:
        """End the server as `pg_ctl -m immediate` does: nothing is finished, nothing is written."""
        self.server.process.send_signal(signal.SIGQUIT)
        self.server.process.wait(START_LIMIT)

    def start(self) -> None:
        """Start it again, from the main thread: it dies with the thread that started it."""
        account = pwd.getpwnam(SERVER_USER) if os.geteuid() == 0 else None
        with (self.server.socket_dir / "server.log").open("ab") as log:
            self.server.process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env={"PATH": os.defpath},
                user=account.pw_uid if account else None,
                group=account.pw_gid if account else None,
                extra_groups=[] if account else None,
                preexec_fn=die_with_parent,  # noqa: PLW1509  one system call, which takes no lock
            )

    def wait(self) -> None:
        """Return when it answers. Raises `RuntimeError` when it does not."""
        deadline = time.monotonic() + START_LIMIT
        while time.monotonic() < deadline:
            try:
                self.server.execute("SELECT 1")
            except RuntimeError:
                time.sleep(0.02)
            else:
                return
        raise RuntimeError(f"PostgreSQL did not start again:\n{self._log()}")

    def terminate_one(self, database: str) -> bool:
        """End the connection of one process of the product that is in the middle of a transaction, if there is one."""
        return self.server.execute(END_ONE.format(database=database)) == "t"

    @property
    def version(self) -> str:
        """The server's version."""
        return self.server.execute("SHOW server_version").split()[0]

    def _log(self) -> str:
        return (self.server.socket_dir / "server.log").read_text(errors="replace")[-3000:]


class Databases:
    """Fresh migrated databases of both kinds."""

    def __init__(self, postgres: Postgres, folder: Path) -> None:
        self.postgres = postgres
        self.folder = folder
        self._numbers = itertools.count()
        self._postgresql = postgres.server.create()
        self._sqlite = folder / "template.db"
        upgrade_database(postgres.server.url(self._postgresql))
        upgrade_database(f"sqlite+aiosqlite:///{self._sqlite}")

    @asynccontextmanager
    async def fresh(self, kind: str) -> AsyncIterator[str]:
        """Give the URL of a new database while the block lasts."""
        if kind == "sqlite":
            yield await asyncio.to_thread(copy_sqlite, self._sqlite, self.new_folder() / "carts.db")
            return
        server = self.postgres.server
        name = await asyncio.to_thread(server.create, self._postgresql)
        try:
            yield server.url(name)
        finally:
            await asyncio.to_thread(server.drop, name)

    def new_folder(self) -> Path:
        """Return a new empty folder."""
        folder = self.folder / str(next(self._numbers))
        folder.mkdir()
        return folder


@contextmanager
def databases() -> Iterator[Databases]:
    """Start the server anew with safe settings and migrate the templates."""
    with running_postgres() as server, tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        postgres = Postgres(server)
        server.process.send_signal(signal.SIGINT)  # in order: so far nothing was safe
        server.process.wait(START_LIMIT)
        try:
            postgres.start()
            postgres.wait()
            yield Databases(postgres, Path(folder))
        finally:
            postgres.stop_at_once()


def _arguments(server: PostgresServer) -> list[str | Path]:
    """Return the command that started the server."""
    command = server.process.args
    assert isinstance(command, list)
    return command


def _option(name: str, value: str) -> tuple[str, str]:
    return "-c", f"{name}={value}"
