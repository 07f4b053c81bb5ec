"""Reading a body that may be hostile: bounded bytes, bounded inflation, guarded JSON."""

from __future__ import annotations

import json
import zlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import orjson

from backend.errors import BadBody, BodyTooLarge

PLAIN = frozenset({"", "identity"})
COMPRESSED = frozenset({"gzip", "x-gzip", "deflate"})
GZIP_WINDOW = 16 + zlib.MAX_WBITS
ZLIB_WINDOW = zlib.MAX_WBITS
RAW_WINDOW = -zlib.MAX_WBITS

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
DIGITS_TO_ZERO = bytes(0x30 if 0x30 <= byte <= 0x39 else 0x20 for byte in range(256))
SUSPICIOUS_RUN = b"0" * 19  # the fewest digits that an integer outside 64 bits can have


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """How many bytes of one answer to take off the wire, and to make of them. `truncate`: stop there without error."""

    raw: int
    inflated: int
    truncate: bool = False


async def read_body(chunks: AsyncIterator[bytes], encoding: str, limits: BodyLimits) -> bytes:
    """Return the whole body, inflated if `encoding` (the Content-Encoding header) says so.

    Raises `BodyTooLarge`, and `BadBody` for an encoding we did not ask for or a body that is not what it says.
    """
    encoding = encoding.strip().lower()
    inflater: _Inflater | None = None
    pieces: list[bytes] = []
    room = limits.raw
    async for chunk in chunks:
        if inflater is None and encoding not in PLAIN:
            inflater = _Inflater(encoding, limits)  # made here, because an empty body needs none, whatever it is called
        kept = chunk if len(chunk) <= room else chunk[:room]
        pieces.append(inflater.feed(kept) if inflater else kept)
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

    def feed(self, chunk: bytes) -> bytes:
        """Return what `chunk` inflates to."""
        if self._engine is None:
            self._engine = zlib.decompressobj(self._window(chunk))
        try:
            # One byte more than there is room for tells "exactly full" from "too much".
            made = self._engine.decompress(chunk, self._room + 1)
        except zlib.error:
            raise BadBody("the compressed answer is damaged") from None
        if self._engine.unused_data:
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

    Raises `BadBody` for anything that is not strict UTF-8 JSON (NaN and Infinity are not), is nested deeper than 254
    levels (what orjson can write back) or holds an integer outside 64 bits (orjson would make it a float).
    """
    body = body.removeprefix(BYTE_ORDER_MARK)  # some PHP sites send one
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError as exc:
        raise BadBody(f"the answer is not JSON: {exc.msg} at byte {exc.pos}") from None
    try:
        orjson.dumps(parsed)  # far cheaper than a walk in Python, and it refuses deep nesting
    except TypeError:
        raise BadBody("the answer is nested too deeply") from None
    # Hardly any answer has so long a run of digits, and inside a string it does no harm: a second parse tells.
    if SUSPICIOUS_RUN in body.translate(DIGITS_TO_ZERO):
        json.loads(body.decode(), parse_int=_refuse_over_long)
    return parsed


def _refuse_over_long(digits: str) -> None:
    """Raise `BadBody` for an integer that 64 bits do not hold."""
    if len(digits) > len("-9223372036854775808") or not -(2**63) <= int(digits) < 2**64:
        raise BadBody("the answer holds an integer that is too long")
