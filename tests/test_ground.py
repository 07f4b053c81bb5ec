"""The ground under the tests: the clean environment, the network guard and the throw-away databases."""

from __future__ import annotations

import asyncio
import os
import socket

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from tests import network_guard
from tests.conftest import KEPT, KEPT_PREFIXES
from tests.databases import PostgresServer


async def _rows(url: str, *statements: str) -> list[tuple[object, ...]]:
    """Run the statements in one transaction; return the rows of the last."""
    engine = create_async_engine(url)
    try:
        async with engine.begin() as connection:
            return await _last_rows(connection, statements)
    finally:
        await engine.dispose()


async def _last_rows(connection: AsyncConnection, statements: tuple[str, ...]) -> list[tuple[object, ...]]:
    for statement in statements[:-1]:
        await connection.execute(text(statement))
    return [tuple(row) for row in (await connection.execute(text(statements[-1]))).all()]


def test_no_variable_of_the_shell_reaches_a_test_unless_it_is_listed() -> None:
    strangers = {name for name in os.environ if name not in KEPT and not name.startswith(KEPT_PREFIXES)}
    assert strangers == set()


def test_a_connection_to_another_machine_is_refused() -> None:
    with socket.socket() as connection, pytest.raises(network_guard.OutsideNetworkError):
        connection.connect(("192.0.2.1", 80))
    assert network_guard.take_violations() == ["socket.connect to ('192.0.2.1', 80)"]


def test_a_datagram_to_another_machine_is_refused() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as connection, pytest.raises(network_guard.OutsideNetworkError):
        connection.sendto(b"hello", ("192.0.2.1", 53))
    assert len(network_guard.take_violations()) == 1


def test_the_look_up_of_an_outside_name_is_refused() -> None:
    with pytest.raises(network_guard.OutsideNetworkError):
        socket.getaddrinfo("shop.myshopify.com", 443)
    assert network_guard.take_violations() == ["look-up of shop.myshopify.com"]


def test_a_reserved_name_does_not_exist() -> None:
    with pytest.raises(socket.gaierror):
        socket.getaddrinfo("shop.example", 443)
    assert network_guard.take_violations() == []


async def test_the_guard_also_watches_asyncio() -> None:
    with pytest.raises(network_guard.OutsideNetworkError):
        await asyncio.open_connection("192.0.2.1", 80)
    assert len(network_guard.take_violations()) == 1


async def test_loopback_is_open() -> None:
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()


async def test_the_test_login_is_no_superuser_and_cannot_pass_row_level_security(
    postgres_server: PostgresServer,
) -> None:
    url = postgres_server.url(postgres_server.create())
    query = "SELECT rolsuper, rolbypassrls, rolcreaterole FROM pg_roles WHERE rolname = current_user"
    assert await _rows(url, query) == [(False, False, True)]


async def test_the_test_login_can_take_on_a_role_it_made_without_inheriting_it(postgres_server: PostgresServer) -> None:
    url = postgres_server.url(postgres_server.create())
    made = await _rows(
        url,
        "CREATE ROLE ground_role NOLOGIN",
        "GRANT ground_role TO CURRENT_USER WITH INHERIT FALSE, SET TRUE",
        "SET LOCAL ROLE ground_role",
        "SELECT current_user::text, pg_has_role('cart_owner', 'ground_role', 'USAGE')",
    )
    assert made == [("ground_role", False)]


async def test_a_copy_of_a_database_has_its_rows_and_goes_its_own_way(postgres_server: PostgresServer) -> None:
    template = postgres_server.create()
    await _rows(
        postgres_server.url(template), "CREATE TABLE things (id int)", "INSERT INTO things VALUES (1) RETURNING id"
    )
    copy = postgres_server.url(postgres_server.create(template=template))
    await _rows(copy, "INSERT INTO things VALUES (2) RETURNING id")
    assert await _rows(copy, "SELECT count(*) FROM things") == [(2,)]
    assert await _rows(postgres_server.url(template), "SELECT count(*) FROM things") == [(1,)]


def test_the_server_listens_on_no_port(postgres_server: PostgresServer) -> None:
    assert postgres_server.execute("SHOW listen_addresses") == ""


async def test_a_migrated_database_is_fresh_for_every_test(database_url: str) -> None:
    assert await _rows(database_url, "SELECT count(*) FROM companies") == [(0,)]


async def test_an_empty_database_has_no_tables(empty_database_url: str) -> None:
    listing = (
        "SELECT name FROM sqlite_master"
        if empty_database_url.startswith("sqlite")
        else "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
    )
    assert await _rows(empty_database_url, listing) == []
