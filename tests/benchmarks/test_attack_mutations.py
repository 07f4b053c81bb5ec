"""Requests gone wrong: a seed repeats them, and no body is beyond being changed."""

from __future__ import annotations

import random

import pytest

from benchmarks.attack_mutations import CHANGES, Aim, Change, aims_of, shot, swell

DOCUMENT = {
    "paths": {
        "/things": {"get": {}, "post": {"requestBody": {"content": {"application/json": {"schema": {"title": "t"}}}}}},
        "/things/{id}": {"put": {"requestBody": {"content": {"text/plain": {}}}}},
    }
}


def aims() -> list[Aim]:
    return aims_of(
        DOCUMENT, ((b"authorization", b"Bearer k"),), {"id": "7"}, lambda schema: {"a": 1} if schema else "x"
    )


def test_every_operation_that_takes_a_body_is_aimed_at() -> None:
    found = {(aim.method, aim.address, aim.body, dict(aim.headers)[b"content-type"]) for aim in aims()}
    assert found == {
        ("POST", b"/things", b'{"a": 1}', b"application/json"),
        ("PUT", b"/things/7", b"x", b"text/plain"),
    }


def test_a_seed_repeats_every_request() -> None:
    first, second, other = (random.Random(seed) for seed in (1, 1, 2))
    drawn = [shot(first, aims()) for _ in range(300)]
    assert drawn == [shot(second, aims()) for _ in range(300)]
    assert drawn != [shot(other, aims()) for _ in range(300)]


@pytest.mark.parametrize("change", dict.fromkeys((*CHANGES, swell)), ids=lambda change: change.__name__)
def test_any_body_can_be_changed(change: Change) -> None:
    chance = random.Random(3)
    for body in (b"", b"[" * 5_000, b'{"a": 1}', b"\xff\xfe", b'{"a": "\\ud800"}', b"7") * 20:
        assert isinstance(change(chance, body), bytes)
