"""What libpq's words for TLS become for asyncpg."""

from __future__ import annotations

from urllib.parse import parse_qs, parse_qsl

import pytest

from backend.domain.database_url import MODES, asyncpg_query


@pytest.mark.parametrize("query", ["", "host=/run", "ssl=require", "passfile=a%20b&host=/run"])
def test_a_query_that_says_nothing_of_tls_stays_as_it_is(query: str) -> None:
    assert asyncpg_query(query) == query


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_of_libpq_reaches_the_driver(mode: str) -> None:
    assert parse_qs(asyncpg_query(f"sslmode={mode}")) == {"dsn": [f"postgresql://?sslmode={mode}"]}


def test_files_and_versions_come_along_and_the_rest_stays_outside() -> None:
    found = dict(
        parse_qsl(asyncpg_query("sslmode=verify-full&sslrootcert=/a%26b&host=/run&ssl_min_protocol_version=TLSv1.3"))
    )
    inner = dict(parse_qsl(found.pop("dsn").partition("?")[2]))
    assert inner == {"sslmode": "verify-full", "sslrootcert": "/a&b", "ssl_min_protocol_version": "TLSv1.3"}
    assert found == {"host": "/run"}


@pytest.mark.parametrize("mode", ["", "on", "verify_full", "REQUIRE"])
def test_a_mode_that_is_none_is_refused(mode: str) -> None:
    with pytest.raises(ValueError, match="sslmode is one of disable, allow, prefer"):
        asyncpg_query(f"sslmode={mode}")
