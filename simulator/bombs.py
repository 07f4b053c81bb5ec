"""Compressed bodies that are small on the wire and large in memory; each is made once."""

from __future__ import annotations

import gzip
import zlib
from functools import cache

MIB = 1024 * 1024
WHOLE = 128 * MIB
JUST_TAKEN = 19 * MIB  # a poller takes 20


@cache
def gzipped() -> bytes:
    """Return 128 KiB that inflate to 128 MiB."""
    return gzip.compress(b" " * WHOLE)


@cache
def deflated() -> bytes:
    """Return the same in the other encoding."""
    return zlib.compress(b" " * WHOLE)


@cache
def of_values() -> bytes:
    """Return millions of empty lists, gzipped."""
    return gzip.compress(b'{"carts": [' + b"[]," * (6 * MIB) + b"[]]}", compresslevel=1)


@cache
def unfinished() -> bytes:
    """Return the first part of a gzipped body, which inflates to just under the most that is taken."""
    engine = zlib.compressobj(wbits=16 + zlib.MAX_WBITS)
    return engine.compress(b" " * JUST_TAKEN) + engine.flush(zlib.Z_SYNC_FLUSH)
