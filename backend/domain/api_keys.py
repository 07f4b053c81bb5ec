"""API keys: what they look like, and what is kept of them.

A key is `crk_`, its kind of installation (`live_` or `dev_`), 32 random bytes in base62 (43 characters) and a checksum
of 6, so that a mistyped or cut key is told from a wrong one without asking the database, and secret scanners know it by
its shape. At rest there is only its SHA-256: 256 random bits need no slow hash.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import string
import zlib

DIGITS = string.digits + string.ascii_uppercase + string.ascii_lowercase
RANDOM_BYTES, RANDOM_DIGITS, CHECK_DIGITS = 32, 43, 6
KEY_HEAD = "crk_"
SHOWN = 8  # digits of the random part that name a key in lists and logs
KEY = re.compile(r"crk_(?:live|dev)_[0-9A-Za-z]{49}", re.ASCII)


def make_key(*, is_live: bool) -> str:
    """Return a new key; it is shown once and cannot be read again."""
    head = "crk_live_" if is_live else "crk_dev_"
    body = _base62(int.from_bytes(secrets.token_bytes(RANDOM_BYTES)), RANDOM_DIGITS)
    return head + body + _checksum(head + body)


def is_whole(key: str) -> bool:
    """Whether a text has the shape of a key and its checksum fits."""
    return KEY.fullmatch(key) is not None and _checksum(key[:-CHECK_DIGITS]) == key[-CHECK_DIGITS:]


def shown_part(key: str) -> str:
    """Return how a key is named in lists and logs: its head and the first digits."""
    return key[: key.rindex("_") + 1 + SHOWN]


def hash_of(key: str) -> bytes:
    """Return what is kept of a key: 32 bytes."""
    return hashlib.sha256(key.encode()).digest()


def _checksum(text: str) -> str:
    return _base62(zlib.crc32(text.encode()), CHECK_DIGITS)


def _base62(number: int, width: int) -> str:
    digits = ""
    while number:
        number, digit = divmod(number, 62)
        digits = DIGITS[digit] + digits
    return digits.rjust(width, "0")
