"""Hostile and sick stores, each kind below a path of its own: ``/{kind}/abandoned-carts``.

They speak the custom platform's protocol (docs/custom-platform.md) as badly as stores can. ``/{kind}/{name}/...``
serves the same kind again, so that one server stands for many stores. `KINDS` says what each does and where a poller
has to end up with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import format_datetime
from functools import partial
from typing import Any

import orjson
from aiohttp import web

from simulator import bombs
from simulator.base import Simulator
from simulator.custom import rfc3339
from simulator.faults import drop

METADATA = "http://169.254.169.254/latest/meta-data/"
ABANDONED, SHOPPING = timedelta(minutes=45), timedelta(minutes=10)
DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Asked:
    """One request for a page. `turn`: how many pages its store was asked for before, first at `began`."""

    request: web.Request
    now: datetime
    turn: int
    began: datetime


Answer = Callable[[Asked], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class EndState:
    """Where a poller ends up with a store: the integration's `error_code` (None: it is well) and `status`.

    `carts`: how many are stored in the end, `quarantined`: how many records were set aside. `waits`: how long the
    store is left alone after its first poll, where that is the store's own word.
    """

    error_code: str | None
    status: str = "active"
    carts: int = 0
    quarantined: int = 0
    waits: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Kind:
    """One way to be hostile or sick."""

    answer: Answer
    end: EndState


def cart(cart_id: Any, at: datetime, **fields: Any) -> dict[str, Any]:
    """Return a sound cart, last touched `at`, with any of its fields replaced."""
    line = {"id": "1", "title": "Enamel mug", "qty": 1, "unit_price": "10.00"}
    customer = {"email": f"{cart_id}@example.com"}
    plain = {"id": cart_id, "updated_at": rfc3339(at), "currency": "USD", "total": "10.00", "items": [line]}
    return {**plain, "customer": customer, **fields}


def good(asked: Asked, name: Any = "good") -> dict[str, Any]:
    """Return a sound cart that was abandoned before its store was first asked."""
    return cart(name, asked.began - ABANDONED)


def page(carts: list[Any], next_cursor: Any = None, **headers: str) -> web.Response:
    """Return one page of the contract."""
    return raw(orjson.dumps({"carts": carts, "next_cursor": next_cursor}), **headers)


def raw(body: bytes, **headers: str) -> web.Response:
    """Return any bytes as JSON."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return web.Response(body=body, headers={"Content-Type": "application/json", **named})


# -- connections -------------------------------------------------------------------------------------------------------


async def hang(asked: Asked) -> web.StreamResponse:
    """Take the request and never answer; give up when any caller would have."""
    with suppress(TimeoutError):
        async with asyncio.timeout(90):
            await asyncio.Event().wait()
    return drop(asked.request)


async def drip(asked: Asked, start: bytes = b"HTTP/1.1 200 OK\r\nX-Slow: ") -> web.StreamResponse:
    """Write `start`, then a byte five times a second, without end."""
    while not _is_gone(asked) and asked.request.transport is not None:
        asked.request.transport.write(start)
        start = b"x"
        await asyncio.sleep(0.2)
    return drop(asked.request)


async def pour(asked: Asked, length: int | None = None) -> web.StreamResponse:
    """Answer with a body of `length` bytes, as fast as it is taken; without end when there is no length."""
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    response.content_length = length
    with suppress(ConnectionError):
        await response.prepare(asked.request)
        while not _is_gone(asked):
            await response.write(b" " * 65_536)
    return response


async def cut(asked: Asked) -> web.StreamResponse:
    """Close in mid-body."""
    response = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": "1000"})
    with suppress(ConnectionError):
        await response.prepare(asked.request)
        await response.write(b'{"carts": [')
    return drop(asked.request)


async def reset(asked: Asked) -> web.StreamResponse:
    """Close without an answer."""
    return drop(asked.request)


async def hang_up_politely(asked: Asked) -> web.StreamResponse:
    """Take the request, wait a moment, and end the connection in the regular way."""
    await asyncio.sleep(0.05)
    if asked.request.transport is not None:
        asked.request.transport.close()
    return web.Response(status=500)


def _is_gone(asked: Asked) -> bool:
    return asked.request.transport is None or asked.request.transport.is_closing()


# -- bodies ------------------------------------------------------------------------------------------------------------


async def say(_: Asked, body: bytes, status: int = 200, **headers: str) -> web.StreamResponse:
    """Answer with these bytes and this status, whatever was asked."""
    response = raw(body, **headers)
    response.set_status(status)
    return response


async def gzip_bomb(_: Asked) -> web.StreamResponse:
    """Answer with 128 KiB that inflate to 128 MiB."""
    return raw(bombs.gzipped(), Content_Encoding="gzip")


async def deflate_bomb(_: Asked) -> web.StreamResponse:
    """Answer with the same in the other encoding."""
    return raw(bombs.deflated(), Content_Encoding="deflate")


async def value_bomb(_: Asked) -> web.StreamResponse:
    """Answer with millions of empty lists, which take twenty times the room of their bytes once parsed."""
    return raw(bombs.of_values(), Content_Encoding="gzip")


async def hoard(asked: Asked) -> web.StreamResponse:
    """Answer with what inflates to just under the largest body that is taken, and never end it."""
    response = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Encoding": "gzip"})
    response.content_length = 1 << 20
    with suppress(ConnectionError):
        await response.prepare(asked.request)
        await response.write(bombs.unfinished())
    return await hang(asked)


async def twice(asked: Asked) -> web.StreamResponse:
    """Name every key twice."""
    body = orjson.dumps({"carts": [good(asked)], "next_cursor": None})
    return raw(body.replace(b'"id":', b'"id":"first","id":').replace(b'"carts":', b'"carts":[],"carts":', 1))


async def halves(asked: Asked) -> web.StreamResponse:
    """Put NUL and halves of surrogate pairs into every text."""
    odd = cart("odd", asked.began - ABANDONED, order_ref="HALF", coupons=["HALF"])
    odd["customer"] = {"email": "a@example.com", "first": "HALF", "last": "HALF", "phone": "HALF"}
    odd["items"] = [{"id": "HALF", "title": "HALF", "qty": 1, "unit_price": "10.00", "sku": "HALF"}]
    return raw(orjson.dumps({"carts": [odd, good(asked)]}).replace(b"HALF", rb"\u0000x\ud83d"))


# -- records -----------------------------------------------------------------------------------------------------------


async def odd_ids(asked: Asked) -> web.StreamResponse:
    """Give ids of every type but text and number, and one that is sound."""
    ids: list[Any] = [None, True, 1.5, [], ["x"], {}, {"id": "x"}, "", "y" * 300]
    return page([*(good(asked, odd) for odd in ids), good(asked)])


async def future(asked: Asked) -> web.StreamResponse:
    """Date four records 2099, and one soundly."""
    return page([good(asked), *_dated_2099(asked)])


async def only_future(asked: Asked) -> web.StreamResponse:
    """Have nothing but records dated 2099 on the page."""
    return page(_dated_2099(asked))


def _dated_2099(asked: Asked) -> list[dict[str, Any]]:
    return [cart(f"future-{number}", asked.began.replace(year=2099, day=1)) for number in range(4)]


async def ancient(asked: Asked) -> web.StreamResponse:
    """Date records at the year 1 and at the epoch."""
    first, epoch = "0001-01-01T00:00:00Z", "1970-01-01T00:00:00Z"
    return page(
        [good(asked), cart("first", asked.began, updated_at=first), cart("epoch", asked.began, updated_at=epoch)]
    )


async def other_clock(asked: Asked, off_by: timedelta) -> web.StreamResponse:
    """Serve an abandoned cart and one that is changed again and again, dated by a clock that is off."""
    there = asked.now + off_by
    idle = cart("idle", asked.began + off_by - ABANDONED)
    busy = cart("busy", there - SHOPPING, total=f"{10 + asked.turn}.00")
    return page([idle, busy], Date=format_datetime(there, usegmt=True))


async def many_lines(asked: Asked) -> web.StreamResponse:
    """Serve a cart of 10,000 lines."""
    lines = [{"id": str(number), "title": "Mug", "qty": 1, "unit_price": "1.00"} for number in range(10_000)]
    return page([cart("long", asked.began - ABANDONED, items=lines, total="10000.00")])


async def many_carts(asked: Asked) -> web.StreamResponse:
    """Put 6,000 carts on one page."""
    return page([good(asked, f"c{number}") for number in range(6000)])


async def unreadable(asked: Asked) -> web.StreamResponse:
    """Serve carts of another form only."""
    return page([{"cart_no": number, "sum": "a lot"} for number in range(5)])


# -- pages -------------------------------------------------------------------------------------------------------------


async def page_loop(asked: Asked) -> web.StreamResponse:
    """Lead from the first page to the second and back."""
    at = {"one": 1, "two": 0}.get(asked.request.query.get("cursor", ""), 0)
    return page([good(asked, f"c{at}")], "two" if at else "one")


async def same_page(asked: Asked) -> web.StreamResponse:
    """Show the same page for ever, under ever new cursors."""
    return page([good(asked)], f"t{asked.turn}")


async def new_pages(asked: Asked) -> web.StreamResponse:
    """Show ever new carts without end."""
    return page([good(asked, f"c{asked.turn}")], f"t{asked.turn}")


async def empty_pages(asked: Asked) -> web.StreamResponse:
    """Show no cart, and ever new cursors."""
    return page([], f"t{asked.turn}")


async def elsewhere(asked: Asked) -> web.StreamResponse:
    """Lead on to another host."""
    return page([good(asked)], METADATA)


# -- statuses ----------------------------------------------------------------------------------------------------------


async def throttled_until(asked: Asked) -> web.StreamResponse:
    """Name the time at which it may be asked again."""
    return await say(asked, b"", 429, Retry_After=format_datetime(asked.now + timedelta(minutes=7), usegmt=True))


async def redirect_loop(asked: Asked) -> web.StreamResponse:
    """Redirect to itself."""
    return await say(asked, b"", 302, Location=str(asked.request.url))


def _status(status: int, **headers: str) -> Answer:
    async def answer(asked: Asked) -> web.StreamResponse:
        return await say(asked, b"", status, **headers)

    return answer


def _later(code: str, waits: timedelta | None = None) -> EndState:
    return EndState(code, waits=waits)


def _paused(code: str) -> EndState:
    return EndState(code, "paused")


def _well(carts: int, quarantined: int = 0) -> EndState:
    return EndState(None, carts=carts, quarantined=quarantined)


KINDS: Mapping[str, Kind] = {
    "hang": Kind(hang, _later("timeout")),
    "dripers": Kind(drip, _later("timeout")),
    "drip_body": Kind(partial(drip, start=b"HTTP/1.1 200 OK\r\nContent-Length: 999999\r\n\r\n"), _later("timeout")),
    "huge_headers": Kind(partial(say, body=b"{}", X_Long="x" * 30_000), _later("bad_body")),
    "close_before_headers": Kind(hang_up_politely, _later("connection_failed")),
    "close_mid_body": Kind(cut, _later("connection_failed")),
    "reset": Kind(reset, _later("connection_failed")),
    "endless_chunks": Kind(pour, _later("body_too_large")),
    "giant_body": Kind(partial(pour, length=1 << 30), _later("body_too_large")),
    "gzip_bomb": Kind(gzip_bomb, _later("body_too_large")),
    "deflate_bomb": Kind(deflate_bomb, _later("body_too_large")),
    "hoard": Kind(hoard, _later("timeout")),
    "value_bomb": Kind(value_bomb, _later("bad_body")),
    "deep_json": Kind(partial(say, body=b'{"carts":' + b"[" * 100_000), _later("bad_body")),
    "huge_integer": Kind(partial(say, body=b'{"carts":[{"id":' + b"9" * 5000 + b"}]}"), _later("bad_body")),
    "nan": Kind(partial(say, body=b'{"carts":[{"id":"a","total":NaN}]}'), _later("bad_body")),
    "duplicate_keys": Kind(twice, _well(1)),
    "broken_text": Kind(halves, _well(2)),
    "html": Kind(partial(say, body=b"<html>Briefly unavailable</html>", Content_Type="text/html"), _later("not_json")),
    "empty": Kind(partial(say, body=b""), _later("bad_body")),
    "truncated_json": Kind(partial(say, body=b'{"carts": [{"id": "c1", "tot'), _later("bad_body")),
    "wrong_schema": Kind(partial(say, body=b'{"data": {"carts": {}}}'), _later("bad_body")),
    "odd_ids": Kind(odd_ids, _well(1, quarantined=9)),
    "unreadable": Kind(unreadable, EndState("page_unreadable", quarantined=5)),
    "future_records": Kind(future, _well(1, quarantined=4)),
    "only_future_records": Kind(only_future, _well(0, quarantined=4)),
    "ancient_records": Kind(ancient, _well(3)),
    "clock_ahead": Kind(partial(other_clock, off_by=DAY), _well(2)),
    "clock_behind": Kind(partial(other_clock, off_by=-DAY), _well(2)),
    "many_lines": Kind(many_lines, _well(1)),
    "many_carts": Kind(many_carts, _later("page_too_long")),
    "page_loop": Kind(page_loop, EndState("pagination_loop", carts=2)),
    "same_page": Kind(same_page, EndState("pagination_loop", carts=1)),
    "new_pages": Kind(new_pages, EndState("pagination_endless", waits=timedelta(hours=1))),
    "empty_pages": Kind(empty_pages, _later("pagination_loop")),
    "foreign_next": Kind(elsewhere, _later("bad_next_cursor")),
    "redirect_metadata": Kind(_status(301, Location=METADATA), _later("redirected")),
    "redirect_loop": Kind(redirect_loop, _later("redirected")),
    "bad_request": Kind(_status(400), _later("http_400")),
    "unauthorized": Kind(_status(401), _paused("credentials_refused")),
    "payment_required": Kind(_status(402), _paused("store_locked")),
    "forbidden": Kind(_status(403), _paused("access_denied")),
    "not_found": Kind(_status(404), _later("endpoint_missing")),
    "request_timeout": Kind(_status(408), _later("http_408")),
    "gone": Kind(_status(410), _later("endpoint_missing")),
    "locked": Kind(_status(423), _paused("store_locked")),
    "throttled": Kind(_status(429), _later("throttled")),
    "throttled_seconds": Kind(_status(429, Retry_After="77"), _later("throttled", timedelta(seconds=77))),
    "throttled_date": Kind(throttled_until, _later("throttled", timedelta(minutes=7))),
    "throttled_absurdly": Kind(_status(429, Retry_After="1000000000"), _later("throttled", DAY)),
    "throttled_negative": Kind(_status(429, Retry_After="-5"), _later("throttled")),
    "throttled_in_words": Kind(_status(429, Retry_After="when we are done"), _later("throttled")),
    "server_error": Kind(_status(500), _later("http_500")),
    "unavailable": Kind(_status(503, Retry_After="120"), _later("http_503", timedelta(minutes=2))),
}


class HostileSimulator(Simulator):
    """Serves every kind of `KINDS`."""

    name = "hostile"
    keep_requests = 0  # an endless walk asks ten thousands of times

    def __init__(self, now: Callable[[], datetime] | None = None) -> None:
        super().__init__(now)
        self.asked_for: dict[str, tuple[int, datetime]] = {}

    def routes(self) -> list[web.RouteDef]:
        """Return the contract's route, below a kind and, if wanted, a store's own name."""
        return [
            web.get("/{kind}/abandoned-carts", self._list),
            web.get("/{kind}/{store}/abandoned-carts", self._list),
        ]

    async def _list(self, request: web.Request) -> web.StreamResponse:
        kind = KINDS.get(request.match_info["kind"])
        if kind is None:
            raise web.HTTPNotFound
        turn, began = self.asked_for.get(request.path, (0, self.now()))
        self.asked_for[request.path] = (turn + 1, began)
        return await kind.answer(Asked(request, self.now(), turn, began))
