"""Shopify's search syntax, as far as abandoned checkouts know it, compiled to a predicate."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from simulator.shopify.checkouts import Checkout

Predicate = Callable[[Checkout], bool]

SECOND_RULE_SINCE = "2026-10"  # from here on, `>` with whole seconds excludes that whole second
_TERM = re.compile(r"""(?:(?P<field>\w+):)?(?P<op>>=|<=|>|<)?(?P<value>'[^']*'|"[^"]*"|[^\s'"]+)""")
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
    "": operator.eq,
}


class SearchNotSpoken(Exception):
    """The search uses syntax that this server does not imitate; better refused than answered wrongly."""


def compile_search(text: str | None, version: str) -> Predicate:
    """Return the predicate of a search: terms are ANDed, ``OR`` binds weaker, unknown fields are ignored.

    Raises `SearchNotSpoken` for parentheses and negation.
    """
    if not text or not text.strip():
        return lambda _checkout: True
    if "(" in text or re.search(r"(?:^|\s)(?:-|NOT\s)", text):
        raise SearchNotSpoken(text)
    groups = [
        [_term(match, version) for match in _TERM.finditer(part) if match["value"] != "AND"]
        for part in re.split(r"\sOR\s", text)
    ]
    return lambda checkout: any(all(term(checkout) for term in group) for group in groups)


def _term(match: re.Match[str], version: str) -> Predicate:
    field, compare, raw = match["field"], match["op"] or "", match["value"]
    value = raw.strip("'\"")
    if field in {"created_at", "updated_at"}:
        return _time_term(field, compare, raw, version)
    if field == "id":
        return lambda checkout: _COMPARE[compare](checkout.number, int(value))
    if field == "recovery_state":
        return lambda checkout: (checkout.completed_at is not None) == (value == "recovered")
    if field == "status":
        return lambda checkout: checkout.closed == (value == "closed")
    if field is None:
        return lambda checkout: value.lower() in f"{checkout.spec.email or ''} #{checkout.number}".lower()
    return lambda _checkout: True  # as the real one does, without a word


def _time_term(field: str, compare: str, raw: str, version: str) -> Predicate:
    """Compare times: quoted ones to the second, unquoted ones by the day alone."""
    value = raw.strip("'\"")
    if raw == value or "T" not in value:
        day = datetime.fromisoformat(value[:10]).date()
        return lambda checkout: _COMPARE[compare](getattr(checkout, field).date(), day)
    moment = datetime.fromisoformat(value)
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    if compare == ">" and not moment.microsecond and version >= SECOND_RULE_SINCE:
        return lambda checkout: getattr(checkout, field) >= moment + timedelta(seconds=1)
    return lambda checkout: _COMPARE[compare](getattr(checkout, field), moment)
