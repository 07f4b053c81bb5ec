"""Reading answers: caps, encodings, deadlines."""

from __future__ import annotations

import asyncio
import gzip
import tracemalloc
import zlib
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from backend.errors import BadBody, BodyTooLarge, ConnectionFailed, DeadlinePassed
from backend.outbound import HttpRequest, Outbound, OutboundPolicy
from backend.outbound.body import STEP_BYTES, BodyLimits, read_body
from backend.outbound.room import Room
from tests.outbound.conftest import MakeClient
from tests.outbound.wire import (
    RawServer,
    Talk,
    answering,
    dripping,
    dripping_head,
    head,
    hinting,
    raw_server,
    silent,
    slowly,
    with_body,
)

SMALL = OutboundPolicy(allow_loopback=True, raw_limit=1000, inflated_limit=5000)


def raw_deflate(body: bytes) -> bytes:
    """Compress without the zlib header, as some servers do."""
    engine = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return engine.compress(body) + engine.flush()


def get(server: RawServer, **options: object) -> HttpRequest:
    """Return a request to the server."""
    return HttpRequest("GET", server.url, allow_http=True, **options)  # type: ignore[arg-type]


async def body_of(client: Outbound, talk: Talk, **options: object) -> bytes:
    """Return the body that the client makes of one answer."""
    async with raw_server(talk) as server:
        return (await client.send(get(server, **options))).body


async def test_a_plain_body_comes_whole(client: Outbound) -> None:
    body = bytes(range(256)) * 1000
    assert await body_of(client, with_body(body)) == body


async def test_a_chunked_body_comes_whole(client: Outbound) -> None:
    talk = answering(head("Transfer-Encoding: chunked"), b"3\r\nabc\r\n", b"2\r\nde\r\n", b"0\r\n\r\n")
    assert await body_of(client, talk) == b"abcde"


async def test_a_body_without_length_ends_with_the_connection(client: Outbound) -> None:
    assert await body_of(client, answering(head(), b"all of it", then="close")) == b"all of it"


@pytest.mark.parametrize(
    ("encoding", "compressed"),
    [
        ("gzip", gzip.compress(b"hello " * 50)),
        ("x-gzip", gzip.compress(b"hello " * 50)),
        ("GZIP ", gzip.compress(b"hello " * 50)),
        ("deflate", zlib.compress(b"hello " * 50)),
        ("deflate", raw_deflate(b"hello " * 50)),
    ],
    ids=["gzip", "x-gzip", "case", "zlib", "raw-deflate"],
)
async def test_a_compressed_body_is_inflated(client: Outbound, encoding: str, compressed: bytes) -> None:
    assert await body_of(client, with_body(compressed, f"Content-Encoding: {encoding}")) == b"hello " * 50


async def test_a_compressed_body_in_many_pieces_is_inflated(client: Outbound) -> None:
    compressed = gzip.compress(b"hello " * 50)
    pieces = [compressed[at : at + 1] for at in range(len(compressed))]
    talk = answering(head("Content-Encoding: gzip", f"Content-Length: {len(compressed)}"), *pieces)
    assert await body_of(client, talk) == b"hello " * 50


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "compress", "nonsense"])
async def test_an_encoding_we_did_not_ask_for_is_a_bad_body(client: Outbound, encoding: str) -> None:
    with pytest.raises(BadBody, match="not asked for"):
        await body_of(client, with_body(b"abc", f"Content-Encoding: {encoding}"))


@pytest.mark.parametrize("encoding", ["", "identity", "Identity"])
async def test_identity_is_no_encoding(client: Outbound, encoding: str) -> None:
    assert await body_of(client, with_body(b"abc", f"Content-Encoding: {encoding}")) == b"abc"


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified", "200 OK"])
async def test_an_empty_body_needs_no_inflating(client: Outbound, status: str) -> None:
    assert await body_of(client, with_body(b"", "Content-Encoding: gzip", status=status)) == b""


async def test_the_answer_to_head_has_no_body(client: Outbound) -> None:
    async with raw_server(answering(head("Content-Length: 5000", "Content-Encoding: gzip"))) as server:
        answer = await client.send(HttpRequest("HEAD", server.url, allow_http=True))
    assert answer.body == b""


@pytest.mark.parametrize(
    "body",
    [b"not gzip at all", gzip.compress(b"abc")[:-1], gzip.compress(b"abc")[:-8] + b"\0" * 8],
    ids=["plain", "cut", "checksum"],
)
async def test_damaged_compression_is_a_bad_body(client: Outbound, body: bytes) -> None:
    with pytest.raises(BadBody):
        await body_of(client, with_body(body, "Content-Encoding: gzip"))


async def test_bytes_behind_the_compressed_end_are_a_bad_body(client: Outbound) -> None:
    with pytest.raises(BadBody, match="behind its end"):
        await body_of(client, with_body(gzip.compress(b"abc") + b"more", "Content-Encoding: gzip"))


async def test_bytes_that_come_after_the_compressed_end_are_a_bad_body(client: Outbound) -> None:
    with pytest.raises(BadBody, match="behind its end"):
        await body_of(client, slowly(head("Content-Encoding: gzip"), gzip.compress(b"abc"), b"more"))


async def test_a_body_at_the_raw_limit_comes_whole(make_client: MakeClient) -> None:
    assert len(await body_of(make_client(SMALL), with_body(b"x" * 1000))) == 1000


async def test_a_body_over_the_raw_limit_is_too_large(make_client: MakeClient) -> None:
    with pytest.raises(BodyTooLarge, match="1000 bytes"):
        await body_of(make_client(SMALL), with_body(b"x" * 1001))


async def test_a_request_may_set_its_own_raw_limit(make_client: MakeClient) -> None:
    with pytest.raises(BodyTooLarge, match="10 bytes"):
        await body_of(make_client(SMALL), with_body(b"x" * 11), raw_limit=10)


async def test_an_endless_body_is_left_at_the_raw_limit(client: Outbound) -> None:
    with pytest.raises(BodyTooLarge):
        await body_of(client, dripping, raw_limit=5, deadline=timedelta(seconds=60))


async def test_a_body_inflated_to_the_limit_comes_whole(make_client: MakeClient) -> None:
    body = await body_of(make_client(SMALL), with_body(gzip.compress(b"x" * 5000), "Content-Encoding: gzip"))
    assert len(body) == 5000


@pytest.mark.parametrize("size", [STEP_BYTES - 1, STEP_BYTES, STEP_BYTES + 1, 3 * STEP_BYTES])
async def test_a_body_inflated_in_steps_to_the_limit_comes_whole(make_client: MakeClient, size: int) -> None:
    body = bytes(range(256)) * (size // 256) + bytes(size % 256)
    client = make_client(OutboundPolicy(allow_loopback=True, inflated_limit=size))
    assert await body_of(client, with_body(gzip.compress(body), "Content-Encoding: gzip")) == body


@pytest.mark.parametrize("size", [STEP_BYTES, 3 * STEP_BYTES])
async def test_a_body_inflated_in_steps_past_the_limit_is_too_large(make_client: MakeClient, size: int) -> None:
    client = make_client(OutboundPolicy(allow_loopback=True, inflated_limit=size))
    with pytest.raises(BodyTooLarge, match="inflates to more"):
        await body_of(client, with_body(gzip.compress(bytes(size + 1)), "Content-Encoding: gzip"))


async def test_a_body_inflated_past_the_limit_is_too_large(make_client: MakeClient) -> None:
    with pytest.raises(BodyTooLarge, match="5000 bytes"):
        await body_of(make_client(SMALL), with_body(gzip.compress(b"x" * 5001), "Content-Encoding: gzip"))


async def test_a_gzip_bomb_is_stopped_by_the_inflated_limit(client: Outbound) -> None:
    bomb = gzip.compress(bytes(200 * 1024 * 1024))
    with pytest.raises(BodyTooLarge, match="inflates to more"):
        await body_of(client, with_body(bomb, "Content-Encoding: gzip"))


async def test_inflating_takes_no_more_memory_than_the_limit() -> None:
    async def one_chunk() -> AsyncIterator[bytes]:
        yield bomb

    bomb = gzip.compress(bytes(50 * 1024 * 1024))
    limits = BodyLimits(raw=len(bomb), inflated=1024 * 1024)
    tracemalloc.start()
    try:
        with pytest.raises(BodyTooLarge):
            await read_body(one_chunk(), "gzip", limits, Room(asyncio.Semaphore()))
        assert tracemalloc.get_traced_memory()[1] < 8 * 1024 * 1024
    finally:
        tracemalloc.stop()


async def test_truncating_returns_what_was_read(client: Outbound) -> None:
    assert await body_of(client, with_body(b"abcdef"), raw_limit=4, truncate=True) == b"abcd"


async def test_truncating_does_not_wait_for_more_than_the_limit(client: Outbound) -> None:
    body = await body_of(client, dripping, raw_limit=4, truncate=True, deadline=timedelta(seconds=60))
    assert body == b"xxxx"


async def test_truncating_leaves_a_short_body_whole(client: Outbound) -> None:
    assert await body_of(client, with_body(b"abc"), raw_limit=4, truncate=True) == b"abc"


async def test_truncating_cuts_an_inflated_body_too(client: Outbound) -> None:
    talk = with_body(gzip.compress(b"x" * 100_000), "Content-Encoding: gzip")
    assert await body_of(client, talk, raw_limit=2000, truncate=True) == b"x" * 2000


async def test_truncating_accepts_a_compressed_body_cut_by_the_limit(client: Outbound) -> None:
    compressed = gzip.compress(bytes(range(256)) * 4)
    talk = with_body(compressed, "Content-Encoding: gzip")
    body = await body_of(client, talk, raw_limit=100, truncate=True)
    assert (bytes(range(256)) * 4).startswith(body)


async def test_a_truncated_connection_is_not_used_again(client: Outbound) -> None:
    async with raw_server(with_body(b"abcdef" * 100_000)) as server:
        for _ in range(2):
            await client.send(get(server, raw_limit=4, truncate=True))
        assert server.connections == 2


async def test_a_connection_read_to_its_end_is_used_again(client: Outbound) -> None:
    async with raw_server(with_body(b"abcdef")) as server:
        for _ in range(3):
            await client.send(get(server))
        assert server.connections == 1


@pytest.mark.parametrize(
    "talk", [dripping, dripping_head, hinting, silent], ids=["dripping", "head dripping", "only hints", "silent"]
)
async def test_the_deadline_ends_an_answer_that_does_not(client: Outbound, talk: Talk) -> None:
    with pytest.raises(DeadlinePassed, match=r"127\.0\.0\.1.* 0\.1 s"):
        await body_of(client, talk, deadline=timedelta(seconds=0.1))


async def test_no_request_outlasts_the_longest_exchange_there_is(make_client: MakeClient) -> None:
    client = make_client(OutboundPolicy(allow_loopback=True, longest=timedelta(seconds=0.1)))
    with pytest.raises(DeadlinePassed, match=r" 0\.1 s"):
        await body_of(client, silent)


async def test_a_reset_in_the_middle_of_a_body_is_a_failed_connection(client: Outbound) -> None:
    with pytest.raises(ConnectionFailed):
        await body_of(client, answering(head("Content-Length: 100"), b"half", then="reset"))


async def test_a_body_that_ends_early_is_a_failed_connection(client: Outbound) -> None:
    with pytest.raises(ConnectionFailed):
        await body_of(client, answering(head("Content-Length: 100"), b"half", then="close"))


async def test_chunks_that_end_early_are_a_failed_connection(client: Outbound) -> None:
    with pytest.raises(ConnectionFailed):
        await body_of(client, answering(head("Transfer-Encoding: chunked"), b"5\r\nab", then="close"))


async def test_malformed_chunks_are_a_bad_body(client: Outbound) -> None:
    with pytest.raises(BadBody, match="well-formed"):
        await body_of(client, answering(head("Transfer-Encoding: chunked") + b"3\r\nabc\r\nzz\r\n"))


async def test_malformed_chunks_that_come_late_do_not_outlast_the_deadline(client: Outbound) -> None:
    # aiohttp closes the connection and tells nobody who is already reading the body.
    talk = slowly(head("Transfer-Encoding: chunked"), b"3\r\nabc\r\n", b"zz\r\n")
    with pytest.raises((BadBody, DeadlinePassed)):
        await body_of(client, talk, deadline=timedelta(seconds=0.3))


@pytest.mark.parametrize(
    "talk",
    [
        answering(b"this is not HTTP\r\n\r\n"),
        answering(head(f"X-Long: {'x' * 20_000}", "Content-Length: 0")),
        answering(head(*(f"X-{n}: x" for n in range(200)), "Content-Length: 0")),
        answering(head("Content-Length: 1", "Content-Length: 2") + b"ab"),
    ],
    ids=["not-http", "long-header", "many-headers", "two-lengths"],
)
async def test_an_unreadable_head_is_a_bad_body(client: Outbound, talk: Talk) -> None:
    with pytest.raises(BadBody, match="well-formed"):
        await body_of(client, talk)


async def test_a_connection_closed_without_an_answer_failed(client: Outbound) -> None:
    with pytest.raises(ConnectionFailed, match="closed"):
        await body_of(client, answering(then="close"))
