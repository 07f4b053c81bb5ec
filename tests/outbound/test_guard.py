"""Which targets a connection is tried to, over real sockets with a canary that must not be reached."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta

import pytest

from backend.errors import AddressBlocked, ConnectionFailed, ResolverDown
from backend.outbound import HttpRequest, Lookup, Outbound, OutboundPolicy
from backend.outbound.guard import AddressGuard, GuardedResolver
from tests.domain.test_addresses import REFUSED
from tests.outbound.conftest import MakeClient
from tests.outbound.wire import RawServer, raw_server, with_body

BAD_V4 = [ip for ip, reason in REFUSED if reason != "not an address" and ":" not in ip and "%" not in ip]
BAD_V6 = [ip for ip, reason in REFUSED if reason != "not an address" and ":" in ip and "%" not in ip]
LOOPBACK = OutboundPolicy(allow_loopback=True)
STRICT = OutboundPolicy()


def always(*addresses: str) -> Lookup:
    """Return a resolver that gives every name these addresses."""

    async def lookup(_: str) -> Sequence[str]:
        return addresses

    return lookup


def failing(error: Exception) -> Lookup:
    """Return a resolver that fails."""

    async def lookup(_: str) -> Sequence[str]:
        raise error

    return lookup


def get(url: str) -> HttpRequest:
    """Return a request that may use plain http."""
    return HttpRequest("GET", url, allow_http=True, deadline=timedelta(seconds=5))


@pytest.fixture
async def canary() -> AsyncIterator[RawServer]:
    """Return a server that nobody should reach."""
    async with raw_server(with_body(b"{}")) as server:
        yield server
        assert server.connections == 0


@pytest.mark.parametrize("ip", BAD_V4)
async def test_a_bad_ipv4_literal_is_refused(make_client: MakeClient, ip: str) -> None:
    with pytest.raises(AddressBlocked):
        await make_client(STRICT).send(get(f"http://{ip}/"))


@pytest.mark.parametrize("ip", BAD_V6)
async def test_a_bad_ipv6_literal_is_refused(make_client: MakeClient, ip: str) -> None:
    with pytest.raises(AddressBlocked):
        await make_client(STRICT).send(get(f"http://[{ip}]/"))


@pytest.mark.parametrize("ip", BAD_V4 + BAD_V6)
async def test_a_name_with_a_bad_address_is_refused(make_client: MakeClient, ip: str) -> None:
    client = make_client(STRICT, lookup=always(ip))
    with pytest.raises(AddressBlocked):
        await client.send(get("http://store.example/"))


@pytest.mark.parametrize("ip", BAD_V4 + BAD_V6)
async def test_one_bad_address_among_good_ones_refuses_the_name(make_client: MakeClient, ip: str) -> None:
    client = make_client(STRICT, lookup=always("1.1.1.1", ip, "2606:4700::1111"))
    with pytest.raises(AddressBlocked):
        await client.send(get("http://store.example/"))


async def test_a_loopback_literal_is_never_dialled_by_a_strict_client(
    make_client: MakeClient, canary: RawServer
) -> None:
    with pytest.raises(AddressBlocked, match="loopback"):
        await make_client(STRICT).send(get(canary.url))


async def test_a_name_of_loopback_is_never_dialled_by_a_strict_client(
    make_client: MakeClient, canary: RawServer
) -> None:
    client = make_client(STRICT, lookup=always("127.0.0.1"))
    with pytest.raises(AddressBlocked, match="loopback"):
        await client.send(get(f"http://store.example:{canary.port}/"))


async def test_a_mapped_loopback_literal_is_refused_even_where_loopback_is_allowed(
    client: Outbound, canary: RawServer
) -> None:
    with pytest.raises(AddressBlocked, match="IPv4-mapped"):
        await client.send(get(f"http://[::ffff:127.0.0.1]:{canary.port}/"))


@pytest.mark.parametrize("host", ["2130706433", "0x7f000001", "127.1", "0177.0.0.1", "0", "①②⑦.⓪.⓪.①"])
async def test_disguised_loopback_is_never_dialled(make_client: MakeClient, canary: RawServer, host: str) -> None:
    # The name's look-up is answered as the C library answers it; what comes before may refuse it even earlier.
    client = make_client(STRICT, lookup=always("127.0.0.1"))
    with pytest.raises(AddressBlocked):
        await client.send(get(f"http://{host}:{canary.port}/"))


async def test_the_socket_factory_alone_refuses_what_a_resolver_let_through(canary: RawServer) -> None:
    guard = AddressGuard(STRICT)
    with pytest.raises(AddressBlocked, match="loopback"):
        guard.open_socket((socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", canary.port)))


async def test_a_name_that_turns_bad_after_the_first_connection_is_refused(make_client: MakeClient) -> None:
    answers = iter([["127.0.0.1"], ["169.254.169.254"]])

    async def rebinding(_: str) -> Sequence[str]:
        return next(answers)

    async with raw_server(with_body(b"{}", "Connection: close")) as server:
        client = make_client(LOOPBACK, lookup=rebinding)
        url = f"http://store.example:{server.port}/"
        assert (await client.send(get(url))).status == 200
        _forget_names(client)
        with pytest.raises(AddressBlocked, match="link-local"):
            await client.send(get(url))
        assert server.connections == 1


async def test_a_name_is_public_at_first_and_loopback_at_the_second_look_up() -> None:
    answers = iter([["1.1.1.1"], ["127.0.0.1"]])

    async def rebinding(_: str) -> Sequence[str]:
        return next(answers)

    resolver = GuardedResolver(AddressGuard(STRICT), rebinding)
    first = await resolver.resolve("store.example", 443)
    assert [found["host"] for found in first] == ["1.1.1.1"]
    with pytest.raises(AddressBlocked):
        await resolver.resolve("store.example", 443)


async def test_a_connection_looks_a_name_up_once(make_client: MakeClient) -> None:
    asked: list[str] = []

    async def counting(host: str) -> Sequence[str]:
        asked.append(host)
        return ["127.0.0.1"]

    async with raw_server(with_body(b"{}")) as server:
        await make_client(LOOPBACK, lookup=counting).send(get(f"http://store.example:{server.port}/"))
    assert asked == ["store.example"]


async def test_the_host_header_keeps_the_name(make_client: MakeClient) -> None:
    async with raw_server(with_body(b"{}")) as server:
        client = make_client(LOOPBACK, lookup=always("127.0.0.1"))
        await client.send(get(f"http://store.example:{server.port}/"))
        assert f"host: store.example:{server.port}\r\n" in server.heads[0]


@pytest.mark.parametrize("port", [22, 25, 3306, 5432, 6379, 9200, 81])
async def test_a_port_outside_the_list_is_refused(make_client: MakeClient, port: int) -> None:
    client = make_client(STRICT, lookup=always("1.1.1.1"))
    with pytest.raises(AddressBlocked, match=f"port {port} "):
        await client.send(get(f"http://store.example:{port}/"))


async def test_a_port_outside_the_list_is_refused_for_a_literal(client: Outbound) -> None:
    with pytest.raises(AddressBlocked, match="port 25 "):
        await client.send(get("http://1.1.1.1:25/"))


async def test_the_systems_resolver_finds_localhost(client: Outbound) -> None:
    async with raw_server(with_body(b"{}")) as server:
        assert (await client.send(get(f"http://localhost:{server.port}/"))).status == 200


async def test_a_second_address_is_tried_when_the_first_refuses(make_client: MakeClient) -> None:
    async with raw_server(with_body(b"{}")) as server:
        client = make_client(LOOPBACK, lookup=always("127.0.0.2", "127.0.0.1"))
        assert (await client.send(get(f"http://store.example:{server.port}/"))).status == 200


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("ftp://store.example/", "scheme"),
        ("file:///etc/passwd", "scheme"),
        ("unix:///run/socket", "scheme"),
        ("/relative", "scheme"),
        ("http://user@store.example/", "user name"),
        ("http://user:secret@store.example/", "user name"),
        ("http://:secret@store.example/", "user name"),
        ("http:///path", "host"),
        ("http://?a=b", "host"),
        ("http://a..b/", "host"),
        (f"http://{'a' * 64}.example/", "host|read"),
        (f"http://{'a.' * 130}example/", "host|read"),
        ("http://[fe80::1%25eth0]/", "zone"),
        ("http://store.example:99999/", "read"),
        ("http://[::1/", "read"),
        ("http://sto\x00re.example/", "read"),
        ("http://store example/", "host|read"),
    ],
)
async def test_a_url_that_cannot_be_meant_is_refused(client: Outbound, url: str, why: str) -> None:
    with pytest.raises(AddressBlocked, match=why):
        await client.send(get(url))


async def test_plain_http_needs_to_be_allowed(client: Outbound, canary: RawServer) -> None:
    with pytest.raises(AddressBlocked, match="must be https"):
        await client.send(HttpRequest("GET", canary.url))


@pytest.mark.parametrize("code", [socket.EAI_AGAIN, socket.EAI_FAIL, socket.EAI_SYSTEM, socket.EAI_MEMORY])
async def test_a_resolver_in_trouble_is_our_fault(make_client: MakeClient, code: int) -> None:
    client = make_client(STRICT, lookup=failing(socket.gaierror(code, "trouble")))
    with pytest.raises(ResolverDown, match=r"store\.example"):
        await client.send(get("http://store.example/"))


@pytest.mark.parametrize("code", [socket.EAI_NONAME, socket.EAI_NODATA])
async def test_an_unknown_name_is_the_other_sides_fault(make_client: MakeClient, code: int) -> None:
    client = make_client(STRICT, lookup=failing(socket.gaierror(code, "no such name")))
    with pytest.raises(ConnectionFailed, match=r"store\.example is unknown"):
        await client.send(get("http://store.example/"))


async def test_a_name_without_addresses_is_unknown(make_client: MakeClient) -> None:
    with pytest.raises(ConnectionFailed, match="unknown"):
        await make_client(STRICT, lookup=always()).send(get("http://store.example/"))


async def test_a_resolver_that_does_not_answer_is_our_fault(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hanging(_: str) -> Sequence[str]:
        await asyncio.Event().wait()
        return []

    monkeypatch.setattr("backend.outbound.guard.LOOKUP_SECONDS", 0.01)
    with pytest.raises(ResolverDown, match="in time"):
        await make_client(STRICT, lookup=hanging).send(get("http://store.example/"))


async def test_a_blocked_name_blocks_everyone_who_waits_for_the_same_look_up(make_client: MakeClient) -> None:
    client = make_client(STRICT, lookup=always("10.0.0.1"))
    results = await asyncio.gather(
        *(client.send(get("http://store.example/")) for _ in range(5)), return_exceptions=True
    )
    assert [type(result) for result in results] == [AddressBlocked] * 5


def _forget_names(client: Outbound) -> None:
    """Let the time pass for which a looked-up name is remembered."""
    transport = client._transport  # noqa: SLF001 (ten seconds of waiting instead)
    assert transport is not None
    connector = transport.get_client().connector
    connector.clear_dns_cache()  # type: ignore[union-attr]
