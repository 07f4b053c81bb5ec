"""The published contract: what partners really received fits docs/payload.schema.json, and its guide's code works."""

from __future__ import annotations

import copy
import json
import re
import time
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from standardwebhooks.webhooks import Webhook

from backend.config import ROOT
from backend.domain.backoff import DELIVERY_DELAYS
from backend.domain.signing import make_secret, sign
from scripts.small_line import SmallLine, small_line

SCHEMA = json.loads((ROOT / "docs" / "payload.schema.json").read_text(encoding="utf-8"))
GUIDE = (ROOT / "docs" / "payload.md").read_text(encoding="utf-8")
SAMPLE = {"platform": "mock", "name": "sample", "options": {"flavour": "shopify", "seed": "sample"}}
UTC_Z = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


@pytest.fixture
async def line() -> AsyncIterator[SmallLine]:
    """Return a line of its own."""
    async with small_line() as made:
        yield made


async def received(line: SmallLine, *integrations: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what the partner received after one cycle over these stores."""
    await line.configure(list(integrations))
    assert (await line.cycle())["ok"]
    return line.payloads()


def closed(schema: Any) -> Any:
    """Return the schema so that a field it does not describe is a fault."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    made = {name: closed(part) for name, part in schema.items()}
    return {**made, "additionalProperties": False} if "properties" in schema else made


def faults(payload: dict[str, Any]) -> list[str]:
    """Return what is wrong with a payload."""
    return [
        f"{fault.json_path}: {fault.message}" for fault in Draft202012Validator(closed(SCHEMA)).iter_errors(payload)
    ]


def test_the_schema_is_a_schema() -> None:
    Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("flavour", ["shopify", "woocommerce", "custom"])
async def test_what_a_partner_receives_fits_the_published_schema(line: SmallLine, flavour: str) -> None:
    store = {"platform": "mock", "name": "mock", "options": {"flavour": flavour, "seed": "schema", "carts_per_hour": 2}}
    payloads = await received(line, store)
    assert payloads
    assert [fault for payload in payloads for fault in faults(payload)] == []


async def test_a_cart_without_any_contact_fits_the_schema_too(line: SmallLine) -> None:
    payload = (await received(line, SAMPLE))[0]
    bare = copy.deepcopy(payload)
    for name in bare["abandoned_carts"][0]["customer"].keys() - {"is_guest"}:
        bare["abandoned_carts"][0]["customer"][name] = None
    assert faults(bare) == []


@pytest.mark.parametrize("part", ["company", "agent_info", "abandoned_carts", "recovery_analytics"])
async def test_a_payload_without_one_of_its_parts_does_not_fit(line: SmallLine, part: str) -> None:
    payload = (await received(line, SAMPLE))[0]
    del payload[part]
    assert faults(payload) == [f"$: {part!r} is a required property"]


async def test_the_hand_off_carries_company_customer_and_cart(line: SmallLine) -> None:
    payload = (await received(line, SAMPLE))[0]
    first = payload["abandoned_carts"][0]
    assert (payload["company"]["name"], first["customer"]["name"], first["items"][0]["title"]) == (
        "Acme",
        "Emily Carter",
        "Waxed Field Jacket",
    )


async def test_agent_info_has_id_name_and_company(line: SmallLine) -> None:
    payload = (await received(line, SAMPLE))[0]
    assert payload["agent_info"].keys() == {"id", "name", "company"}
    assert (payload["agent_info"]["name"], payload["agent_info"]["company"]) == ("Recovery agent", "Acme")


async def test_every_cart_has_the_documented_names_and_a_time_in_utc(line: SmallLine) -> None:
    carts = (await received(line, SAMPLE))[0]["abandoned_carts"]
    names = {"cart_id", "customer", "items", "total_value", "abandoned_at"}
    assert [cart["cart_id"] for cart in carts if not names <= cart.keys()] == []
    assert [cart["abandoned_at"] for cart in carts if not UTC_Z.fullmatch(cart["abandoned_at"])] == []


async def test_the_sample_is_three_carts_459_97_shopify(line: SmallLine) -> None:
    sums = (await received(line, SAMPLE))[0]["recovery_analytics"]
    assert (sums["total_carts"], sums["total_value"], sums["platform"]) == (3, 459.97, "shopify")


async def test_the_totals_equal_the_recomputed_sum(line: SmallLine) -> None:
    store = {"platform": "mock", "name": "mock", "options": {"flavour": "woocommerce", "seed": "sum"}}
    for payload in await received(line, store):
        carts, sums = payload["abandoned_carts"], payload["recovery_analytics"]
        lines = [Decimal(str(item["line_total"])) for cart in carts for item in cart["items"]]
        assert Decimal(str(sums["total_value"])) == sum(lines)
        assert sums["total_carts"] == len(carts)


async def test_a_made_up_cart_says_so(line: SmallLine) -> None:
    assert all(cart["is_mock"] for cart in (await received(line, SAMPLE))[0]["abandoned_carts"])


async def test_the_sums_never_cross_currencies(line: SmallLine) -> None:
    for currency in ("USD", "EUR"):
        line.store.add_cart("s0", f"cart-{currency}", line.store.now() - timedelta(hours=1), currency=currency)
    payloads = await received(line, custom_store(line))
    assert sorted(payload["recovery_analytics"]["currency"] for payload in payloads) == ["EUR", "USD"]


def custom_store(line: SmallLine) -> dict[str, Any]:
    """Return the integration of the line's own store."""
    url = {"base_url": f"{line.store.base_url}/s0", "allow_http": True}
    return {"platform": "custom", "name": "shop", "credentials": {"token": "token-s0"}, **url}


# -- the guide for partners ------------------------------------------------------------------------------------------


def guide_code() -> Callable[[dict[str, str], bytes, str], bool]:
    """Return the guide's Python example, as a partner would use it."""
    found = re.search(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    assert found
    names: dict[str, Any] = {}
    exec(found[1], names)  # noqa: S102  (our own page)
    is_genuine: Callable[[dict[str, str], bytes, str], bool] = names["is_genuine"]
    return is_genuine


async def recorded(line: SmallLine) -> tuple[dict[str, str], bytes]:
    """Return headers and raw body of a message as it went over the wire."""
    line.partner.keep_requests = 1
    await received(line, SAMPLE)
    seen = line.partner.requests[0]
    return {name.lower(): value for name, value in seen.headers.items()}, seen.body


async def test_the_guides_code_takes_a_real_message(line: SmallLine) -> None:
    headers, body = await recorded(line)
    assert guide_code()(headers, body, line.secret)


@pytest.mark.parametrize("changed", ["body", "secret", "webhook-id", "webhook-timestamp"])
async def test_the_guides_code_refuses_a_message_that_was_changed(line: SmallLine, changed: str) -> None:
    headers, body = await recorded(line)
    if changed == "body":
        body = body.replace(b"459.97", b"459.98")
    elif changed in headers:
        headers[changed] = {"webhook-id": "msg_0", "webhook-timestamp": str(int(headers["webhook-timestamp"]) - 1)}[
            changed
        ]
    secret = make_secret() if changed == "secret" else line.secret
    assert not guide_code()(headers, body, secret)


async def test_the_guides_code_refuses_an_old_message(line: SmallLine) -> None:
    _headers, body = await recorded(line)
    stamp = int(time.time()) - 301
    old = {"webhook-id": "msg_0", "webhook-timestamp": str(stamp)}
    old["webhook-signature"] = sign("msg_0", stamp, body, [line.secret])
    assert not guide_code()(old, body, line.secret)


async def test_the_reference_library_takes_a_real_message(line: SmallLine) -> None:
    headers, body = await recorded(line)
    Webhook(line.secret).verify(body, headers)


def test_the_guides_example_fits_the_schema() -> None:
    found = re.search(r"```json\n(.*?)```", GUIDE, re.DOTALL)
    assert found
    assert faults(json.loads(found[1])) == []


def test_the_guide_tells_the_retry_schedule_that_is_kept() -> None:
    waits = {5: "5 s", 300: "5 min", 1800: "30 min"} | {hours * 3600: f"{hours} h" for hours in (2, 5, 10, 14, 20, 24)}
    kept = [waits[int(delay.total_seconds())] for delay in DELIVERY_DELAYS[1:]]
    assert "at once, then after " + ", ".join(kept[:-1]) + f" and {kept[-1]}" in " ".join(GUIDE.split())
