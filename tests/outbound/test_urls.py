"""The wire form of a URL, and the form fit for logs."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from hypothesis import example, given
from hypothesis import strategies as st

from backend.errors import AddressBlocked
from backend.outbound import HttpRequest, Outbound, legal_url, redacted_url, wire_url

QUERIES = [
    "",
    "a=1+2",
    "a=1%202",
    "a=1 2",
    "a=x%2Cy",
    "a=x,y",
    "a=x%2cy",
    "a=%2B",
    "a=%26b%3Dc",
    "a=%3B;",
    "a=ü",
    "a=%C3%BC",
    "a=%c3%bc",
    "a[]=1&a[b]=2",
    "a=%5B%5D",
    "a='%27\"%22",
    "a=%zz",
    "a=%",
    "a=100%25",
    "a=%2525",
    "a=%7E~",
    "a=|^`{}\\",
    "a=$@!*()/?:",
    "a=%24%40%21%2A%28%29%2F%3F%3A",
    "a=1&a=2&=&b",
    "after=2026-01-01T00:00:00%2B00:00",
    "after=2026-01-01T00%3A00%3A00Z",
    "oauth_signature=a%2Bb%2Fc%3D&oauth_nonce=1",
    "a=😀",
]


@pytest.fixture
async def recorder() -> AsyncIterator[tuple[str, list[str]]]:
    """Return a server's base URL and the raw request targets it gets."""
    seen: list[str] = []

    async def keep(request: web.Request) -> web.Response:
        seen.append(request.raw_path)
        return web.json_response({})

    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", keep)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    yield f"http://{host}:{port}", seen
    await runner.cleanup()


@pytest.mark.parametrize("query", QUERIES)
async def test_what_is_signed_is_what_is_sent(client: Outbound, recorder: tuple[str, list[str]], query: str) -> None:
    base, seen = recorder
    signed = wire_url(f"{base}/a b/ü/%2F/x%2Cy?{query}")
    await client.send(HttpRequest("GET", signed, allow_http=True))
    assert base + seen[0] == signed


@pytest.mark.parametrize("query", QUERIES)
async def test_any_url_goes_out_in_its_wire_form(client: Outbound, recorder: tuple[str, list[str]], query: str) -> None:
    base, seen = recorder
    url = f"{base}/a b/ü/%2F/x%2Cy?{query}"
    await client.send(HttpRequest("GET", url, allow_http=True))
    assert base + seen[0] == wire_url(url)


@given(st.text(st.characters(min_codepoint=32, exclude_categories=["Cs", "Cc"]), max_size=40))
@example("%2C%2c,%252C")
@example("/../%2e%2e/./a//b?c?d#e")
@example("?%F0%9F%98%80%FF%zz%")
def test_the_wire_form_of_a_wire_form_is_itself(rest: str) -> None:
    once = wire_url(f"https://store.example/{rest}")
    assert wire_url(once) == once


@pytest.mark.parametrize(
    ("url", "wire"),
    [
        ("https://EXAMPLE.com:443", "https://example.com/"),
        ("https://example.com/a#part", "https://example.com/a"),
        ("https://bücher.example/ä?ö=ü", "https://xn--bcher-kva.example/%C3%A4?%C3%B6=%C3%BC"),
        ("https://example.com/?a=x%2Cy", "https://example.com/?a=x,y"),
        ("https://example.com/?a=1+2&b=1%202", "https://example.com/?a=1+2&b=1%202"),
    ],
)
def test_the_wire_form(url: str, wire: str) -> None:
    assert wire_url(url) == wire


@pytest.mark.parametrize(
    ("url", "sent"),
    [
        ("https://b\u00fccher.example/", "https://xn--bcher-kva.example/"),
        ("https://xn--bcher-kva.example/", "https://xn--bcher-kva.example/"),
        ("http://a_b.example./x", "http://a_b.example./x"),
        (f"https://{'a' * 63}.example/", f"https://{'a' * 63}.example/"),
        ("https://[2606:4700::1111]/", "https://[2606:4700::1111]/"),
    ],
)
def test_a_url_with_a_legal_host(url: str, sent: str) -> None:
    assert legal_url(url) == sent


@pytest.mark.parametrize(
    ("url", "why"),
    [
        (f"https://{'a' * 64}.example/", "no legal host name"),
        (f"https://{'a.' * 130}example/", "longer than 253"),
        ("https://xn--zzzzzz99999.example/", "no legal host name"),
        ("https://xn--ls8h.example/", "no legal host name"),
        ("https://xn--/", "no legal host name"),
        ("https://-a.example/", "no legal host name"),
        ("https://a..b/", "no legal host name"),
        ("https://2130706433/", "no address in its plain form"),
        ("https://127.0.0.1./", "no address in its plain form"),
        ("https://user@store.example/", "user name"),
        ("gopher://store.example/", "scheme"),
    ],
)
def test_a_url_without_a_legal_host(url: str, why: str) -> None:
    with pytest.raises(AddressBlocked, match=why):
        legal_url(url)


def test_a_url_that_cannot_be_read_has_no_wire_form() -> None:
    with pytest.raises(AddressBlocked, match="cannot be read"):
        wire_url("https://[::1")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://shop.example/admin/api/2026-10/graphql.json", "https://shop.example/admin/api/2026-10/graphql.json"),
        (
            "https://shop.example/wp-json/wc/v3/orders/1234567890",
            "https://shop.example/wp-json/wc/v3/orders/1234567890",
        ),
        ("https://shop.example:8443/a?page=2&key=s3", "https://shop.example:8443/a?page=***&key=***"),
        ("https://shop.example/a?bare-secret", "https://shop.example/a?***"),
        ("https://shop.example/a?oauth_signature=x%2By&empty=", "https://shop.example/a?oauth_signature=***&empty=***"),
        ("https://shop.example/a?abc123def456ghi789=1", "https://shop.example/a?***"),
        ("https://user:password@shop.example/a", "https://shop.example/a"),
        ("https://shop.example/a#secret", "https://shop.example/a"),
        ("https://hooks.example/services/T0/B0/8fj3kd9fj3kd9fj3", "https://hooks.example/services/T0/B0/***"),
        ("https://hooks.example/whsec_abc/x", "https://hooks.example/***/x"),
        ("https://hooks.example/shpat_1/x", "https://hooks.example/***/x"),
        ("https://hooks.example/CK_1/x", "https://hooks.example/***/x"),
        ("https://hooks.example/6f1f3f9e-8a4b-4f7e-9b1d-2c3d4e5f6a7b", "https://hooks.example/***"),
        ("https://hooks.example/8fj3kd%39fj3kd9fj3%2B", "https://hooks.example/***"),
        ("https://shop.example", "https://shop.example/"),
        ("/only/a/path?key=secret", "(unreadable URL)"),
        ("https://[::1?key=secret", "(unreadable URL)"),
        ("", "(unreadable URL)"),
    ],
)
def test_the_form_for_logs(url: str, shown: str) -> None:
    assert redacted_url(url) == shown


@given(st.text(max_size=60))
def test_anything_has_a_form_for_logs_without_a_password(rest: str) -> None:
    assert "hunter2" not in redacted_url(f"https://user:hunter2@shop.example/{rest}")
