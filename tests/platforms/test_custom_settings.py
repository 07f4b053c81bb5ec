"""What a company may say of its custom store, and what is refused before any request."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from backend.platforms.custom import CustomPlatform
from backend.platforms.custom.settings import CustomSettings
from tests.platforms.custom_store import CREDENTIALS


@pytest.mark.parametrize(
    ("base_url", "store_id"),
    [
        ("https://Shop.Example.com/api/", "shop.example.com/api"),
        ("https://shop.example.com:443/api", "shop.example.com/api"),
        ("https://shop.example.com:8443", "shop.example.com:8443"),
    ],
)
def test_a_store_is_the_same_however_its_address_is_spelt(base_url: str, store_id: str) -> None:
    assert CustomSettings(base_url=base_url).store_id == store_id


@pytest.mark.parametrize(
    "settings",
    [
        {"base_url": "http://shop.example.com"},
        {"base_url": "ftp://shop.example.com"},
        {"base_url": "shop.example.com"},
        {"base_url": "https://"},
        {"base_url": "https://shop.example.com:99999"},
        {"base_url": "https://u:p@shop.example.com"},
        {"base_url": "https://shop.example.com/?a=1"},
        {"base_url": "https://shop.example.com/#a"},
        {"base_url": "https://shop.example.com", "shop": "x"},
        {"base_url": "https://shop.example.com", "options": {"auth": "oauth"}},
        {"base_url": "https://shop.example.com", "options": {"header_name": "Host"}},
        {"base_url": "https://shop.example.com", "options": {"header_name": "X Key"}},
        {"base_url": "https://shop.example.com", "options": {"page_size": 0}},
        {"base_url": "https://shop.example.com", "options": {"fields": {"colour": "a"}}},
        {"base_url": "https://shop.example.com", "options": {"fields": {"id": "a..b"}}},
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        CustomPlatform.Settings.model_validate(settings)


@pytest.mark.parametrize("credentials", CREDENTIALS.values())
def test_credentials_of_one_kind_are_taken(credentials: dict[str, str]) -> None:
    assert CustomPlatform.Credentials.model_validate(credentials).model_dump(exclude_none=True) == credentials


@pytest.mark.parametrize(
    "credentials",
    [
        {},
        {"username": "u"},
        {"token": "t", "secret": "s"},
        {"token": ""},
        {"token": "two words"},
        {"token": "line\r\nbreak"},
        {"token": "clé"},
        {"username": "a:b", "password": "p"},
    ],
)
def test_credentials_that_cannot_be_sent_are_refused(credentials: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        CustomPlatform.Credentials.model_validate(credentials)
