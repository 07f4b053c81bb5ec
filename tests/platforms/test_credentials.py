"""Credentials that no header can carry are refused when they are saved, not at the first poll."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from backend.platforms.registry import PLATFORMS

FIELDS = [
    ("shopify", {"access_token": "{}"}),
    ("magento", {"access_token": "{}"}),
    ("custom", {"token": "{}"}),
    ("custom", {"key": "{}"}),
]


@pytest.mark.parametrize(("platform", "fields"), FIELDS)
@pytest.mark.parametrize("text", ["a b", "shpat_1\nX: y", "hé", "", "a\x00b"])
def test_what_no_header_can_carry_is_refused(platform: str, fields: dict[str, str], text: str) -> None:
    with pytest.raises(ValidationError):
        PLATFORMS[platform].Credentials(**{name: value.format(text) for name, value in fields.items()})


@pytest.mark.parametrize(("platform", "fields"), FIELDS)
def test_blanks_around_a_pasted_key_are_dropped(platform: str, fields: dict[str, str]) -> None:
    pasted = PLATFORMS[platform].Credentials(**{name: value.format(" key-1\n") for name, value in fields.items()})
    assert "key-1" in pasted.model_dump().values()
