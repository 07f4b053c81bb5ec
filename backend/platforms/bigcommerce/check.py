"""The connection check: what is wrong with a store's connection, and what to do about it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from backend.errors import BadRecord, FixCredentials, TryLater
from backend.platforms.base import ConnectionCheck, Finding
from backend.platforms.bigcommerce.client import SCOPES, Answer, StoreClient
from backend.platforms.bigcommerce.orders import modified_at
from backend.platforms.bigcommerce.refusals import SAVE_AGAIN, SCOPE_MISSING
from backend.platforms.bigcommerce.settings import LARGEST_PAGE

LOOKBACK_DAYS = (1, 3, 7, 30)
CLOCK_TOLERANCE = timedelta(minutes=5)
NO_CART = "00000000-0000-4000-8000-000000000000"
# What is asked to see whether the token may; the cart does not exist, which a token that may see carts is told.
PROBES = {
    "/v2/orders": ("/v2/orders", {"limit": "1"}),
    "/v3/carts": (f"/v3/carts/{NO_CART}", {}),
    "/v3/customers": ("/v3/customers", {"limit": "1"}),
    "/v3/catalog": ("/v3/catalog/products", {"limit": "1", "include_fields": "id"}),
}


async def check_connection(client: StoreClient, store_hash: str, now: datetime) -> ConnectionCheck:
    """Return every finding about the connection; the one that stopped the check, if something did."""
    missing: list[str] = []
    answer: Answer | None = None
    try:
        for begin, (path, query) in PROBES.items():
            try:
                probe = client.find if begin == "/v3/carts" else client.get
                answer = await probe(path, query) or answer
            except FixCredentials as refused:
                if refused.code != SCOPE_MISSING:
                    raise
                missing.append(SCOPES[begin])
        findings = [
            Finding("access_token", ok=True, detail="BigCommerce accepts the access token."),
            _scopes(missing),
        ]
        if answer is not None:
            findings.append(_clock(answer, now))
        if SCOPES["/v2/orders"] not in missing:
            findings.append(await _waiting(client, now))
    except FixCredentials as refused:
        return ConnectionCheck((Finding(refused.code, ok=False, detail=str(refused), remedy=refused.remedy),))
    except TryLater as later:
        remedy = later.remedy or "Try again in a few minutes."
        return ConnectionCheck((Finding(later.code, ok=False, detail=str(later), remedy=remedy),))
    return ConnectionCheck(tuple(findings), store_id=store_hash)


def _scopes(missing: list[str]) -> Finding:
    detail = f"Needed: {', '.join(SCOPES.values())}."
    if not missing:
        return Finding("scopes", ok=True, detail=detail)
    remedy = f"Give the API account {' and '.join(missing)}. {SAVE_AGAIN}"
    return Finding("scopes", ok=False, detail=f"{detail} Missing: {', '.join(missing)}.", remedy=remedy)


def _clock(answer: Answer, now: datetime) -> Finding:
    if answer.server_time is None:
        return Finding("clock", ok=True, detail="The store does not tell its time.")
    off = abs(answer.server_time - now)
    detail = f"The store's clock differs from ours by {int(off.total_seconds())} s."
    remedy = "" if off <= CLOCK_TOLERANCE else "Check the clock of the machine this service runs on (NTP)."
    return Finding("clock", ok=off <= CLOCK_TOLERANCE, detail=detail, remedy=remedy)


async def _waiting(client: StoreClient, now: datetime) -> Finding:
    """Say how many incomplete orders each look-back of a first poll would find."""
    oldest = now - timedelta(days=LOOKBACK_DAYS[-1])
    query = {
        "status_id": "0",
        "min_date_modified": oldest.replace(microsecond=0).isoformat(),
        "sort": "date_modified:desc",
        "limit": str(LARGEST_PAGE),
    }
    body = (await client.get("/v2/orders", query)).body
    orders = body if isinstance(body, list) else []
    moments = [at for order in orders if (at := _modified(order)) is not None]
    cut_at = min(moments, default=now) if len(orders) >= LARGEST_PAGE else oldest
    counts = [_count(moments, now - timedelta(days=days), cut_at, days) for days in LOOKBACK_DAYS]
    return Finding("waiting_carts", ok=True, detail=f"Incomplete orders by look-back: {', '.join(counts)}.")


def _count(moments: list[datetime], since: datetime, cut_at: datetime, days: int) -> str:
    number = sum(at >= since for at in moments)
    or_more = " or more" if cut_at > since else ""
    return f"{days} {'day' if days == 1 else 'days'}: {number}{or_more}"


def _modified(order: Any) -> datetime | None:
    try:
        return modified_at(order) if isinstance(order, dict) else None
    except BadRecord:
        return None
