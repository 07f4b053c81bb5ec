"""Requests gone wrong: valid ones with one or more bytes, names, lengths or headers that nobody should send.

Everything is drawn from one `random.Random`, so a seed repeats an attack request by request.
"""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

Header = tuple[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Aim:
    """A valid request: its path pattern with real ids for its parameters, its headers, and its body."""

    method: str
    path: str
    ids: Mapping[str, str]
    headers: tuple[Header, ...]
    body: bytes

    @property
    def address(self) -> bytes:
        """The path with its ids."""
        return self.path.format_map(self.ids).encode()


@dataclass(frozen=True, slots=True)
class Shot:
    """One request as it is sent. `ends`: its framing is broken, so the connection ends with it."""

    kind: str
    operation: str
    raw: bytes
    ends: bool = False


VALUES = (
    b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-1e999", b"-0", b"9" * 400, b"9" * 5_000, b"1." + b"0" * 3_000,
    b"0x10", b"01", b"+1", b"null", b"true", b"[]", b"{}", b'""', b'"\\u0000"', b'"\\ud800"', b'"\\udfff\\ud800"',
    b'"\\u202e"', b'"\\uFFFF"', b'"' + b"x" * 10_000 + b'"', b'"\xff\xfe"', b'"\xc0\x80"', b'"\xed\xa0\x80"', b"'a'",
    b'"{{7*7}}"', b'"%00"', b'"\'; DROP TABLE carts;--"', b'"4111111111111111"', b"9223372036854775808", b"1e-400",
)  # fmt: skip
TYPES = (
    b"", b"text/plain", b"application/xml", b"application/x-www-form-urlencoded", b"multipart/form-data; boundary=x",
    b"application/json; charset=utf-16", b"application/json; charset=\xff", b"APPLICATION/JSON", b"application/json;;;",
    b"application/vnd.api+json", b"application/json, text/plain", b"\x80\x81", b"a" * 8_000, b"application/", b"*/*",
)  # fmt: skip
TOKENS = (
    b"", b"Bearer", b"Bearer ", b"Bearer \xff\xfe", b"Basic Og==", b"Bearer " + b"a" * 10_000, b"bearer crk_live_",
    b"Bearer eyJhbGciOiJub25lIn0.e30.", b"Bearer a.b.c", b'Digest username="', b"Bearer %00", b"Bearer a b",
)  # fmt: skip
IDS = (
    b"%00", b"%ff", b"%ED%A0%80", b"x" * 5_000, b"..%2f..%2fetc", b"'%20OR%201=1--", b"%F0%9F%92%A5", b"-1", b"%25",
    b"9" * 5_000, b"%0d%0aX-Evil:%201", b"%", b"%zz", b"..", b".", b"%2e%2e", b"*", b"null", b"%E2%80%AE", b"\xff",
)  # fmt: skip
ENCODINGS = ("utf-16", "utf-32", "utf-16-be", "utf-8-sig", "cp037", "utf-7")


# -- bodies ---------------------------------------------------------------------------------------------------------


def flip(chance: random.Random, body: bytes) -> bytes:
    """Flip one to eight bits."""
    changed = bytearray(body)
    for _ in range(chance.randint(1, 8) if changed else 0):
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def cut(chance: random.Random, body: bytes) -> bytes:
    """Leave the end out."""
    return body[: chance.randrange(len(body) + 1)]


def insert(chance: random.Random, body: bytes) -> bytes:
    """Put bytes in somewhere."""
    place = chance.randrange(len(body) + 1)
    return body[:place] + chance.randbytes(chance.choice((1, 2, 4, 64, 2_000))) + body[place:]


def repeat(chance: random.Random, body: bytes) -> bytes:
    """Say a part twice, or many times."""
    first, last = sorted((chance.randrange(len(body) + 1), chance.randrange(len(body) + 1)))
    return body[:last] + body[first:last] * chance.choice((1, 2, 50)) + body[last:]


def swap_value(chance: random.Random, body: bytes) -> bytes:
    """Put a value that nobody should send in the place of one, or of all, or of the whole."""
    fields = _fields(body)
    if not fields or chance.random() < 0.1:
        return chance.choice(VALUES)
    name = chance.choice(list(fields))
    return _written([(each, chance.choice(VALUES) if each == name else value) for each, value in fields.items()])


def double_keys(chance: random.Random, body: bytes) -> bytes:
    """Name one field twice, with different values."""
    fields = list(_fields(body).items())
    if not fields:
        return b'{"a":1,"a":2}'
    name, _ = chance.choice(fields)
    return _written([*fields, (name, chance.choice(VALUES))])


def odd_names(chance: random.Random, body: bytes) -> bytes:
    """Add or rename a field to something that is no name."""
    name = chance.choice(("", "\0", "\ud800", "x" * 20_000, "__proto__", "company_id", "id", "$ref", "\u202e", "a.b"))
    return _written([*_fields(body).items(), (name, chance.choice(VALUES[:20]))])


def nest(chance: random.Random, body: bytes) -> bytes:
    """Wrap the body, or one value, into many levels."""
    depth = chance.choice((5, 13, 40, 990, 5_000, 100_000))
    before, after = chance.choice(((b"[", b"]"), (b'{"a":', b"}"), (b"[[", b"]")))
    fields = _fields(body)
    if not fields or chance.random() < 0.5:
        return before * depth + body + after * depth
    name = chance.choice(list(fields))
    deep = before * depth + b"1" + after * depth
    return _written([(each, deep if each == name else value) for each, value in fields.items()])


def encode(chance: random.Random, body: bytes) -> bytes:
    """Write it in another encoding, or pack it."""
    if chance.random() < 0.2:
        return gzip.compress(body, mtime=0)
    return body.decode("utf-8", "replace").encode(chance.choice(ENCODINGS), "replace")


def swell(chance: random.Random, body: bytes) -> bytes:
    """Make it as large as is allowed, or a little larger."""
    size = chance.choice((60_000, 65_537, 1_048_576, 1_048_577))
    return body + b" " * max(0, size - len(body)) if chance.random() < 0.5 else b'"' + b"a" * (size - 2) + b'"'


def garble(chance: random.Random, body: bytes) -> bytes:
    """Send noise."""
    return chance.randbytes(chance.choice((0, 1, 3, 100, 4_000)))


Change = Callable[[random.Random, bytes], bytes]
CHANGES: tuple[Change, ...] = (
    flip, flip, cut, cut, insert, repeat, swap_value, swap_value, swap_value, double_keys, odd_names, nest, encode,
    garble,
)  # fmt: skip


def _fields(body: bytes) -> dict[str, bytes]:
    """Return the fields of a JSON object, each value as it is written; of anything else none."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return {name: json.dumps(inner).encode() for name, inner in value.items()} if isinstance(value, dict) else {}


def _written(fields: Sequence[tuple[str, bytes]]) -> bytes:
    return b"{" + b",".join(json.dumps(name).encode() + b":" + value for name, value in fields) + b"}"


# -- whole requests -------------------------------------------------------------------------------------------------


def plain(aim: Aim, kind: str) -> Shot:
    """Return the request as it is."""
    return Shot(kind, _name(aim), _request(aim, aim.headers, b"content-length: %d\r\n" % len(aim.body), aim.body))


def with_body(chance: random.Random, aim: Aim) -> Shot:
    """Change the body, once or twice."""
    change = chance.choice(CHANGES) if chance.random() > 0.004 else swell
    body = change(chance, aim.body)
    if change is not swell and chance.random() < 0.25:
        body = chance.choice(CHANGES)(chance, body)
    return plain(replace(aim, body=body), f"body: {change.__name__}")


def with_header(chance: random.Random, aim: Aim) -> Shot:
    """Change the kind of the body, the token, or another header; sometimes the body too."""
    name, values = chance.choice(((b"content-type", TYPES), (b"authorization", TOKENS)))
    value = chance.choice(values) if chance.random() < 0.7 else flip(chance, dict(aim.headers).get(name, b"x"))
    value = value.translate(None, b"\r\n\0")
    kept = tuple(pair for pair in aim.headers if pair[0] != name or chance.random() < 0.05)
    more = chance.choice(
        ((), ((b"x-odd", bytes(chance.choices(range(32, 256), k=30))),), ((b"expect", b"100-continue"),))
    )
    changed = replace(aim, headers=(*kept, (name, value), *more))
    if chance.random() < 0.3:
        changed = replace(changed, body=chance.choice(CHANGES)(chance, aim.body))
    return plain(changed, f"header: {name.decode()}")


def with_path(chance: random.Random, aim: Aim) -> Shot:
    """Change an id in the path, or add a query that nobody asked for."""
    address = aim.address
    if aim.ids and "{" in aim.path and chance.random() < 0.8:
        name = chance.choice([each for each in aim.ids if f"{{{each}}}" in aim.path])
        address = address.replace(aim.ids[name].encode(), chance.choice(IDS), 1)
    else:
        address += b"?" + chance.choice(IDS) + b"=" + chance.choice(IDS)
    head = b"content-length: %d\r\n" % len(aim.body)
    return Shot("path", _name(aim), _request(aim, aim.headers, head, aim.body, address), ends=True)


def with_framing(chance: random.Random, aim: Aim) -> Shot:
    """Lie about the body's length, or cut it into odd chunks."""
    body, size = aim.body, len(aim.body)
    lengths = (size + 5, max(0, size - 5), -1, 10**25, f"{size}, {size}", f"+{size}", "0x10", "", " ", "1e3", "\xb2")
    pieces = (
        b"%x\r\n%b\r\n0\r\n\r\n" % (size, body),
        b"%x;a=b\r\n%b\r\n0\r\nx-trailer: 1\r\n\r\n" % (size, body),
        b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n",
        b"%x\r\n%b\r\n" % (size + 9, body),
        b"zz\r\n%b\r\n0\r\n\r\n" % body,
        b"-1\r\n%b\r\n0\r\n\r\n" % body,
        b"f" * 40 + b"\r\n" + body,
        b"%x\n%b\n0\n\n" % (size, body),
        b"%x\r\n%b\r\n0\r\n" % (size, body),
    )
    if chance.random() < 0.5:
        length = str(chance.choice(lengths)).encode("latin-1")
        head, sent = b"content-length: " + length + b"\r\n" * (1 + (chance.random() < 0.02)), body
        head = head * chance.choice((1, 1, 1, 2))
    else:
        head, sent = b"transfer-encoding: chunked\r\n", chance.choice(pieces)
        head += b"content-length: %d\r\n" % size if chance.random() < 0.2 else b""
    return Shot("framing", _name(aim), _request(aim, aim.headers, head, sent), ends=True)


def shot(chance: random.Random, aims: Sequence[Aim]) -> Shot:
    """Return the next request: mostly a changed body, at times changed headers, path or framing, or none of it."""
    aim, draw = chance.choice(aims), chance.random()
    if draw < 0.02:
        return plain(aim, "as it should be")
    make = with_body if draw < 0.7 else with_header if draw < 0.85 else with_path if draw < 0.93 else with_framing
    return make(chance, aim)


def aims_of(
    document: Any, headers: tuple[Header, ...], ids: Mapping[str, str], body_of: Callable[[Any], Any]
) -> list[Aim]:
    """Return a valid request for each operation that takes a body; `body_of` makes an example out of a schema."""
    found = []
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            for media, content in operation.get("requestBody", {}).get("content", {}).items():
                example = body_of(content.get("schema", {}))
                body = example if isinstance(example, str) else json.dumps(example)
                kind = (b"content-type", media.encode())
                found.append(Aim(method.upper(), path, ids, (*headers, kind), body.encode()))
    return found


def _name(aim: Aim) -> str:
    return f"{aim.method} {aim.path}"


def _request(aim: Aim, headers: Sequence[Header], head: bytes, body: bytes, address: bytes = b"") -> bytes:
    lines = b"".join(b"%b: %b\r\n" % pair for pair in headers)
    return b"%b %b HTTP/1.1\r\nhost: localhost\r\n%b%b\r\n%b" % (
        aim.method.encode(), address or aim.address, lines, head, body,
    )  # fmt: skip
