"""What goes over the wire, what comes back, and what is never kept."""

from __future__ import annotations

import asyncio
import errno
import itertools
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta

import pytest

from backend.errors import ConnectionFailed, DeadlinePassed, OurFault, OutboundError
from backend.outbound import HttpRequest, HttpResponse, Outbound, OutboundPolicy
from tests.outbound.conftest import MakeClient
from tests.outbound.wire import RawServer, Talk, answering, head, raw_server, silent, with_body


@pytest.fixture
async def server() -> AsyncIterator[RawServer]:
    """Return a server that answers every request with an empty object."""
    async with raw_server(with_body(b"{}", "Content-Type: application/json")) as running:
        yield running


def sent_headers(server: RawServer) -> dict[str, str]:
    """Return the last request's headers, lower case."""
    lines = server.heads[-1].split("\r\n")[1:-2]
    return {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}


async def test_our_headers_are_always_set(client: Outbound, server: RawServer) -> None:
    headers = {"User-Agent": "somebody else", "accept-encoding": "br"}
    await client.send(HttpRequest("GET", server.url, headers, allow_http=True))
    sent = sent_headers(server)
    assert (sent["user-agent"], sent["accept-encoding"]) == ("cart-recovery/1.0", "gzip, deflate")


async def test_a_body_is_json_unless_it_says_otherwise(client: Outbound, server: RawServer) -> None:
    await client.send(HttpRequest("POST", server.url, body=b"{}", allow_http=True))
    assert sent_headers(server)["content-type"] == "application/json"


async def test_a_callers_content_type_stands(client: Outbound, server: RawServer) -> None:
    await client.send(HttpRequest("POST", server.url, {"Content-Type": "text/x"}, body=b"a", allow_http=True))
    assert sent_headers(server)["content-type"] == "text/x"


async def test_a_request_without_body_has_no_content_type(client: Outbound, server: RawServer) -> None:
    await client.send(HttpRequest("GET", server.url, allow_http=True))
    assert "content-type" not in sent_headers(server)


async def test_the_body_arrives_as_it_was_given(client: Outbound, server: RawServer) -> None:
    body = bytes(range(256)) * 500
    await client.send(HttpRequest("POST", server.url, body=body, allow_http=True))
    assert server.bodies == [body]


async def test_a_post_without_body_says_that_it_is_empty(client: Outbound, server: RawServer) -> None:
    await client.send(HttpRequest("POST", server.url, body=b"", allow_http=True))
    assert sent_headers(server)["content-length"] == "0"


async def test_the_callers_headers_arrive(client: Outbound, server: RawServer) -> None:
    await client.send(HttpRequest("GET", server.url, {"Webhook-Id": "msg_1"}, allow_http=True))
    assert sent_headers(server)["webhook-id"] == "msg_1"


@pytest.mark.parametrize("name", ["Host", "Content-Length", "transfer-encoding", "Connection", "Expect", "Upgrade"])
async def test_headers_that_frame_a_request_are_refused(client: Outbound, server: RawServer, name: str) -> None:
    with pytest.raises(OurFault, match="frame"):
        await client.send(HttpRequest("GET", server.url, {name: "x"}, allow_http=True))


@pytest.mark.parametrize(
    "headers",
    [{"X-A": "a\r\nX-B: b"}, {"X-A": "a\nb"}, {"X-A": "\x00"}, {"X-A\r\nX-B": "b"}, {"X-A": "snö"}, {"snö": "a"}],
)
async def test_headers_that_cannot_be_written_are_refused(
    client: Outbound, server: RawServer, headers: dict[str, str]
) -> None:
    with pytest.raises(OurFault, match="header"):
        await client.send(HttpRequest("GET", server.url, headers, allow_http=True))
    assert server.heads == []


async def test_the_answer_has_its_status_and_lower_case_headers(client: Outbound) -> None:
    async with raw_server(with_body(b"x", "X-Rate: 7", "Link: a", "LINK: b", status="418 Teapot")) as server:
        answer = await client.send(HttpRequest("GET", server.url, allow_http=True))
    assert (answer.status, answer.headers["x-rate"], answer.headers["link"]) == (418, "7", "a, b")


async def test_a_header_that_is_not_utf8_is_readable(client: Outbound) -> None:
    async with raw_server(with_body(b"x", "X-Name: caf\xe9")) as server:
        answer = await client.send(HttpRequest("GET", server.url, allow_http=True))
    assert answer.headers["x-name"].startswith("caf")


async def test_the_time_taken_is_told(client: Outbound, server: RawServer) -> None:
    answer = await client.send(HttpRequest("GET", server.url, allow_http=True))
    assert timedelta(0) < answer.elapsed < timedelta(minutes=1)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_an_answer_and_not_followed(client: Outbound, server: RawServer, status: int) -> None:
    talk = with_body(b"moved", f"Location: {server.url}", status=f"{status} Moved")
    async with raw_server(talk) as redirecting:
        answer = await client.send(HttpRequest("POST", redirecting.url, body=b"{}", allow_http=True))
    assert (answer.status, answer.body, server.connections) == (status, b"moved", 0)


async def test_a_cookie_is_not_kept(make_client: MakeClient) -> None:
    async def here(_: str) -> Sequence[str]:
        return ["127.0.0.1"]

    client = make_client(lookup=here)  # a cookie belongs to a name: jars ignore those that addresses set
    async with raw_server(with_body(b"{}", "Set-Cookie: session=1; Path=/")) as server:
        for _ in range(2):
            await client.send(HttpRequest("GET", f"http://store.example:{server.port}/", allow_http=True))
        assert "cookie" not in sent_headers(server)


async def test_a_proxy_from_the_environment_is_not_used(
    make_client: MakeClient, server: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with raw_server(with_body(b"proxy")) as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        await make_client().send(HttpRequest("GET", server.url, allow_http=True))
        assert (proxy.connections, server.connections) == (0, 1)


async def test_a_refused_connection_failed(client: Outbound, server: RawServer) -> None:
    with pytest.raises(ConnectionFailed, match="refused"):
        await client.send(HttpRequest("GET", "http://127.0.0.1:1/", allow_http=True))


async def test_a_cancelled_task_stays_cancelled(client: Outbound) -> None:
    async with raw_server(silent) as server:
        task = asyncio.create_task(client.send(HttpRequest("GET", server.url, allow_http=True)))
        await server.arrived()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelled()


async def test_a_connection_of_a_cancelled_request_is_not_used_again(client: Outbound) -> None:
    async with raw_server(answering(head("Content-Length: 10"), b"half")) as server:
        task = asyncio.create_task(client.send(HttpRequest("GET", server.url, allow_http=True)))
        await server.arrived()
        await asyncio.sleep(0.02)
        task.cancel()
        await asyncio.wait([task])
        with pytest.raises(DeadlinePassed):
            await client.send(HttpRequest("GET", server.url, allow_http=True, deadline=timedelta(seconds=0.1)))
        assert server.connections == 2


async def test_waiting_for_a_free_connection_is_our_fault(make_client: MakeClient) -> None:
    client = make_client(OutboundPolicy(allow_loopback=True, connections=1))
    async with raw_server(silent) as server:
        first = asyncio.create_task(client.send(HttpRequest("GET", server.url, allow_http=True)))
        await server.arrived()
        with pytest.raises(OurFault, match="no free connection"):
            await client.send(HttpRequest("GET", server.url, allow_http=True, deadline=timedelta(seconds=0.05)))
        first.cancel()
        await asyncio.wait([first])


async def test_a_slow_host_fills_its_own_places_and_not_anothers(make_client: MakeClient, server: RawServer) -> None:
    client = make_client(OutboundPolicy(allow_loopback=True, connections_per_host=2))
    async with raw_server(silent) as slow:
        stuck = [asyncio.create_task(client.send(HttpRequest("GET", slow.url, allow_http=True))) for _ in range(5)]
        await slow.arrived(2)
        assert (await client.send(HttpRequest("GET", server.url, allow_http=True))).status == 200
        assert slow.connections == 2
        for task in stuck:
            task.cancel()
        await asyncio.wait(stuck)


async def test_addresses_that_hang_leave_room_for_others_of_their_host(make_client: MakeClient) -> None:
    client, hanging = make_client(OutboundPolicy(allow_loopback=True)), itertools.repeat(silent, 400)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await next(hanging, with_body(b"well"))(reader, writer)

    async with raw_server(talk) as server:
        request = HttpRequest("GET", server.url, allow_http=True)
        stuck = [asyncio.create_task(client.send(request)) for _ in range(400)]
        await server.arrived(400)
        assert (await client.send(request)).body == b"well"
        for task in stuck:
            task.cancel()
        await asyncio.wait(stuck)


async def test_running_out_of_sockets_is_our_fault(make_client: MakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(*_: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    client = make_client()
    monkeypatch.setattr("backend.outbound.guard.socket.socket", none_left)
    with pytest.raises(OurFault, match="Too many open files"):
        await client.send(HttpRequest("GET", "http://127.0.0.1:1/", allow_http=True))


async def test_a_closed_client_sends_nothing(server: RawServer) -> None:
    client = Outbound(OutboundPolicy(allow_loopback=True))
    await client.send(HttpRequest("GET", server.url, allow_http=True))
    await client.aclose()
    with pytest.raises(OurFault, match="closed"):
        await client.send(HttpRequest("GET", server.url, allow_http=True))


async def test_closing_under_a_request_is_our_fault() -> None:
    client = Outbound(OutboundPolicy(allow_loopback=True))
    async with raw_server(silent) as server:
        waiting = asyncio.create_task(client.send(HttpRequest("GET", server.url, allow_http=True)))
        await server.arrived()
        await client.aclose()
        with pytest.raises(OurFault, match="closed"):
            await waiting


async def test_closing_an_unused_client_is_fine() -> None:
    await Outbound(OutboundPolicy()).aclose()


@pytest.mark.parametrize(
    "url",
    [
        "http://2130706433/hook?token=topsecret",
        "http://127.0.0.1:1/hook?token=topsecret",
        "http://store.example/hook?token=topsecret",
        "http://user:topsecret@store.example/",
    ],
)
async def test_no_error_carries_a_secret_of_the_url(make_client: MakeClient, url: str) -> None:
    async def unknown(_: str) -> Sequence[str]:
        return []

    with pytest.raises(OutboundError) as caught:
        await make_client(lookup=unknown).send(HttpRequest("GET", url, allow_http=True))
    assert "topsecret" not in _whole_story(caught.value)


@pytest.mark.parametrize(
    "talk", [answering(b"junk\r\n\r\n"), answering(then="close"), answering(head("Content-Length: 9"), then="close")]
)
async def test_no_broken_answer_leads_to_the_librarys_error(client: Outbound, talk: Talk) -> None:
    async with raw_server(talk) as server:
        with pytest.raises(OutboundError) as caught:
            await client.send(HttpRequest("GET", f"{server.url}?token=topsecret", allow_http=True))
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)


def _whole_story(error: BaseException | None) -> str:
    """Return the error and everything that hangs on to it, as a log might print it."""
    return "" if error is None else f"{error!r} {_whole_story(error.__cause__)} {_whole_story(error.__context__)}"


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("Tue, 06 Jan 2026 10:00:00 GMT", datetime(2026, 1, 6, 10, tzinfo=UTC)),
        ("Tue, 06 Jan 2026 10:00:00 +0200", datetime(2026, 1, 6, 8, tzinfo=UTC)),
        ("Tue, 06 Jan 2026 10:00:00 -0000", datetime(2026, 1, 6, 10, tzinfo=UTC)),
        ("yesterday", None),
        ("Tue, 99 Jan 2026 10:00:00 GMT", None),
        ("Fri, 31 Dec 9999 23:59:59 -2300", None),
        ("", None),
    ],
)
def test_the_date_of_an_answer_is_aware_utc(text: str, moment: datetime | None) -> None:
    assert HttpResponse(200, {"date": text}, b"", timedelta(0)).date == moment


def test_an_answer_without_date_has_none() -> None:
    assert HttpResponse(200, {}, b"", timedelta(0)).date is None
