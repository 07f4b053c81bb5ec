"""Large bodies take places of the process, small ones do not."""

from __future__ import annotations

import asyncio
import gzip
from datetime import timedelta

import pytest

from backend.errors import BodyTooLarge, DeadlinePassed, OurFault
from backend.outbound import HttpRequest, Outbound, OutboundPolicy
from backend.outbound.room import SMALL_BYTES, Room
from tests.outbound.conftest import MakeClient
from tests.outbound.wire import RawServer, answering, head, raw_server, with_body

SMALL, LARGE = bytes(SMALL_BYTES), bytes(SMALL_BYTES + 1)
STALLING = answering(head(f"Content-Length: {2 * len(LARGE)}"), LARGE)


@pytest.fixture
def client(make_client: MakeClient) -> Outbound:
    """Return a client with a place for one large body."""
    return make_client(OutboundPolicy(allow_loopback=True, inflated_limit=2 * len(LARGE), large_bodies=1))


def get(server: RawServer, seconds: float = 30) -> HttpRequest:
    """Return a request to the server."""
    return HttpRequest("GET", server.url, allow_http=True, deadline=timedelta(seconds=seconds))


async def test_a_small_body_needs_no_place() -> None:
    room = Room(asyncio.Semaphore(0))
    await asyncio.wait_for(room.hold(len(SMALL)), 1)
    assert not room.is_waiting


async def test_a_large_body_takes_one_place_however_far_it_grows() -> None:
    places = asyncio.Semaphore(1)
    with Room(places) as room:
        await room.hold(len(LARGE))
        await asyncio.wait_for(room.hold(9 * len(LARGE)), 1)
        assert places.locked()
    assert not places.locked()


async def test_large_bodies_come_whole_one_after_another(client: Outbound) -> None:
    async with raw_server(with_body(LARGE)) as server:
        answers = await asyncio.gather(*(client.send(get(server)) for _ in range(4)))
    assert {len(answer.body) for answer in answers} == {len(LARGE)}


async def refused(client: Outbound, server: RawServer) -> OurFault:
    """Ask for a large body until another exchange has the place; return what is said then."""
    async with asyncio.timeout(30):
        while True:
            try:
                await client.send(get(server, 0.2))
            except OurFault as fault:
                return fault
            except DeadlinePassed:
                continue


async def test_small_bodies_pass_a_large_one_that_does_not_end(client: Outbound) -> None:
    async with raw_server(STALLING) as stuck, raw_server(with_body(SMALL)) as server:
        first = asyncio.create_task(client.send(get(stuck)))
        await refused(client, stuck)
        assert (await client.send(get(server))).body == SMALL
        first.cancel()
        await asyncio.wait([first])


async def test_finding_no_place_is_our_fault_and_holding_one_too_long_is_not(client: Outbound) -> None:
    async with raw_server(STALLING) as server:
        holding = asyncio.create_task(client.send(get(server, 3)))
        assert str(await refused(client, server)) == "no room for a large answer within 0.2 s"
        with pytest.raises(DeadlinePassed):
            await holding


async def test_a_place_is_free_again_after_a_body_that_was_too_large(client: Outbound) -> None:
    bomb = gzip.compress(3 * LARGE)
    async with raw_server(with_body(bomb, "Content-Encoding: gzip")) as server:
        for _ in range(3):
            with pytest.raises(BodyTooLarge):
                await client.send(get(server))


async def test_an_error_about_a_body_does_not_keep_the_body(client: Outbound) -> None:
    async with raw_server(with_body(gzip.compress(3 * LARGE), "Content-Encoding: gzip")) as server:
        with pytest.raises(BodyTooLarge) as caught:
            await client.send(get(server))
    assert [entry.name for entry in caught.traceback][-1] == "send"
