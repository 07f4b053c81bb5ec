"""The yardsticks in bare aiohttp: fetch pages, map, sign and post each cart; or poll stores that have nothing new.

Nothing is stored or decided. What is asked is read from standard input as JSON (`job`: carts or polls), and what was
measured is printed as JSON.
"""

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
POLLS_IN_FLIGHT = 16  # what the product does by default


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


async def carts(ask: dict[str, Any]) -> dict[str, float]:
    """Hand every cart of a store off once."""
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
            mapped = [payload(node) for node in page["nodes"]]
            size = ask["carts_per_payload"]
            parts = [mapped[start : start + size] for start in range(0, len(mapped), size)]
            await asyncio.gather(*(within(session, part) for part in parts))
            if not page["pageInfo"]["hasNextPage"]:
                return meter.read()
            after = page["pageInfo"]["endCursor"]


async def polls(ask: dict[str, Any]) -> dict[str, float]:
    """Ask every store for its first page, again and again; a first round, which opens connections, is not counted.

    `stores`: method, url, headers and body of each one's request. Raises `ValueError` when a page is not empty.
    """
    slots = asyncio.Semaphore(POLLS_IN_FLIGHT)

    async def poll(session: aiohttp.ClientSession, method: str, url: str, headers: dict[str, str], body: str) -> None:
        async with slots, session.request(method, url, headers=headers, data=body or None) as answer:
            page = orjson.loads(await answer.read())
            answer.raise_for_status()
        if page["data"]["abandonedCheckouts"]["nodes"] if "data" in page else page["carts"]:
            raise ValueError(f"{url} has carts")

    async with aiohttp.ClientSession() as session:
        await asyncio.gather(*(poll(session, *store) for store in ask["stores"]))
        meter = Meter()
        for _ in range(ask["beats"]):
            await asyncio.gather(*(poll(session, *store) for store in ask["stores"]))
        return {**meter.read(), "polls": ask["beats"] * len(ask["stores"])}


JOBS = {"carts": carts, "polls": polls}

if __name__ == "__main__":
    asked = json.load(sys.stdin)
    result = uvloop.run(JOBS[asked["job"]](asked))
    sys.stdout.write(json.dumps(result) + "\n")
