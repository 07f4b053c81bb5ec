"""The yardstick: fetch a page, map it, sign and post each cart with bare aiohttp; nothing is stored or decided."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import sys
import time
from typing import Any

import aiohttp
import orjson
import uvloop

from benchmarks.meter import Meter

IN_FLIGHT = 64


def payload(node: dict[str, Any]) -> dict[str, Any]:
    """Map one checkout to the cart that is posted."""
    total = node["totalPriceSet"]["presentmentMoney"]
    customer = node.get("customer") or {}
    return {
        "cart_id": node["id"],
        "event_id": f"evt-{node['id']}",
        "customer": {
            "email": (customer.get("defaultEmailAddress") or {}).get("emailAddress"),
            "first_name": customer.get("firstName"),
            "last_name": customer.get("lastName"),
        },
        "items": [
            {
                "title": line["title"],
                "quantity": line["quantity"],
                "line_total": float(line["discountedTotalPriceSet"]["presentmentMoney"]["amount"]),
            }
            for line in node["lineItems"]["nodes"]
        ],
        "currency": total["currencyCode"],
        "total_value": float(total["amount"]),
        "abandoned_at": node["updatedAt"],
        "recovery_url": node["abandonedCheckoutUrl"],
    }


def wrapped(carts: list[dict[str, Any]]) -> bytes:
    """Return the body of one message."""
    value = sum(cart["total_value"] for cart in carts)
    return orjson.dumps(
        {
            "type": "cart.abandoned",
            "agent_info": {"id": "bare", "name": "bare", "company": "bare"},
            "abandoned_carts": carts,
            "recovery_analytics": {"total_carts": len(carts), "total_value": value, "platform": "shopify"},
        }
    )


async def post(session: aiohttp.ClientSession, ask: dict[str, Any], carts: list[dict[str, Any]]) -> None:
    """Sign and post one message."""
    body, now = wrapped(carts), str(int(time.time()))
    message_id = f"msg-{carts[0]['cart_id']}"
    key = base64.b64decode(ask["secret"].removeprefix("whsec_"))
    signature = base64.b64encode(hmac.digest(key, f"{message_id}.{now}.".encode() + body, hashlib.sha256)).decode()
    headers = {
        "webhook-id": message_id,
        "webhook-timestamp": now,
        "webhook-signature": f"v1,{signature}",
        "Content-Type": "application/json",
    }
    async with session.post(ask["hook"], data=body, headers=headers) as answer:
        await answer.read()
        answer.raise_for_status()


async def main(ask: dict[str, Any]) -> dict[str, float]:
    """Run the loop once."""
    meter = Meter()
    slots = asyncio.Semaphore(IN_FLIGHT)

    async def within(session: aiohttp.ClientSession, carts: list[dict[str, Any]]) -> None:
        async with slots:
            await post(session, ask, carts)

    async with aiohttp.ClientSession() as session:
        after: str | None = None
        while True:
            question = orjson.dumps({"query": ask["query"], "variables": {"after": after}})
            headers = {"X-Shopify-Access-Token": ask["token"], "Content-Type": "application/json"}
            async with session.post(ask["graphql"], data=question, headers=headers) as answer:
                page = orjson.loads(await answer.read())["data"]["abandonedCheckouts"]
            carts = [payload(node) for node in page["nodes"]]
            size = ask["carts_per_payload"]
            parts = [carts[start : start + size] for start in range(0, len(carts), size)]
            await asyncio.gather(*(within(session, part) for part in parts))
            if not page["pageInfo"]["hasNextPage"]:
                return meter.read()
            after = page["pageInfo"]["endCursor"]


if __name__ == "__main__":
    sys.stdout.write(json.dumps(uvloop.run(main(json.loads(sys.argv[1])))) + "\n")
