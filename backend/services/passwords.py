"""Passwords as argon2id hashes, off the event loop and some at a time."""

from __future__ import annotations

import asyncio
import hashlib
import os

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.low_level import Type

AT_ONCE = 2  # each takes a core and 19 MiB for some 20 ms

# OWASP's password storage cheat sheet: argon2id with 19 MiB, two passes, one lane.
_HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1, type=Type.ID)


class Passwords:
    """Hashes and compares. A person who does not exist costs as much time as one who does."""

    def __init__(self) -> None:
        self._room = asyncio.Semaphore(AT_ONCE)
        self._nobody = _HASHER.hash(os.urandom(16).hex())

    async def hash(self, password: str) -> str:
        """Return what is stored of a password, in argon2's own form with its parameters and salt."""
        async with self._room:
            return await asyncio.to_thread(_HASHER.hash, password)

    async def fits(self, stored: str | None, password: str) -> bool:
        """Whether this is the password; with nothing stored, no, after the same work."""
        async with self._room:
            fits = await asyncio.to_thread(_verify, stored or self._nobody, password)
        return fits and stored is not None


def _verify(stored: str, password: str) -> bool:
    try:
        return _HASHER.verify(stored, password)
    except (VerificationError, InvalidHashError):
        return False


def needs_rehash(stored: str) -> bool:
    """Whether a hash was made with parameters other than today's."""
    return _HASHER.check_needs_rehash(stored)


def code_hash(code: str) -> str:
    """Return what is kept of a recovery code: it is random, so no slow hash is needed."""
    return hashlib.sha256(code.encode()).hexdigest()
