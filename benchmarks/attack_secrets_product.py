"""The product's own processes under attack, their logs, and everything that their database holds."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.chaos_processes import end, start
from benchmarks.servers import ROOT
from tests.databases import PostgresServer

START_LIMIT = 60.0  # seconds
SERVER = ("-m", "uvicorn", "backend.main:app", "--port", "0", "--log-level", "debug")


@contextmanager
def web(folder: Path, environment: Mapping[str, str]) -> Iterator[str]:
    """Run the web app with its loops while the block lasts; yields its address. Raises `RuntimeError`."""
    log = folder / "web.log"
    process = start([sys.executable, *SERVER], log=log, environment=environment)
    try:
        yield _address(process, log)
    finally:
        end(process)


def _address(process: subprocess.Popen[str], log: Path) -> str:
    deadline = time.monotonic() + START_LIMIT
    while process.poll() is None and time.monotonic() < deadline:
        said = log.read_text(errors="replace")
        if "running on " in said:
            return said.partition("running on ")[2].split()[0].strip('",')
        time.sleep(0.1)
    raise RuntimeError(f"the web app did not start:\n{log.read_text(errors='replace')[-3000:]}")


def ran(folder: Path, name: str, arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run a command of the product to its end; what it wrote is in the folder. Returns its exit code."""
    log = folder / f"{name}.log"
    with log.open("wb") as output:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=ROOT, env={**os.environ, **environment}, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            timeout=120, check=False,
        )  # fmt: skip
    return done.returncode


@dataclass(frozen=True, slots=True)
class Tables:
    """The rows of a database as text, as a dump has them."""

    server: PostgresServer | None
    name: str  # of the database, or the path of its file

    def rows(self) -> Iterator[tuple[str, bytes]]:
        """Yield each column of each table under `table: <table>.<column>`."""
        yield from self._postgresql() if self.server else self._sqlite()

    def count(self, sql: str) -> int:
        """Return the one number that a question comes to."""
        if self.server is not None:
            return int(self.server.execute(sql, self.name))
        with closing(sqlite3.connect(f"file:{self.name}?mode=ro", uri=True)) as connection:
            return int(connection.execute(sql).fetchone()[0])

    def execute(self, sql: str) -> None:
        """Change the database as its owner."""
        if self.server is not None:
            self.server.execute(sql, self.name)
            return
        with closing(sqlite3.connect(self.name, timeout=30)) as connection, connection:
            connection.execute(sql)

    def _postgresql(self) -> Iterator[tuple[str, bytes]]:
        assert self.server is not None
        where = "FROM information_schema.columns WHERE table_schema = 'public'"
        listed = self.server.execute(f"SELECT table_name || ' ' || column_name {where}", self.name)
        for line in listed.splitlines():
            table, column = line.split()
            sql = f'SELECT "{column}" FROM "{table}" WHERE "{column}" IS NOT NULL'  # noqa: S608
            yield f"table: {table}.{column}", self.server.execute(sql, self.name).encode()
            if "bytea" in self.server.execute(f'SELECT pg_typeof("{column}") FROM "{table}" LIMIT 1', self.name):  # noqa: S608
                text = f'SELECT encode("{column}", \'escape\') FROM "{table}"'  # noqa: S608
                yield f"table: {table}.{column}", self.server.execute(text, self.name).encode()

    def _sqlite(self) -> Iterator[tuple[str, bytes]]:
        with closing(sqlite3.connect(f"file:{self.name}?mode=ro", uri=True)) as connection:
            tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            for table in tables:
                names = [row[1] for row in connection.execute(f'PRAGMA table_info("{table}")')]
                for column in names:
                    rows = connection.execute(f'SELECT "{column}" FROM "{table}"').fetchall()  # noqa: S608
                    values = (row[0] for row in rows if row[0] is not None)
                    said = [value if isinstance(value, bytes) else str(value).encode() for value in values]
                    yield f"table: {table}.{column}", b"\n".join(said)


def files(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the logs, and the bytes of the database's files; not the key file, which holds the master key."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix == ".log":
            yield f"log: {path.name}", path.read_bytes()
        elif path.is_file() and ".db" in path.name and path.suffix != ".key":
            yield f"file: {path.name}", path.read_bytes()
