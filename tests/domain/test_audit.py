"""The audit chain: whatever is edited, deleted, reordered or inserted shows, at the first record that it concerns."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from backend.domain.audit import START, Break, Chain, Head, Link, Record, canonical, linked, pseudonym, sign_head

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
KEY = b"k" * 32
KEYS = {1: KEY}
Tampering = Callable[[list[Link], int, random.Random], list[Link]]


def record(seq: int, **changes: Any) -> Record:
    values: dict[str, Any] = {
        "company_id": "acme",
        "seq": seq,
        "at": NOON + timedelta(seconds=seq),
        "actor": "key:k1",
        "action": "integration.changed",
        "subject": f"integration:{seq % 7}",
        "details": {"fields": ["name"]},
    }
    return Record(**values | changes)


def chain(length: int) -> list[Link]:
    links: list[Link] = []
    for seq in range(1, length + 1):
        links.append(linked(record(seq), links[-1].hash if links else START))
    return links


def first_break(links: list[Link], heads: list[Head], keys: dict[int, bytes] | None) -> Break | None:
    """Read a chain again to its end, or to its first break."""
    read = Chain("acme", heads, keys)
    all(read.holds(link) for link in links)
    return read.end()


WHOLE = chain(50)
HEAD = sign_head(KEY, 1, ("acme", 50, WHOLE[-1].hash), NOON)


def edit(links: list[Link], at: int, luck: random.Random) -> list[Link]:
    changes: dict[str, Any] = luck.choice(
        [{"actor": "key:k2"}, {"action": "x"}, {"subject": "y"}, {"details": {}}, {"at": NOON}, {"company_id": "bolt"}]
    )
    return [*links[:at], replace(links[at], record=replace(links[at].record, **changes)), *links[at + 1 :]]


def rehash(links: list[Link], at: int, luck: random.Random) -> list[Link]:
    """Edit a record and hash it, and all behind it, anew: only the signed head tells."""
    forged = links[:at]
    for link in links[at:]:
        changed = replace(link.record, actor="key:k2") if len(forged) == at else link.record
        forged.append(linked(changed, forged[-1].hash if forged else START))
    return forged


def delete(links: list[Link], at: int, luck: random.Random) -> list[Link]:
    return links[:at] + links[at + 1 :]


def cut(links: list[Link], at: int, luck: random.Random) -> list[Link]:
    return links[:at]


def swap(links: list[Link], at: int, luck: random.Random) -> list[Link]:
    other = luck.choice([place for place in range(len(links)) if place != at])
    swapped = list(links)
    swapped[at], swapped[other] = swapped[other], swapped[at]
    return swapped


def insert(links: list[Link], at: int, luck: random.Random) -> list[Link]:
    before = links[at - 1].hash if at else START
    return [*links[:at], linked(record(at + 1, actor="key:k2"), before), *links[at:]]


TAMPERINGS: list[Tampering] = [edit, rehash, delete, cut, swap, insert]


def test_a_chain_that_nobody_touched_holds() -> None:
    assert first_break(WHOLE, [HEAD], KEYS) is None


def test_an_empty_chain_holds() -> None:
    assert first_break([], [], KEYS) is None


@pytest.mark.parametrize("tamper", TAMPERINGS)
@pytest.mark.parametrize("at", [0, 1, 24, 48, 49])
def test_tampering_shows_at_the_first_record_it_concerns(tamper: Tampering, at: int) -> None:
    forged = tamper(WHOLE, at, random.Random(at))
    found = first_break(forged, [HEAD], KEYS)
    first = next((place for place, (a, b) in enumerate(zip(forged, WHOLE, strict=False)) if a != b), at)
    # What is well made in itself shows at the record behind it, or where the chain was signed.
    expected = {"rehash": 50, "insert": min(first + 2, 50)}.get(tamper.__name__, first + 1)
    assert found is not None
    assert found.seq == expected


def test_a_thousand_random_tamperings_are_all_found() -> None:
    luck = random.Random(7)
    found = [first_break(luck.choice(TAMPERINGS)(WHOLE, luck.randrange(50), luck), [HEAD], KEYS) for _ in range(1000)]
    assert None not in found


@pytest.mark.parametrize(
    "changes",
    [
        {"seq": 49},
        {"hash": bytes(32)},
        {"company_id": "bolt"},
        {"signed_at": NOON + timedelta(days=1)},
        {"key_version": 2},
    ],
)
def test_a_head_that_was_changed_bears_no_signature_of_ours(changes: dict[str, Any]) -> None:
    found = first_break(WHOLE, [replace(HEAD, **changes)], KEYS)
    assert found is not None
    assert "signature" in found.why


def test_without_the_key_the_chain_itself_is_still_looked_at() -> None:
    forged = Head("acme", 50, WHOLE[-1].hash, NOON, 1, b"")
    assert first_break(WHOLE, [forged], None) is None
    assert first_break(delete(WHOLE, 3, random.Random(1)), [forged], None) is not None


def test_the_same_record_is_always_the_same_bytes() -> None:
    first = record(1, details={"b": 1, "a": [2]})
    second = record(1, details={"a": [2], "b": 1}, at=first.at.astimezone(UTC))
    assert canonical(first) == canonical(second)


def test_a_pseudonym_is_the_same_for_one_person_and_tells_nothing_without_the_key() -> None:
    names = [
        pseudonym(KEY, "Ada@example.com "),
        pseudonym(KEY, "ada@example.com"),
        pseudonym(b"x" * 32, "ada@example.com"),
    ]
    assert (names[0] == names[1], names[0] == names[2], "ada" in names[0], len(names[0])) == (True, False, False, 16)
