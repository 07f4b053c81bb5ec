"""The engine and its transactions: one writer at a time on SQLite, a role and a company on PostgreSQL."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson
import structlog
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, Row, event, text
from sqlalchemy.engine.interfaces import DBAPIConnection, ExceptionContext
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from backend.config import ROOT, Settings, with_driver
from backend.errors import Conflict, SetupProblem, Unavailable

log = structlog.get_logger()

# What services pass on to stores; only stores and this file know what it is.
Transaction = AsyncConnection

SET_SCOPE = text("SELECT set_config('role', :role, true), set_config('app.company', :company, true)")
# Milliseconds. The last one frees the rows of a worker that was frozen in mid-transaction: no lease frees those.
PATIENCE = {"statement_timeout": "30000", "lock_timeout": "10000", "idle_in_transaction_session_timeout": "30000"}
TRANSACTION_LIMIT = (
    "SELECT set_config('transaction_timeout', '30s', false) "
    "WHERE current_setting('server_version_num')::int >= 170000"  # older ones do not know it
)
# Whether the login itself, before any SET ROLE, reaches across companies: by inheriting the worker's role, or by right.
LOGIN = text(
    "SELECT rolname AS name, rolsuper OR rolbypassrls AS passes_walls, "
    "rolsuper OR rolbypassrls OR coalesce(pg_has_role(rolname, (SELECT oid FROM pg_roles WHERE rolname = "
    "'cart_worker'), 'USAGE'), false) AS sees_all FROM pg_roles WHERE rolname = current_user"
)
# SQLSTATEs of faults that pass: the server stops, starts, is full, or ended this session or transaction.
PASSING = frozenset({"57P01", "57P02", "57P03", "53300", "25P03", "25P04", "40001", "40P01"})
SQLITE_BUSY = frozenset({5, 6})  # another connection has the lock, past all patience
REVISION = re.compile("[0-9]{4}")
CONNECTIONS = 16  # to PostgreSQL for work, of one process
KEPT_FREE = 2  # more, for leases and signs of life
APP_ROLE, WORKER_ROLE = "cart_app", "cart_worker"


def _dumps(value: Any) -> str:
    return orjson.dumps(value, default=str, option=orjson.OPT_UTC_Z).decode()


@dataclass(frozen=True, slots=True)
class _Access:
    """How a transaction begins: over which connections, with what right (None: SQLite has none), to write or not."""

    engine: AsyncEngine
    scope: dict[str, str] | None
    writes: bool


class Database:
    """Transactions of one process. Make one per event loop and close it."""

    def __init__(self, settings: Settings) -> None:
        self.is_sqlite = settings.is_sqlite
        self.engine = _engine(settings)
        # On PostgreSQL, what keeps leases alive does not queue for a connection behind the work they are for.
        self._kept_free = self.engine if self.is_sqlite else _postgres(settings, KEPT_FREE)
        # SQLite has one writer: waiting here in order beats its own busy loop.
        self._writer = asyncio.Lock()

    @asynccontextmanager
    async def transaction(self, company_id: str) -> AsyncIterator[AsyncConnection]:
        """Read and write as one company: PostgreSQL shows and takes that company's rows only."""
        if not company_id:
            raise ValueError("a transaction needs a company")
        async with self._begin(APP_ROLE, company_id, writes=True) as connection:
            yield connection

    @asynccontextmanager
    async def reading(self, company_id: str) -> AsyncIterator[AsyncConnection]:
        """Read as one company, without holding up SQLite's writer."""
        if not company_id:
            raise ValueError("a transaction needs a company")
        async with self._begin(APP_ROLE, company_id, writes=False) as connection:
            yield connection

    @asynccontextmanager
    async def work(self) -> AsyncIterator[AsyncConnection]:
        """Read and write across companies; for `store/work.py` and installation tables only."""
        async with self._begin(WORKER_ROLE, "", writes=True) as connection:
            yield connection

    @asynccontextmanager
    async def keeping(self) -> AsyncIterator[AsyncConnection]:
        """Do as `work`, over a connection that no other work can take: for leases and signs of life."""
        async with self._begin(WORKER_ROLE, "", writes=True, engine=self._kept_free) as connection:
            yield connection

    @asynccontextmanager
    async def overview(self) -> AsyncIterator[AsyncConnection]:
        """Read across companies, for callers whose grant covers all of them."""
        async with self._begin(WORKER_ROLE, "", writes=False) as connection:
            yield connection

    @asynccontextmanager
    async def seeing(self, only: frozenset[str] | None) -> AsyncIterator[AsyncConnection]:
        """Read what a caller may see: the companies in `only`, or all where it is None.

        Of one company it reads as that company, so that PostgreSQL shows no other. Of several it reads across
        companies: there the stores' own conditions are the wall, and every store that is used here has them.
        """
        one = next(iter(only)) if only is not None and len(only) == 1 else None
        async with self.overview() if one is None else self.reading(one) as connection:
            yield connection

    @asynccontextmanager
    async def _begin(
        self, role: str, company_id: str, *, writes: bool, engine: AsyncEngine | None = None
    ) -> AsyncIterator[AsyncConnection]:
        scope = None if self.is_sqlite else {"role": role, "company": company_id}
        with faults_told():
            async with AsyncExitStack() as stack:
                if self.is_sqlite and writes:
                    await stack.enter_async_context(self._writer)
                yield await self._opened(stack, _Access(engine or self.engine, scope, writes))

    async def _opened(self, stack: AsyncExitStack, access: _Access) -> AsyncConnection:
        """Begin a transaction on `stack`; once more when the connection turns out to be dead, as nothing was done yet.

        Cheaper than a question before each transaction whether its connection lives: that is a round trip each time.
        """
        try:
            try:
                return await self._open(stack, access)
            except DBAPIError as error:
                if self.is_sqlite or not is_passing(error):
                    raise
            return await self._open(stack, access)
        except OSError as error:
            raise Unavailable("the database does not answer") from error
        except PoolTimeout as error:
            raise Unavailable("no connection to the database became free in time") from error
        except DBAPIError as error:
            if not is_passing(error) and not isinstance(error, OperationalError | InterfaceError):
                raise
            raise Unavailable("the database does not answer") from error

    async def _open(self, stack: AsyncExitStack, access: _Access) -> AsyncConnection:
        async with AsyncExitStack() as opening:
            connection = await opening.enter_async_context(access.engine.connect())
            if self.is_sqlite:
                await connection.execution_options(begin_immediate=access.writes)
            await opening.enter_async_context(connection.begin())
            if access.scope is not None:
                await connection.execute(SET_SCOPE, access.scope)
            await stack.enter_async_context(opening.pop_all())
        return connection

    async def server_time(self) -> datetime:
        """Return the database's own time, aware UTC; the process's on SQLite, which has no other."""
        if self.is_sqlite:
            return datetime.now(UTC)
        async with self.overview() as connection:
            found: datetime = (await connection.execute(text("SELECT clock_timestamp()"))).scalar_one()
            return found.astimezone(UTC)

    async def close(self) -> None:
        """Close every connection."""
        await self.engine.dispose()
        await self._kept_free.dispose()


@contextmanager
def faults_told() -> Iterator[None]:
    """Turn what goes wrong in a transaction into words: `Conflict`, `Unavailable`; our own bugs stay as they are."""
    try:
        yield
    except IntegrityError as error:
        raise _as_conflict(error) from error
    except DBAPIError as error:
        if not is_passing(error):
            raise
        raise Unavailable("the database ended the transaction; try again") from error
    except ConnectionError as error:  # no other connection is waited for while a transaction is open
        raise Unavailable("the connection to the database broke; try again") from error


def is_passing(error: DBAPIError) -> bool:
    """Whether the same transaction may succeed when it is begun anew: no fault of its statements."""
    state = str(getattr(error.orig, "sqlstate", None) or "")
    busy = (getattr(error.orig, "sqlite_errorcode", None) or 0) & 0xFF in SQLITE_BUSY
    return error.connection_invalidated or state in PASSING or state.startswith("08") or busy


def _as_conflict(error: IntegrityError) -> Exception:
    """Turn a broken unique rule into `Conflict`; anything else is our bug and stays as it is."""
    words = str(error.orig).lower()
    if "unique" in words or "duplicate key" in words:
        return Conflict("something with the same name or key is already there", remedy="choose another name")
    return error


def _engine(settings: Settings) -> AsyncEngine:
    if not settings.is_sqlite:
        return _postgres(settings, CONNECTIONS)
    settings.sqlite_path.parent.mkdir(parents=True, exist_ok=True)
    engine = create_async_engine(
        settings.async_database_url,
        json_serializer=_dumps,
        json_deserializer=orjson.loads,
        pool_size=5,
        hide_parameters=True,
    )
    event.listen(engine.sync_engine, "connect", set_up_sqlite)
    event.listen(engine.sync_engine, "begin", begin_sqlite)
    return engine


def _postgres(settings: Settings, connections: int) -> AsyncEngine:
    """Return an engine with so many connections at most. Each stays open: with it go the statements it has prepared."""
    engine = create_async_engine(
        settings.async_database_url,
        json_serializer=_dumps,
        json_deserializer=orjson.loads,
        pool_size=connections,
        max_overflow=0,
        hide_parameters=True,  # a traceback shows the statement, not whom it is about
        connect_args={"server_settings": PATIENCE},
    )
    event.listen(engine.sync_engine, "connect", _set_up_postgres)
    event.listen(engine.sync_engine, "handle_error", _without_rows)
    return engine


def _without_rows(context: ExceptionContext) -> None:
    """Take out of the server's error what it quotes: the row that broke a rule, with all that it says of a person."""
    cause = context.original_exception.__cause__
    if getattr(cause, "detail", None):
        vars(cause)["detail"] = None


def _set_up_postgres(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    """End a transaction whose process froze between two parts of a statement, which the other limits do not see."""
    cursor = connection.cursor()
    cursor.execute(TRANSACTION_LIMIT)
    cursor.close()
    connection.commit()


def set_up_sqlite(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    """Prepare a new connection: write-ahead log, patience with another writer, foreign keys."""
    connection.isolation_level = None  # we say BEGIN ourselves
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "busy_timeout=15000", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def begin_sqlite(connection: Connection) -> None:
    """Begin a transaction, taking the one writer's place at once unless it only reads."""
    immediate = connection.get_execution_options().get("begin_immediate", True)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


def alembic_config(url: str) -> Config:
    """Return Alembic's configuration for the database at `url` (any accepted form)."""
    config = Config(str(ROOT / "alembic.ini"))
    config.set_main_option("script_location", str(ROOT / "migrations"))
    config.attributes["url"] = with_driver(url)
    return config


def upgrade_database(url: str) -> None:
    """Bring the database at `url` up to the newest schema. Runs its own event loop: call it outside of one."""
    command.upgrade(alembic_config(url), "head")


async def prepare_database(settings: Settings) -> None:
    """Bring SQLite (or PostgreSQL with AUTO_MIGRATE) up to date; else refuse an older schema with the command to run.

    A newer schema than this version knows is left alone and worked on, as migrations only add what older code can do
    without: that is a rolling upgrade. Raises `SetupProblem` when the database cannot be reached, is older, is of some
    other product, or would show companies to each other.
    """
    newest = ScriptDirectory.from_config(alembic_config(settings.async_database_url)).get_current_head() or ""
    if settings.is_sqlite:
        _make_file(settings)
    found, login = await _looked_at(settings)
    if is_newer(found, newest):
        log.warning("database.newer", revision=found, known=newest, words="an older version runs beside a newer one")
    elif settings.is_sqlite or settings.auto_migrate:
        await _upgrade(settings)
        _found, login = await _looked_at(settings)  # the first migration may have made the roles
    elif found != newest:
        raise SetupProblem(
            f"the database is at revision {found or 'none'}, this version needs {newest}: "
            "run `make migrate`, or set AUTO_MIGRATE=true"
        )
    if login is not None and login.sees_all and (not login.passes_walls or settings.env == "production"):
        raise SetupProblem(
            f"the login {login.name} sees every company's rows without taking on a role; "
            "use one that is no superuser, has no BYPASSRLS and, before PostgreSQL 16, is NOINHERIT"
        )


def is_newer(found: str | None, newest: str) -> bool:
    """Whether the revision found was made by a later version of this product: its revisions count up in four digits."""
    return found is not None and REVISION.fullmatch(found) is not None and found > newest


def _make_file(settings: Settings) -> None:
    try:
        settings.sqlite_path.parent.mkdir(parents=True, exist_ok=True)
        settings.sqlite_path.touch(mode=0o600)  # shoppers' addresses are in it
    except OSError as error:
        raise SetupProblem(f"the database cannot be brought up to date: {_in_words(error)}") from error


async def _upgrade(settings: Settings) -> None:
    try:
        await asyncio.to_thread(upgrade_database, settings.async_database_url)
    except (OSError, DBAPIError) as error:
        raise SetupProblem(f"the database cannot be brought up to date: {_in_words(error)}") from error
    except CommandError as error:
        raise SetupProblem(f"the database is of another version of this product: {error}") from error


async def _looked_at(settings: Settings) -> tuple[str | None, Row[Any] | None]:
    """Return the revision found and, on PostgreSQL, what the login may see."""
    engine = create_async_engine(settings.async_database_url, hide_parameters=True)
    try:
        async with engine.connect() as connection:
            found = await connection.run_sync(lambda sync: MigrationContext.configure(sync).get_current_revision())
            return found, None if settings.is_sqlite else (await connection.execute(LOGIN)).one()
    except (OSError, DBAPIError) as error:
        wanted = "brought up to date" if settings.is_sqlite or settings.auto_migrate else "reached"
        raise SetupProblem(f"the database cannot be {wanted}: {_in_words(error)}") from error
    finally:
        await engine.dispose()


def _in_words(error: OSError | DBAPIError) -> str:
    """Return the driver's own first line: no statement, and no URL, which may hold a password."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    lines = str(cause).strip().splitlines()
    return lines[0] if lines else type(error).__name__
