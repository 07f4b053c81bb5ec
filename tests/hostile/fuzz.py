"""Sound JSON bent out of shape, the same way for the same seed."""

from __future__ import annotations

import copy
import random
from typing import Any

ODD: tuple[Any, ...] = (
    None, True, -1, 0, 1.5, 1e308, -0.0, 2**63, 2**64 - 1, "", " ", "x", "\x00", "x" * 5000, "9" * 5000, "NaN",
    "Infinity", "gid://shopify/AbandonedCheckout/" + "9" * 5000, "\N{LATIN SMALL LETTER SHARP S}" * 3, "-1e400",
    "1e999999", "\N{RIGHT-TO-LEFT OVERRIDE}abc", [], {}, [[]], [None], {"a": {}}, "2026-11-20T12:00:00Z",
    "2099-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2026-02-30T00:00:00Z",
    "http://[", "//[::1", "a@b@c",
)  # fmt: skip


def bent(value: Any, seed: int) -> Any:
    """Return a copy of a JSON value in which one to three places are replaced, taken away, repeated or renamed."""
    chance = random.Random(seed)
    changed = copy.deepcopy(value)
    for _ in range(chance.randint(1, 3)):
        places = list(_places(changed))
        if not places:
            return chance.choice(ODD)
        _bend(*chance.choice(places), chance)
    return changed


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Return every (holder, key) below a value."""
    found: list[tuple[Any, Any]] = []
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        found.append((value, key))
        found += _places(value[key])
    return found


def _bend(holder: Any, key: Any, chance: random.Random) -> None:
    way = chance.randrange(8)
    if way == 0:
        del holder[key]
    elif way == 1 and isinstance(holder, list):
        holder.extend([holder[key]] * 3)
    elif way == 1:
        holder[f"{key}_"] = holder.pop(key)
    else:
        holder[key] = copy.deepcopy(chance.choice(ODD))
