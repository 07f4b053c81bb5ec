"""Reading a body that may be hostile: bounded bytes, bounded inflation, guarded JSON."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from backend.errors import BadBody, BodyTooLarge
from backend.outbound.room import Room

PLAIN = frozenset({"", "identity"})
COMPRESSED = frozenset({"gzip", "x-gzip", "deflate"})
GZIP_WINDOW = 16 + zlib.MAX_WBITS
ZLIB_WINDOW = zlib.MAX_WBITS
RAW_WINDOW = -zlib.MAX_WBITS
STEP_BYTES = 256 * 1024  # inflated at a time

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
DIGITS_TO_ZERO = bytes(0x30 if 0x30 <= byte <= 0x39 else 0x20 for byte in range(256))
SUSPICIOUS_RUN = b"0" * 19  # the fewest digits that an integer outside 64 bits can have
# Parsed, a value takes up to a hundred times the room of its bytes ("[],[],[]"). Each needs at least one of these
# marks, so their number bounds the memory; twice as many as the largest sound page has.
MARKS = (b",", b":", b"[", b"{")
MOST_MARKS = 2_000_000
# In a JSON string, behind any escaped backslashes: a pair of surrogates, or half of one.
SURROGATE = re.compile(
    rb"(?<!\\)((?:\\\\)*)\\u(?:[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|([dD][89a-fA-F][0-9a-fA-F]{2}))"
)
MENDED_UP_TO = 4 * 1024 * 1024  # bytes; looking for halves takes a tenth of a second for so many
REPLACEMENT = rb"\ufffd"


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """How many bytes of one answer to take off the wire, and to make of them. `truncate`: stop there without error."""

    raw: int
    inflated: int
    truncate: bool = False


async def read_body(chunks: AsyncIterator[bytes], encoding: str, limits: BodyLimits, held: Room) -> bytes:
    """Return the whole body, inflated if `encoding` (the Content-Encoding header) says so.

    Raises `BodyTooLarge`, and `BadBody` for an encoding we did not ask for or a body that is not what it says.
    """
    encoding = encoding.strip().lower()
    inflater: _Inflater | None = None
    pieces: list[bytes] = []
    room, size = limits.raw, 0
    async for chunk in chunks:
        if inflater is None and encoding not in PLAIN:
            inflater = _Inflater(encoding, limits)  # made here, because an empty body needs none, whatever it is called
        kept = chunk if len(chunk) <= room else chunk[:room]
        made: Iterable[bytes] = inflater.feed(kept) if inflater else (kept,)
        for piece in made:
            size += len(piece)
            await held.hold(size)
            pieces.append(piece)
        if len(chunk) > room and not limits.truncate:
            raise BodyTooLarge(f"the answer is longer than {limits.raw} bytes")
        room -= len(kept)
        if limits.truncate and (room == 0 or (inflater is not None and inflater.is_full)):
            return b"".join(pieces)
    if inflater is not None:
        inflater.finish()
    return b"".join(pieces)


class _Inflater:
    """Inflates one body piece by piece, never past the limit. One compressed member only, and nothing behind it."""

    def __init__(self, encoding: str, limits: BodyLimits) -> None:
        if encoding not in COMPRESSED:
            raise BadBody("the answer uses a content encoding that was not asked for")
        self._encoding = encoding
        self._engine: zlib._Decompress | None = None
        self._limits = limits
        self._room = limits.inflated

    @property
    def is_full(self) -> bool:
        """Whether the limit is reached; only a truncated body gets here without an error."""
        return self._room == 0

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Yield what `chunk` inflates to, a step at a time."""
        if self._engine is None:
            self._engine = zlib.decompressobj(self._window(chunk))
        made = self._step(self._engine, chunk)
        while made:
            yield made
            made = self._step(self._engine, self._engine.unconsumed_tail)

    def _step(self, engine: zlib._Decompress, compressed: bytes) -> bytes:
        try:
            # One byte more than there is room for tells "exactly full" from "too much".
            made = engine.decompress(compressed, min(self._room + 1, STEP_BYTES))
        except zlib.error:
            raise BadBody("the compressed answer is damaged") from None
        if engine.unused_data:
            raise BadBody("the compressed answer goes on behind its end")
        if len(made) > self._room:
            if not self._limits.truncate:
                raise BodyTooLarge(f"the answer inflates to more than {self._limits.inflated} bytes")
            made = made[: self._room]
        self._room -= len(made)
        return made

    def finish(self) -> None:
        """Raise `BadBody` if the compressed data ends early."""
        if self._engine is None or not self._engine.eof:
            raise BadBody("the compressed answer ends early")

    def _window(self, first: bytes) -> int:
        """Choose the format; what is called deflate comes with a zlib header (the standard) or without."""
        if self._encoding != "deflate":
            return GZIP_WINDOW
        return ZLIB_WINDOW if first[0] & 0x0F == zlib.DEFLATED else RAW_WINDOW


def parse_json(body: bytes) -> Any:
    """Parse JSON. Floats stay floats; callers read amounts with `to_decimal`.

    Of a key that comes twice, the last value counts. Half a surrogate pair, as a shop leaves it that cuts an emoji in
    two, becomes U+FFFD: one odd name must not stop a whole store.

    Raises `BadBody` for anything that is not strict UTF-8 JSON (NaN and Infinity are not), is nested deeper than 254
    levels (what orjson can write back), holds an integer outside 64 bits (orjson would make it a float) or more values
    than memory should hold.
    """
    body = body.removeprefix(BYTE_ORDER_MARK)  # some PHP sites send one
    if len(body) > MOST_MARKS and sum(map(body.count, MARKS)) > MOST_MARKS:
        raise BadBody("the answer holds too many values")
    parsed = _loaded(body)
    try:
        orjson.dumps(parsed)  # far cheaper than a walk in Python, and it refuses deep nesting
    except TypeError:
        raise BadBody("the answer is nested too deeply") from None
    # Hardly any answer has so long a run of digits, and inside a string it does no harm: a second parse tells.
    if SUSPICIOUS_RUN in body.translate(DIGITS_TO_ZERO):
        json.loads(body.decode(), parse_int=_refuse_over_long)
    return parsed


def _loaded(body: bytes) -> Any:
    """Parse strict JSON, if need be with halves of surrogate pairs replaced."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as exc:
        mended = SURROGATE.sub(_whole, body) if len(body) <= MENDED_UP_TO else body
        if mended != body:
            return _loaded(mended)
        raise BadBody(f"the answer is not JSON: {exc.msg} at byte {exc.pos}") from None


def _whole(found: re.Match[bytes]) -> bytes:
    """Leave a pair of surrogates as it is, and put something that can be written in place of half of one."""
    return found[1] + REPLACEMENT if found[2] else found[0]


def _refuse_over_long(digits: str) -> None:
    """Raise `BadBody` for an integer that 64 bits do not hold."""
    if len(digits) > len("-9223372036854775808") or not -(2**63) <= int(digits) < 2**64:
        raise BadBody("the answer holds an integer that is too long")
