"""What every test stands on: a clean environment, no outside network, and a fresh migrated database where asked for."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import network_guard
from tests.databases import PostgresServer, copy_sqlite, running_postgres
from tests.worlds import world  # noqa: F401 (a fixture, found by its name here)

# What a test run may know of the shell that started it. A list of what stays, because any other name may be a
# setting of ours, today or tomorrow.
KEPT = frozenset(
    "PATH HOME USER LOGNAME SHELL LANG TMPDIR TZ CI VIRTUAL_ENV TERM COLUMNS LINES NO_COLOR FORCE_COLOR".split()
)
KEPT_PREFIXES = ("LC_", "PY_", "PYTHON", "PYTEST_", "COV_", "COVERAGE_", "HYPOTHESIS_", "CHAOS_")


def _clean_environment() -> None:
    for name in list(os.environ):
        if name not in KEPT and not name.startswith(KEPT_PREFIXES):
            del os.environ[name]


_clean_environment()
network_guard.install()


@pytest.fixture(autouse=True)
def no_outside_network() -> Iterator[None]:
    """Fail a test that tried to reach another machine, also when the attempt was swallowed."""
    network_guard.take_violations()
    yield
    refused = network_guard.take_violations()
    assert not refused, f"the test reached for another machine: {refused}"


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """Return this test process's own PostgreSQL server."""
    with running_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def migrated_postgresql(postgres_server: PostgresServer) -> str:
    """Return the name of a database that the migrations built; copy it, never change it."""
    database = postgres_server.create()
    _upgrade(postgres_server.url(database))
    return database


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a SQLite file that the migrations built; copy it, never change it."""
    path = tmp_path_factory.mktemp("migrated") / "template.db"
    _upgrade(f"sqlite+aiosqlite:///{path}")
    return path


@pytest.fixture
def postgresql_url(postgres_server: PostgresServer, migrated_postgresql: str) -> Iterator[str]:
    """Return the URL of a fresh migrated PostgreSQL database, seen as its owner, who is no superuser."""
    database = postgres_server.create(template=migrated_postgresql)
    yield postgres_server.url(database)
    postgres_server.drop(database)


@pytest.fixture
def sqlite_url(migrated_sqlite: Path, tmp_path: Path) -> Iterator[str]:
    """Return the URL of a fresh migrated SQLite database, alone in a folder of its own."""
    folder = tmp_path / "database"
    folder.mkdir()
    yield copy_sqlite(migrated_sqlite, folder / "cart_recovery.db")
    shutil.rmtree(folder)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """Return the URL of a fresh migrated database; the test runs once on each kind."""
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Return the URL of a database without any table; the test runs once on each kind."""
    if request.param == "sqlite":
        yield f"sqlite+aiosqlite:///{tmp_path / 'empty.db'}"
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    database = server.create()
    yield server.url(database)
    server.drop(database)


def _upgrade(url: str) -> None:
    """Migrate a database; imported here so that tests of pure rules start without SQLAlchemy."""
    from backend.db import upgrade_database  # noqa: PLC0415

    upgrade_database(url)
