"""API keys: their shape, their checksum, and what is kept of them."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.domain.api_keys import DIGITS, KEY, hash_of, is_whole, make_key, shown_part

LIVE = "crk_live_nN1NsLLwyFcVJmmaXRcro2N66XozR2FFDREwIi9l4c52Olc8U"  # made once, for these tests


@pytest.mark.parametrize(("is_live", "head"), [(True, "crk_live_"), (False, "crk_dev_")])
def test_a_key_tells_its_kind_and_is_whole(is_live: bool, head: str) -> None:
    key = make_key(is_live=is_live)
    assert (key.startswith(head), len(key), is_whole(key)) == (True, len(head) + 49, True)


def test_no_two_keys_are_alike() -> None:
    assert len({make_key(is_live=True) for _ in range(1000)}) == 1000


@given(st.integers(min_value=0, max_value=len(LIVE) - 1), st.sampled_from(DIGITS))
def test_a_mistyped_character_shows(place: int, digit: str) -> None:
    typed = LIVE[:place] + digit + LIVE[place + 1 :]
    assert is_whole(typed) is (typed == LIVE)


MALFORMED = {
    "nothing": "",
    "a head alone": "crk_live_",
    "cut off": LIVE[:-1],
    "too long": LIVE + "0",
    "a blank before": f" {LIVE}",
    "a line end behind": LIVE + "\n",
    "capitals": LIVE.upper(),
    "other digits": "crk_live_" + "٣" * 49,
}


@pytest.mark.parametrize("text", MALFORMED.values(), ids=MALFORMED)
def test_what_is_no_key_is_told_without_a_database(text: str) -> None:
    assert not is_whole(text)


@given(st.text())
def test_any_text_gets_an_answer(text: str) -> None:
    assert is_whole(text) is False or KEY.fullmatch(text) is not None


def test_a_key_is_named_by_its_first_characters() -> None:
    assert shown_part(LIVE) == LIVE[: len("crk_live_") + 8]


def test_a_sha_256_is_kept() -> None:
    assert hash_of(LIVE) == hashlib.sha256(LIVE.encode()).digest()
