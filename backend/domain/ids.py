"""Identifiers: random ones for rows, stable hashes for what must come out the same again."""

from __future__ import annotations

import hashlib
import os
import time


def new_id() -> str:
    """Return a fresh identifier of 32 hexadecimal digits that sorts by the time it was made.

    Rows made one after another so lie side by side in every index; the second half is random.
    """
    return f"{time.time_ns():016x}{os.urandom(8).hex()}"


def stable_id(prefix: str, *parts: str | int) -> str:
    """Return the same identifier for the same parts: `prefix`, an underscore, 32 hexadecimal digits."""
    text = "\x1f".join(str(part) for part in parts)
    return f"{prefix}_{hashlib.blake2b(text.encode('utf-8', 'surrogatepass'), digest_size=16).hexdigest()}"


def event_id(integration: str, cart: str, episode: int, event_type: str, revision: str = "") -> str:
    """Return the id under which partners dedupe: integration, cart, episode and type name one happening.

    `cart` is our cart id, which is unique over all companies. `revision` belongs to `cart.updated` only.
    """
    return stable_id("evt", integration, cart, episode, event_type, revision)
