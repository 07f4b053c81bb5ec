"""Identifiers: random ones for rows, stable hashes for what must come out the same again."""

from __future__ import annotations

import hashlib
import itertools
import os
import time

_turns = itertools.count(int.from_bytes(os.urandom(8), "big"))


def _begin_again() -> None:
    """Give a forked process turns of its own."""
    global _turns  # noqa: PLW0603
    _turns = itertools.count(int.from_bytes(os.urandom(8), "big"))


os.register_at_fork(after_in_child=_begin_again)


def new_id() -> str:
    """Return a fresh identifier of 32 hexadecimal digits that sorts by the time it was made.

    Rows made one after another so lie side by side in every index. The second half counts from a random number, so
    two processes never agree on it.
    """
    return f"{time.time_ns():016x}{next(_turns) & 0xFFFFFFFFFFFFFFFF:016x}"


def stable_id(prefix: str, *parts: str | int) -> str:
    """Return the same identifier for the same parts: `prefix`, an underscore, 32 hexadecimal digits."""
    text = "\x1f".join(str(part) for part in parts)
    return f"{prefix}_{hashlib.blake2b(text.encode('utf-8', 'surrogatepass'), digest_size=16).hexdigest()}"


def event_id(integration: str, cart: str, episode: int, event_type: str, revision: str = "") -> str:
    """Return the id under which partners dedupe: integration, cart, episode and type name one happening.

    `cart` is our cart id, which is unique over all companies. `revision` belongs to `cart.updated` only.
    """
    return stable_id("evt", integration, cart, episode, event_type, revision)
