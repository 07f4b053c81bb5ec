"""The connection check: what is wrong with a shop's connection, and what to do about it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any

from shopify import ApiAccess
from shopify.api_access import ApiAccessError

from backend.errors import FixCredentials, TryLater
from backend.platforms.base import ConnectionCheck, Finding
from backend.platforms.shopify.answers import SAVE_AGAIN, GraphQLAnswer
from backend.platforms.shopify.queries import LOOKBACK_DAYS, check_query

NEEDED_SCOPES = ("read_customers", "read_orders")

Ask = Callable[[str, Mapping[str, Any]], Awaitable[GraphQLAnswer]]


async def check_connection(ask: Ask, shop: str, version: str, now: datetime) -> ConnectionCheck:
    """Return every finding about the connection to `shop`; the one that stopped the check, if something did."""
    query, variables = check_query(now)
    try:
        answer = await ask(query, variables)
    except FixCredentials as refused:
        return ConnectionCheck((Finding(refused.code, ok=False, detail=str(refused), remedy=refused.remedy),))
    except TryLater as later:
        remedy = later.remedy or "Try again in a few minutes."
        return ConnectionCheck((Finding(later.code, ok=False, detail=str(later), remedy=remedy),))
    domain = _text(answer.data, "shop", "myshopifyDomain")
    findings = (
        Finding("access_token", ok=True, detail="Shopify accepts the access token."),
        _right_shop(domain, shop),
        _scopes(answer.data),
        _version(answer.version, version),
        _waiting(answer.data),
    )
    return ConnectionCheck(findings, store_id=domain)


def _right_shop(domain: str | None, shop: str) -> Finding:
    if domain == shop:
        return Finding("shop", ok=True, detail=f"The shop that answers is {shop}.")
    detail = f"The settings name {shop}, but the shop that answers is {domain or 'unknown'}."
    return Finding("shop", ok=False, detail=detail, remedy=f"Set shop to {domain}, or save {shop}'s own token.")


def _scopes(data: Mapping[str, Any]) -> Finding:
    """Compare the granted scopes with the needed ones; a write scope includes reading."""
    installation = data.get("currentAppInstallation")
    listed = installation.get("accessScopes") if isinstance(installation, dict) else None
    granted = sorted(str(scope.get("handle")) for scope in listed or () if isinstance(scope, dict))
    missing = [scope for scope in NEEDED_SCOPES if not _covers(granted, scope)]
    detail = f"Needed: {', '.join(NEEDED_SCOPES)}. Granted: {', '.join(granted) or 'none'}."
    if not missing:
        return Finding("scopes", ok=True, detail=detail)
    remedy = f"Grant the app {' and '.join(missing)}. {SAVE_AGAIN}"
    return Finding("scopes", ok=False, detail=f"{detail} Missing: {', '.join(missing)}.", remedy=remedy)


def _covers(granted: list[str], scope: str) -> bool:
    """Whether the granted scopes include `scope`. A handle that is no read or write scope counts for nothing."""
    readable = []
    for handle in granted:
        try:
            readable.append(ApiAccess(handle))
        except ApiAccessError:
            continue
    return any(access.covers(ApiAccess(scope)) for access in readable)


def _version(served: str | None, asked: str) -> Finding:
    if served in {None, asked}:
        return Finding("api_version", ok=True, detail=f"Shopify serves version {asked}.")
    detail = f"Shopify no longer serves version {asked} and answers with {served}."
    return Finding("api_version", ok=False, detail=detail, remedy=f'Set api_version to "{served}".')


def _waiting(data: Mapping[str, Any]) -> Finding:
    """Say how many checkouts each look-back of a first poll would find open."""
    counts = [(days, data.get(f"last{days}")) for days in LOOKBACK_DAYS]
    shown = [f"{days} {'day' if days == 1 else 'days'}: {_count(count)}" for days, count in counts if count]
    if len(shown) < len(counts):
        remedy = "Grant the app read_orders, then check again."
        return Finding("waiting_carts", ok=False, detail="The open checkouts cannot be counted.", remedy=remedy)
    return Finding("waiting_carts", ok=True, detail=f"Open checkouts by look-back: {', '.join(shown)}.")


def _count(count: Any) -> str:
    number = str(count.get("count"))
    return f"{number} or more" if count.get("precision") == "AT_LEAST" else number


def _text(data: Mapping[str, Any], *path: str) -> str | None:
    value: Any = data
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, str) else None
