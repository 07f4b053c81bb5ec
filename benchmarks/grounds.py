"""What measurements stand on: throw-away databases, companies with stores and partners in them, real worker processes.

Everything here is made by one process and worked on by others: the product's own command, and simulated servers.
"""

from __future__ import annotations

import base64
import itertools
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import insert

from backend.clock import Clock
from backend.config import Settings
from backend.db import Database, upgrade_database
from backend.domain.signing import make_secret
from backend.models import companies, company_agents, destinations, integrations
from backend.outbound import Outbound, OutboundPolicy
from backend.services.keyring import Keyring
from benchmarks.meter import cpu_of, peak_mb_of
from benchmarks.servers import ROOT, die_with_parent
from tests.databases import PostgresServer, copy_sqlite, running_postgres
from tests.worlds import World

START_LIMIT, END_LIMIT = 60.0, 30.0  # seconds
AT_ONCE = 5_000  # rows in one insert
NEVER = timedelta(days=3650)


@dataclass(frozen=True, slots=True)
class Store:
    """One integration. `every` is its own poll period; None takes the polling interval."""

    id: str
    base_url: str
    token: str
    platform: str = "custom"
    status: str = "active"
    every: int | None = None
    due_at: datetime | None = None  # now
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Company:
    """A company with one agent, one destination at `hook`, and stores. Its id is also its agent's and destination's."""

    id: str
    hook: str
    stores: Sequence[Store]
    threshold_minutes: int = 1
    carts_per_payload: int = 100


@dataclass(slots=True)
class Ground:
    """Databases of one session. All share one master key and one signing secret."""

    server: PostgresServer
    folder: Path
    postgresql: str = ""
    sqlite: Path = Path()
    master_key: str = field(default_factory=lambda: base64.b64encode(os.urandom(32)).decode())
    secret: str = field(default_factory=make_secret)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        self.postgresql, self.sqlite = self.server.create(), self.folder / "template.db"
        upgrade_database(self.server.url(self.postgresql))
        upgrade_database(f"sqlite+aiosqlite:///{self.sqlite}")

    @property
    def postgresql_version(self) -> str:
        """The server's version."""
        return self.server.execute("SHOW server_version").split()[0]

    @contextmanager
    def database(self, template: str | None = None) -> Iterator[str]:
        """Give the name of a new PostgreSQL database while the block lasts, a copy of `template` if one is named."""
        name = self.server.create(template or self.postgresql)
        try:
            yield name
        finally:
            self.server.drop(name)

    @contextmanager
    def url(self, kind: str) -> Iterator[str]:
        """Give the URL of a new migrated database of either kind while the block lasts."""
        if kind == "postgresql":
            with self.database() as name:
                yield self.server.url(name)
            return
        folder = self.folder / f"sqlite-{next(self._numbers)}"
        folder.mkdir()
        yield copy_sqlite(self.sqlite, folder / "carts.db")
        for file in folder.iterdir():
            file.unlink()

    def settings(self, url: str, **more: Any) -> dict[str, Any]:
        """Return the settings of a process that works on a database."""
        return {"database_url": url, "master_key": self.master_key, "outbound_allow_loopback": True, **more}

    @asynccontextmanager
    async def world(self, url: str) -> AsyncIterator[World]:
        """Open a database."""
        settings = Settings(_env_file=None, **self.settings(url))
        database, http = Database(settings), Outbound(OutboundPolicy(allow_loopback=True))
        try:
            yield World(settings, database, Keyring(base64.b64decode(self.master_key)), Clock(), http)
        finally:
            await http.aclose()
            await database.close()


@contextmanager
def ground() -> Iterator[Ground]:
    """Start a PostgreSQL server and migrate the templates; everything is gone afterwards."""
    with running_postgres() as server, tempfile.TemporaryDirectory(prefix="bench-") as folder:
        yield Ground(server, Path(folder))


# -- companies ------------------------------------------------------------------------------------------------------


async def populate(world: World, secret: str, made: Iterable[Company]) -> None:
    """Store companies with all that is theirs."""
    for company in made:
        await _add_company(world, secret, company)
        await add_stores(world, company.id, company.stores)


async def _add_company(world: World, secret: str, made: Company) -> None:
    now = world.clock.now()
    stamps = {"created_at": now, "updated_at": now}
    place = (made.id, "destinations", "secrets_sealed", made.id)
    async with world.database.transaction(made.id) as tx:
        await tx.execute(insert(companies).values(id=made.id, name=made.id, status="active", **stamps))
        sealed, version = await world.keyring.seal_json(tx, place, [secret], now)
        agent = {
            "name": "agent",
            "template_slug": world.settings.target_template_slug,
            "status": "active",
            "abandonment_threshold_minutes": made.threshold_minutes,
            "recovery_horizon_days": 30,
            "attribution_window_days": 7,
        }
        await tx.execute(insert(company_agents).values(company_id=made.id, id=made.id, **agent, **stamps))
        destination = {
            "agent_id": made.id,
            "name": "partner",
            "url": made.hook,
            "secrets_sealed": sealed,
            "secrets_version": version,
            "status": "active",
            "max_carts_per_payload": made.carts_per_payload,
            "include_uncontactable": False,
            "include_opted_out": False,
        }
        await tx.execute(insert(destinations).values(company_id=made.id, id=made.id, **destination, **stamps))


async def add_stores(world: World, company_id: str, stores: Sequence[Store]) -> None:
    """Connect stores to the agent of a company."""
    now = world.clock.now()
    for start in range(0, len(stores), AT_ONCE):
        async with world.database.transaction(company_id) as tx:
            rows = []
            for store in stores[start : start + AT_ONCE]:
                place = (company_id, "integrations", "credentials_sealed", store.id)
                named = {"access_token" if store.platform == "shopify" else "token": store.token}
                sealed, version = await world.keyring.seal_json(tx, place, named, now)
                rows.append(_store_row(company_id, store, now) | {"credentials_version": version})
                rows[-1]["credentials_sealed"] = sealed
            await tx.execute(insert(integrations), rows)


def _store_row(company_id: str, store: Store, now: datetime) -> dict[str, Any]:
    return {
        "company_id": company_id,
        "id": store.id,
        "agent_id": company_id,
        "name": store.id,
        "platform": store.platform,
        "store_id": store.id,
        "status": store.status,
        "settings": {"base_url": store.base_url, "allow_http": True, **store.settings},
        "poll_interval_seconds": store.every,
        "initial_lookback_days": 3,
        "next_poll_at": store.due_at or now,
        "created_at": now,
        "updated_at": now,
    }


# -- workers --------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Worker:
    """One process of the product's own command; `cpu` and `peak_mb` stand as they were when it ended."""

    process: subprocess.Popen[bytes]
    log: Path
    _cpu_at_start: float = 0.0

    def start_meter(self) -> None:
        """Count CPU time from now on."""
        self._cpu_at_start = cpu_of(self.process.pid)

    def cpu(self) -> float:
        """Return CPU seconds since `start_meter`."""
        return cpu_of(self.process.pid) - self._cpu_at_start

    def peak_mb(self) -> float:
        """Return the highest resident memory so far."""
        return peak_mb_of(self.process.pid)

    def end(self) -> int:
        """Ask it to end in order; return its exit code."""
        with suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(END_LIMIT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    def words(self) -> str:
        """Return the end of its log."""
        return self.log.read_text(errors="replace")[-3000:]


@contextmanager
def workers(where: Ground, database: str, count: int, interval: int, **settings: Any) -> Iterator[list[Worker]]:
    """Run workers on a PostgreSQL database while the block lasts. Raises `RuntimeError` when one ends by itself."""
    environment = _environment(where.settings(where.server.url(database), log_format="json", **settings))
    command = [sys.executable, "run_abandoned_cart_polling.py", "--interval", str(interval)]
    with ExitStack() as stack:
        started: list[Worker] = []
        for _ in range(count):
            log = where.folder / f"worker-{database}-{len(started)}.log"
            process = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                stderr=stack.enter_context(log.open("wb")), preexec_fn=die_with_parent,  # noqa: PLW1509  as there
            )  # fmt: skip
            started.append(Worker(process, log))
            stack.callback(started[-1].end)
        _wait_until_signed_in(where, database, started)
        yield started
        for worker in started:
            if worker.process.poll() is not None:
                raise RuntimeError(f"a worker ended with {worker.process.returncode}:\n{worker.words()}")


def _wait_until_signed_in(where: Ground, database: str, started: Sequence[Worker]) -> None:
    deadline = time.monotonic() + START_LIMIT
    while int(where.server.execute("SELECT count(*) FROM workers", database)) < len(started):
        ended = [worker for worker in started if worker.process.poll() is not None]
        if ended or time.monotonic() > deadline:
            raise RuntimeError(f"a worker did not start:\n{(ended or started)[0].words()}")
        time.sleep(0.2)


def _environment(settings: Mapping[str, Any]) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return kept | {name.upper(): str(value) for name, value in settings.items()}
