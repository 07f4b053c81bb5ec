"""The connection check: which rights and settings a store lacks, its clock, and how many carts wait."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from backend.errors import OurFault, PlatformError, TryLater
from backend.platforms.base import ConnectionCheck, Finding
from backend.platforms.magento.client import Answer, StoreClient
from backend.platforms.magento.search import OLDEST_FIRST, Group, Search, among, digits
from backend.platforms.magento.settings import MagentoOptions

LOOKBACK_DAYS = (1, 3, 7, 30)
CLOCK_TOLERANCE = timedelta(minutes=5)
NEEDED = (("carts", "carts/search", "Magento_Cart::manage"), ("orders", "orders", "Magento_Sales::actions_view"))
STORE_CODE = "query{storeConfig{store_code}}"
_AGAIN = "Try again in a few minutes; if it stays so, see the store's log or ask its host."


async def check_connection(
    client: StoreClient, options: MagentoOptions, now: datetime, store_id: str
) -> ConnectionCheck:
    """Return every finding about the connection; with a right missing, what can still be found out."""
    findings: list[Finding] = []
    answers: list[Answer] = []
    for name, path, right in NEEDED:
        finding, answer = await _right(client.soundness, name, path, right)
        findings.append(finding)
        answers += [] if answer is None else [answer]
    if not all(finding.ok for finding in findings):
        return ConnectionCheck(tuple(findings), None)
    findings += [_clock(answers[0], now), await _waiting(client, options, now)]
    if options.product_details:
        findings.append(await _product_details(client))
    return ConnectionCheck(tuple(findings), store_id)


async def _right(
    ask: Callable[[str], Awaitable[Answer]], name: str, path: str, right: str
) -> tuple[Finding, Answer | None]:
    """Say whether the integration may read `path`, for which Magento wants the right `right`."""
    try:
        answer = await ask(path)
    except PlatformError as error:
        detail = f"{name} cannot be read ({right}): {error}"
        return Finding(name, ok=False, detail=detail, remedy=error.remedy or _AGAIN), None
    except OurFault as fault:
        remedy = "Give the store's public https address; private and local addresses are not called."
        return Finding(name, ok=False, detail=str(fault), remedy=remedy), None
    return Finding(name, ok=True, detail=f"the integration may read {name}"), answer


def _clock(answer: Answer, now: datetime) -> Finding:
    if answer.server_time is None:
        return Finding("clock", ok=True, detail="the store does not tell its time")
    off = abs(answer.server_time - now)
    detail = f"the store's clock differs from ours by {int(off.total_seconds())} s"
    if off <= CLOCK_TOLERANCE:
        return Finding("clock", ok=True, detail=detail)
    return Finding("clock", ok=False, detail=detail, remedy="Set the clock of the store's server (NTP).")


async def _waiting(client: StoreClient, options: MagentoOptions, now: datetime) -> Finding:
    """Say how many open carts each look-back of a first poll would find, whoever they can be sent to."""
    shown = []
    for days in LOOKBACK_DAYS:
        groups: list[Group] = [
            (("updated_at", "gteq", digits(now - timedelta(days=days))),),
            (("is_active", "eq", "1"),),
            (("items_count", "gt", "0"),),
        ]
        if options.store_ids:
            groups.append(among("store_id", options.store_ids))
        try:
            found = await client.search("carts/search", Search(groups, 1, "total_count,items[id]", OLDEST_FIRST))
        except TryLater as error:  # one quote that cannot be loaded is no fault of the connection
            return Finding("waiting_carts", ok=True, detail=f"the open carts cannot be counted: {error}")
        shown.append(f"{days} {'day' if days == 1 else 'days'}: {'unknown' if found.total is None else found.total}")
    return Finding("waiting_carts", ok=True, detail=f"Open carts by look-back: {', '.join(shown)}.")


async def _product_details(client: StoreClient) -> Finding:
    """Say whether GraphQL answers; carts are complete without it, but for images and links."""
    try:
        await client.graphql(STORE_CODE, {})
    except PlatformError as error:
        detail = f"GraphQL does not answer, images and links of products are left out: {error}"
        return Finding("product_details", ok=True, detail=detail)
    return Finding("product_details", ok=True, detail="GraphQL tells images and links of products")
