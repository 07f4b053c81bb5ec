"""Bodies are looked at before a route reads them: size, pace, and whether everybody would read the same in them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.responses import PlainTextResponse
from starlette.types import Message, Receive, Scope, Send

from backend.main import ROUTERS
from backend.routers.bodies import BODY_LIMIT, LIMITS, SLOWEST, BodyGuard
from backend.routers.guard import routes_of
from backend.routers.json_text import DEEPEST_READ, MOST_VALUES, BadText, RepeatedKey, check_text
from backend.routers.schemas import Storable
from tests.routers.conftest import Web
from tests.routers.test_problems import document

JSON = {"Content-Type": "application/json"}
COMPANIES = "/api/v1/companies"


async def post(web: Web, body: bytes, path: str = COMPANIES) -> httpx.Response:
    return await web.client.post(path, content=body, headers=JSON)


REPEATED = {
    b'{"name": "Acme", "name": "Bolt"}': ("body.name", 'the key "name" comes twice in one object'),
    b'{"name": "Acme", "\\u006eame": "Bolt"}': ("body.name", 'the key "name" comes twice in one object'),
    b'{"a": {"b": [1, {"c": 1, "d": 2, "c": 1}]}}': ("body.a.b.1.c", 'the key "c" comes twice in one object'),
}


@pytest.mark.parametrize(("body", "told"), REPEATED.items(), ids=["plain", "escaped", "within"])
async def test_a_key_that_comes_twice_is_named(web: Web, body: bytes, told: tuple[str, str]) -> None:
    answer = document(await post(web, body))
    assert (answer["status"], (answer["field"], answer["detail"])) == (400, told)


def test_the_same_key_in_two_objects_is_no_repetition() -> None:
    check_text(b'[{"a": 1}, {"a": 2, "b": {"a": 3}}]')


REFUSED = {
    "NaN": (b'{"a": NaN}', "NaN is not JSON"),
    "Infinity": (b'{"a": Infinity}', "Infinity is not JSON"),
    "-Infinity": (b'{"a": -Infinity}', "-Infinity is not JSON"),
    "too many digits": (b'{"a": ' + b"9" * 5_000 + b"}", "too many digits"),
    "not UTF-8": (b'{"a": "\xff"}', "not UTF-8"),
    "half a surrogate pair in UTF-8": (b'{"a": "\xed\xa0\x80"}', "not UTF-8"),
    "UTF-16": ('{"a": 1}'.encode("utf-16"), "not UTF-8"),
    "a byte order mark": (b'\xef\xbb\xbf{"a": 1}', "byte order mark|BOM"),
    "a raw NUL": (b'{"a": "\x00"}', "cannot be read"),
    "cut off": (b'{"a": "', "line 1, column 7"),
    "two values": (b"{} {}", "Extra data"),
    "twice, then cut off": (b'[{"a": 1, "a": 1}, ', "cannot be read"),
    "a level too deep": (b"[" * (DEEPEST_READ + 1) + b"]" * (DEEPEST_READ + 1), "nested too deeply"),
    "a mebibyte of brackets": (b"[" * BODY_LIMIT, "nested too deeply"),
    "objects, too deep": (b'{"a":' * 65 + b"1" + b"}" * 65, "nested too deeply"),
    "too many values": (b"[" + b"1," * MOST_VALUES + b"1]", "more than 50,000 values"),
}


@pytest.mark.parametrize(("body", "words"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_relied_on_is_refused(body: bytes, words: str) -> None:
    with pytest.raises(BadText, match=words) as caught:
        check_text(body)
    assert caught.value.remedy


@pytest.mark.parametrize("body", [body for body, _ in REFUSED.values()], ids=REFUSED)
async def test_such_a_body_is_a_problem_document_with_a_remedy(web: Web, body: bytes) -> None:
    told = document(await post(web, body))
    assert (told["status"] in {400, 413}, bool(told["remedy"])) == (True, True)


TAKEN = {
    "as deep as may be": b"[" * DEEPEST_READ + b"]" * DEEPEST_READ,
    "as many values as may be": b"[" + b"1," * (MOST_VALUES - 2) + b"1]",
    "brackets in a string": json.dumps({"a": "[{" * 100_000}).encode(),
    "commas in a string": json.dumps({"a": "," * 100_000, "b": '\\"[' * 1_000}).encode(),
    "any letters": '{"a": "ø 漢 💥 \\ud83d\\ude00"}'.encode(),
}


@pytest.mark.parametrize("body", TAKEN.values(), ids=TAKEN)
def test_what_can_be_relied_on_passes(body: bytes) -> None:
    check_text(body)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


@given(values, st.booleans())
def test_what_a_writer_of_json_writes_passes(value: Any, is_ascii: bool) -> None:
    check_text(json.dumps(value, ensure_ascii=is_ascii).encode("utf-8", "surrogatepass"))


@given(st.dictionaries(st.text(), values, min_size=1, max_size=4), st.data())
def test_a_member_written_twice_is_found(value: dict[str, Any], data: st.DataObject) -> None:
    key = data.draw(st.sampled_from(sorted(value)))
    body = f"{json.dumps(value)[:-1]}, {json.dumps(key)}: null}}"
    with pytest.raises(RepeatedKey):
        check_text(body.encode())


@given(st.binary() | st.text(alphabet='[]{}",:\\0a').map(str.encode))
def test_any_bytes_pass_or_are_refused(body: bytes) -> None:
    try:
        check_text(body)
    except BadText:
        return
    json.loads(body.decode())


BODIES = {
    f"{min(route.methods or ())} {route.path}": route.body_field.field_info.annotation
    for module in ROUTERS
    for route in routes_of(module.router)
    if route.body_field is not None and route.path.startswith("/api/")
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_a_body_of_the_api_is_looked_at_for_what_cannot_be_stored(body: object) -> None:
    assert isinstance(body, type)
    assert issubclass(body, Storable)


@pytest.mark.parametrize(("path", "limit"), LIMITS.items(), ids=LIMITS)
async def test_a_path_may_have_a_smaller_limit(web: Web, path: str, limit: int) -> None:
    body = json.dumps({"a": "x" * limit}).encode()
    assert document(await post(web, body, path))["detail"] == "the body is larger than 64 KiB"
    assert document(await post(web, body[: limit - 2] + b'"}', path))["status"] == 404


class Client:
    """A client that sends these chunks and then nothing more, or goes away."""

    def __init__(self, chunks: Sequence[bytes], *, goes_away: bool = False) -> None:
        self._chunks = list(chunks)
        self._goes_away = goes_away
        self.sent: list[Message] = []

    async def receive(self) -> Message:
        if self._chunks:
            return {"type": "http.request", "body": self._chunks.pop(0), "more_body": True}
        if not self._goes_away:
            await asyncio.Event().wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        self.sent.append(message)

    async def ask(self, seconds: float) -> list[bytes]:
        """Make a request of a route behind the guard; return the bodies that the route read."""
        read: list[bytes] = []

        async def route(scope: Scope, receive: Receive, send: Send) -> None:
            read.append((await receive())["body"])
            await PlainTextResponse("done")(scope, receive, send)

        scope = {"type": "http", "path": "/console/start", "method": "POST", "headers": []}
        await BodyGuard(route, seconds=seconds)(scope, self.receive, self.send)
        return read


@pytest.mark.parametrize("chunks", [[], [b"a"] * 10], ids=["nothing", "a part"])
async def test_a_body_that_never_ends_is_answered_408(chunks: list[bytes]) -> None:
    client = Client(chunks)
    assert await client.ask(seconds=0.05) == []
    start, body = client.sent
    assert (start["status"], json.loads(body["body"])["type"]) == (408, "/docs#problem-too_slow")
    assert (b"connection", b"close") in start["headers"]


async def test_who_sends_fast_gets_more_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[float] = []
    timeout_at = asyncio.timeout_at

    def noted(when: float | None) -> asyncio.Timeout:
        given.append((when or 0) - asyncio.get_running_loop().time())
        return timeout_at(asyncio.get_running_loop().time() + (5 if len(given) < 4 else 0))

    monkeypatch.setattr("backend.routers.bodies.asyncio.timeout_at", noted)
    await Client([b"x" * SLOWEST * 5, b"x" * SLOWEST * 5, b"x" * SLOWEST * 500]).ask(seconds=30)
    assert [round(seconds) for seconds in given] == [10, 15, 20, 30]


async def test_a_body_that_is_cut_off_is_not_acted_upon() -> None:
    assert await Client([b"interval=3"], goes_away=True).ask(seconds=5) == []


async def test_of_a_header_that_comes_twice_the_first_counts(web: Web) -> None:
    headers = [("Content-Type", "text/plain"), ("Content-Type", "application/json")]
    answer = await web.client.post(COMPANIES, content=b'{"name": "Acme"}', headers=headers)
    assert document(answer)["status"] == 415
