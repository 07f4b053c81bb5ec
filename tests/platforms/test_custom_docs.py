"""The examples in docs/custom-platform.md are what the adapter reads and sends."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import yaml

from backend.platforms.custom.records import RecordReader
from backend.platforms.custom.settings import (
    CustomCredentials,
    CustomOptions,
    CustomSettings,
    Outgoing,
    auth_headers,
)

PAGE = (Path(__file__).parents[2] / "docs" / "custom-platform.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def example() -> dict[str, Any]:
    body: dict[str, Any] = json.loads(blocks("json")[0])
    return body


def test_the_example_cart_is_read_whole() -> None:
    page = RecordReader("shop", {}).page(example()["carts"], datetime(2026, 11, 20, 10, tzinfo=UTC))
    (cart,) = page.carts
    assert (page.unreadable, cart.total, cart.lines[1].line_total) == ((), Decimal("134.85"), Decimal("24.90"))


def test_the_example_cart_adds_up() -> None:
    page = RecordReader("shop", {}).page(example()["carts"], datetime(2026, 11, 20, 10, tzinfo=UTC))
    (cart,) = page.carts
    assert cart.subtotal == sum(line.line_total for line in cart.lines)
    assert cart.total == cart.subtotal - (cart.discount or 0)


def test_the_vector_is_what_we_send() -> None:
    vector = dict(line.split(maxsplit=1) for line in blocks("text")[1].splitlines())
    stamp, method, target = vector["text"].rstrip(".").split(".", 2)
    outgoing = Outgoing(method, target, datetime.fromtimestamp(int(stamp), UTC))
    sent = auth_headers(CustomOptions(auth="hmac"), {"secret": vector["secret"]}, outgoing)
    assert sent == {"X-Timestamp": vector["timestamp"], "X-Signature": vector["signature"]}


def test_the_settings_are_valid() -> None:
    (integration,) = yaml.safe_load(blocks("yaml")[1])["integrations"]
    settings = CustomSettings.model_validate({name: integration[name] for name in ("base_url", "options")})
    assert settings.store_id == "shop.example.com/shop-api"
    assert CustomCredentials.model_validate(integration["credentials"]).token == "env:ACME_SHOP_TOKEN"


def test_the_field_paths_are_valid() -> None:
    assert set(CustomOptions.model_validate(yaml.safe_load(blocks("yaml")[0])["options"]).fields) == {
        "id",
        "email",
        "total",
    }
