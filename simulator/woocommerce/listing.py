"""``GET orders``: which parameters are refused and how, which orders are answered, in which order."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from simulator.woocommerce import refusals
from simulator.woocommerce.orders import Order
from simulator.woocommerce.site import Site

DATE = re.compile(r"(\d{4}-\d{2}-\d{2})[Tt ](\d{2}:\d{2}:\d{2})(?:\.\d+)?([Zz]|[+-]\d{2}(?::\d{2})?)?")
DATE_FILTERS = {
    "after": ("created_at", 1),
    "before": ("created_at", -1),
    "modified_after": ("modified_at", 1),
    "modified_before": ("modified_at", -1),
}
TRUE, FALSE = frozenset({"true", "1"}), frozenset({"false", "0", ""})
INTERNAL = frozenset({"trash", "auto-draft"})

Problem = tuple[str, str, Any]
Given = Mapping[str, str | list[str]]


@dataclass(frozen=True, slots=True)
class Listing:
    """One answered page, with the totals of its headers."""

    orders: Sequence[Order]
    total: int
    pages: int
    page: int


def arguments(query: Sequence[tuple[str, str]]) -> dict[str, str | list[str]]:
    """Return the query as PHP reads it: ``name[]`` and ``name[0]`` make a list, of equal plain names the last stays."""
    given: dict[str, str | list[str]] = {}
    for name, value in query:
        plain, bracket, _ = name.partition("[")
        if not bracket:
            given[name] = value
            continue
        listed = given.setdefault(plain, [])
        if isinstance(listed, list):
            listed.append(value)
    return given


def listing(site: Site, given: Given) -> Listing:
    """Answer a list request; raises `Refused` (400) naming every parameter that fails validation."""
    given = {name: value for name, value in given.items() if name not in site.ignores}
    problems = {name: problem for name, check in _CHECKS.items() if (problem := _problem(check, site, given, name))}
    if problems:
        raise refusals.invalid_params(problems)
    matching = [order for order in site.orders.values() if _matches(site, given, order)]
    ordered = sorted(matching, key=_sort_key(site, given), reverse=_text(given, "order", "desc") == "desc")
    per_page, page = int(_text(given, "per_page", "10")), int(_text(given, "page", "1"))
    start = int(_text(given, "offset", str((page - 1) * per_page)))
    found, total = ordered[start : start + per_page], len(ordered)
    if not found and site.storage == "hpos":
        total = 0  # past the end HPOS forgets how many there were, the posts table does not
    return Listing(found, total, -(-total // per_page), page)


def words(given: Given, name: str) -> list[str] | None:
    """Return a list parameter, given as comma list or as array; None when it is not there."""
    value = given.get(name)
    if value is None:
        return None
    return value if isinstance(value, list) else [word for word in re.split(r"[\s,]+", value) if word]


def _text(given: Given, name: str, default: str) -> str:
    value = given.get(name, default)
    return value if isinstance(value, str) else default


def _matches(site: Site, given: Given, order: Order) -> bool:
    include, exclude = words(given, "include"), words(given, "exclude")
    if include and str(order.id) not in include:
        return False
    if exclude and str(order.id) in exclude:
        return False
    vias = words(given, "created_via")
    if vias and order.created_via not in vias:
        return False
    if given.get("customer") not in (None, str(order.customer_id)):
        return False
    return _status_matches(site, words(given, "status"), order.status) and _dates_match(site, given, order)


def _status_matches(site: Site, asked: list[str] | None, status: str) -> bool:
    if asked is None or "any" in asked:
        return status not in INTERNAL and (site.any_holds_drafts or status != "checkout-draft")
    if not asked:
        return site.storage == "hpos" and status not in INTERNAL
    if site.storage == "posts" and "auto-draft" in asked:
        return True  # the posts table drops the whole filter
    return status in asked and status != "auto-draft"


def _dates_match(site: Site, given: Given, order: Order) -> bool:
    """Compare as the stores do: digits with a zone are made local first, whatever column they then meet."""
    gmt = _text(given, "dates_are_gmt", "false") in TRUE
    for name, (column, sign) in DATE_FILTERS.items():
        value = given.get(name)
        if not isinstance(value, str) or (name.startswith("modified") and not site.knows_modified):
            continue
        moment: datetime = getattr(order, column)
        stored = moment.astimezone(UTC if gmt else site.zone).replace(tzinfo=None)
        limit = _limit(value, site)
        if (stored <= limit) if sign > 0 else (stored >= limit):
            return False
    return True


def _limit(value: str, site: Site) -> datetime:
    found = DATE.fullmatch(value)
    if found is None:
        raise ValueError(value)
    day, clock, zone = found.groups()
    digits = datetime.fromisoformat(f"{day}T{clock}")
    if not zone:
        return digits
    aware = datetime.fromisoformat(f"{day}T{clock}{'+00:00' if zone in 'Zz' else zone}")
    return aware.astimezone(site.zone).replace(tzinfo=None)


def _sort_key(site: Site, given: Given) -> Callable[[Order], Any]:
    """Sort by UTC on HPOS, by local digits on posts: in the hour that a clock repeats, these differ."""
    by = _text(given, "orderby", "date")
    if by == "id":
        return lambda order: order.id
    column = "modified_at" if by == "modified" else "created_at"
    zone = UTC if site.storage == "hpos" else site.zone
    return lambda order: (getattr(order, column).astimezone(zone).replace(tzinfo=None), order.id)


def _problem(
    check: Callable[[Site, Given, str], Problem | None], site: Site, given: Given, name: str
) -> Problem | None:
    return check(site, given, name) if name in given else None


def _check_status(site: Site, given: Given, name: str) -> Problem | None:
    allowed = ["any", "trash", "auto-draft", *site.statuses]
    for position, status in enumerate(words(given, name) or ()):
        if status not in allowed:
            message = f"status[{position}] is not one of {refusals.one_of(allowed)}."
            return "rest_not_in_enum", message, None
    return None


def _check_orderby(site: Site, given: Given, name: str) -> Problem | None:
    allowed = ["date", "id", "include", "title", "slug", *(["modified"] if site.knows_modified else [])]
    if given[name] in allowed:
        return None
    return "rest_not_in_enum", f"{name} is not one of {refusals.one_of(allowed)}.", None


def _check_number(_site: Site, given: Given, name: str) -> Problem | None:
    value = given[name]
    if not isinstance(value, str) or not re.fullmatch(r"-?\d+", value):
        return "rest_invalid_type", f"{name} is not of type integer.", {"param": name}
    if name == "per_page" and not 1 <= int(value) <= 100:
        return "rest_out_of_bounds", "per_page must be between 1 (inclusive) and 100 (inclusive)", None
    if name == "page" and int(value) < 1:
        return "rest_out_of_bounds", "page must be greater than or equal to 1", None
    return None


def _check_date(site: Site, given: Given, name: str) -> Problem | None:
    if name.startswith("modified") and not site.knows_modified:
        return None
    value = given[name]
    if isinstance(value, str) and DATE.fullmatch(value):
        return None
    return "rest_invalid_date", "Invalid date.", None


def _check_flag(_site: Site, given: Given, name: str) -> Problem | None:
    value = given[name]
    if isinstance(value, str) and value.lower() in TRUE | FALSE:
        return None
    return "rest_invalid_type", f"{name} is not of type boolean.", {"param": name}


_CHECKS: dict[str, Callable[[Site, Given, str], Problem | None]] = {
    "page": _check_number,
    "per_page": _check_number,
    "offset": _check_number,
    **dict.fromkeys(DATE_FILTERS, _check_date),
    "dates_are_gmt": _check_flag,
    "orderby": _check_orderby,
    "status": _check_status,
}
