"""DATABASE_URL over TLS: a real handshake at a door that ends it before a real PostgreSQL, which has none here."""

from __future__ import annotations

import asyncio
import ssl
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import text

from backend.config import Settings
from backend.db import Database, prepare_database
from backend.errors import SetupProblem, Unavailable
from tests.databases import OWNER, PostgresServer
from tests.outbound.test_tls import self_signed, server_context, soon

SSL_REQUEST = struct.pack(">ii", 8, 80877103)


class Door:
    """Ends TLS as PostgreSQL begins it, and passes on what comes to the server's socket; or refuses TLS."""

    def __init__(self, socket: Path, context: ssl.SSLContext | None) -> None:
        self._socket = socket
        self._context = context
        self.versions: list[str | None] = []  # of TLS, None for a connection in clear
        self.port = 0

    async def meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        first = await reader.readexactly(8)
        while first == SSL_REQUEST:
            writer.write(b"S" if self._context else b"N")
            await writer.drain()
            if self._context is not None:
                await writer.start_tls(self._context)
            first = await reader.readexactly(8)
        sealed = writer.get_extra_info("ssl_object")
        self.versions.append(sealed.version() if sealed else None)
        there_reader, there = await asyncio.open_unix_connection(self._socket)
        there.write(first)
        await asyncio.gather(_pass_on(reader, there), _pass_on(there_reader, writer))

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection to its end, whichever side ends it."""
        try:
            await self.meet(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            pass  # a client that does not trust us ends the handshake
        finally:
            writer.close()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


@asynccontextmanager
async def door(server: PostgresServer, context: ssl.SSLContext | None) -> AsyncIterator[Door]:
    """Open a door before the server on a port that the system gives."""
    made = Door(server.socket_dir / ".s.PGSQL.5432", context)
    listening = await asyncio.start_server(made, "127.0.0.1", 0)
    made.port = listening.sockets[0].getsockname()[1]
    async with listening:
        yield made


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file with a key and a certificate for `localhost` that signs itself."""
    return self_signed(tmp_path_factory.mktemp("tls") / "server.pem", soon(), "localhost")


def settings(url: str, port: int, query: str, host: str = "localhost") -> Settings:
    """Return settings whose plain URL leads to the door, to the database of `url`."""
    database = url.partition("?")[0].rpartition("/")[2]
    return Settings(_env_file=None, database_url=f"postgresql://{OWNER}@{host}:{port}/{database}?{query}")


async def asked(found: Settings) -> int:
    """Return the answer to a question over this connection."""
    database = Database(found)
    try:
        async with database.overview() as tx:
            return int((await tx.execute(text("SELECT 7"))).scalar_one())
    finally:
        await database.close()


async def test_required_tls_is_spoken(postgres_server: PostgresServer, postgresql_url: str, certificate: Path) -> None:
    async with door(postgres_server, server_context(certificate)) as opened:
        assert await asked(settings(postgresql_url, opened.port, "sslmode=require")) == 7
    assert opened.versions == ["TLSv1.3"]


async def test_a_server_without_tls_is_refused_where_it_is_required(
    postgres_server: PostgresServer, postgresql_url: str
) -> None:
    async with door(postgres_server, None) as opened:
        with pytest.raises(Unavailable):
            await asked(settings(postgresql_url, opened.port, "sslmode=require"))
    assert opened.versions == []


async def test_the_certificate_is_checked_in_full(
    postgres_server: PostgresServer, postgresql_url: str, certificate: Path
) -> None:
    async with door(postgres_server, server_context(certificate)) as opened:
        query = f"sslmode=verify-full&sslrootcert={certificate}"
        assert await asked(settings(postgresql_url, opened.port, query)) == 7


async def test_a_certificate_of_another_name_is_refused(
    postgres_server: PostgresServer, postgresql_url: str, certificate: Path
) -> None:
    async with door(postgres_server, server_context(certificate)) as opened:
        query = f"sslmode=verify-full&sslrootcert={certificate}"
        with pytest.raises(Unavailable):
            await asked(settings(postgresql_url, opened.port, query, host="127.0.0.1"))


async def test_a_certificate_that_nobody_vouches_for_is_refused(
    postgres_server: PostgresServer, postgresql_url: str, certificate: Path, tmp_path: Path
) -> None:
    other = self_signed(tmp_path / "other.pem", soon(), "localhost")
    async with door(postgres_server, server_context(certificate)) as opened:
        with pytest.raises(Unavailable):
            await asked(settings(postgresql_url, opened.port, f"sslmode=verify-full&sslrootcert={other}"))


async def test_an_older_version_than_demanded_is_refused(
    postgres_server: PostgresServer, postgresql_url: str, certificate: Path
) -> None:
    async with door(postgres_server, server_context(certificate, ssl.TLSVersion.TLSv1_2)) as opened:
        with pytest.raises(Unavailable):
            await asked(settings(postgresql_url, opened.port, "sslmode=require&ssl_min_protocol_version=TLSv1.3"))
        assert await asked(settings(postgresql_url, opened.port, "sslmode=require")) == 7
    assert opened.versions == ["TLSv1.2"]


async def test_a_start_says_that_the_database_cannot_be_reached(
    postgres_server: PostgresServer, postgresql_url: str
) -> None:
    async with door(postgres_server, None) as opened:
        with pytest.raises(SetupProblem, match=r"the database cannot be reached: .*SSL"):
            await prepare_database(settings(postgresql_url, opened.port, "sslmode=require"))


async def test_the_schema_is_made_over_tls(postgres_server: PostgresServer, certificate: Path) -> None:
    name = postgres_server.create()
    try:
        async with door(postgres_server, server_context(certificate)) as opened:
            found = settings(postgres_server.url(name), opened.port, "sslmode=require")
            await prepare_database(found.model_copy(update={"auto_migrate": True}))
            assert await asked(found) == 7
        assert set(opened.versions) == {"TLSv1.3"}
    finally:
        postgres_server.drop(name)
