"""What an answer of Shopify means: data, or a reason to wait, or something for the company to put right.

``errors`` comes as a text (401), a list (GraphQL) or an object (400), with any status; 200 says nothing by itself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from backend.domain.buckets import Allowance
from backend.errors import BadBody, FixCredentials, PlatformError, TryLater
from backend.outbound import HttpResponse, retry_after
from backend.platforms.reading import quotable

_SCOPE = re.compile(r"\b(?:read|write)_[a-z_]+\b")
_FIGURE = re.compile(rb'"(\w+)"\s*:\s*([0-9]{1,9}(?:\.[0-9]{1,9})?)(?![\w.])')
_FIGURES = {
    b"maximumAvailable": "maximum",
    b"currentlyAvailable": "available",
    b"restoreRate": "restored_per_second",
    b"requestedQueryCost": "requested",
    b"actualQueryCost": "spent",
}
AROUND_STATUS = 300  # bytes
SAVE_AGAIN = "Create a new access token in the shop's admin and save it here."
_REFUSALS = {
    401: ("access_token_refused", "Shopify refuses the access token", SAVE_AGAIN),
    402: ("shop_frozen", "Shopify has frozen the shop", "Settle the shop's bill with Shopify."),
    404: (
        "shop_not_found",
        "There is no such shop, or it does not know this API version",
        "Check the shop's myshopify.com name and api_version.",
    ),
    423: ("shop_locked", "Shopify has locked the shop", "Ask Shopify's support to unlock the shop."),
}


class QueryTooCostly(TryLater):
    """The query costs more points than one query may."""

    code = "query_too_costly"


class CursorRefused(TryLater):
    """Shopify no longer knows the place where the walk stood."""

    code = "cursor_refused"


@dataclass(frozen=True, slots=True)
class GraphQLAnswer:
    """A readable answer: its data, what went wrong with parts of it, and what the headers and the cost said."""

    data: dict[str, Any]
    errors: tuple[dict[str, Any], ...]
    cost: dict[str, Any]
    version: str | None
    server_time: datetime | None

    @property
    def budget(self) -> dict[str, float] | None:
        """The rate budget in points, for people to read."""
        status = self.cost.get("throttleStatus")
        if not isinstance(status, dict):
            return None
        named = {
            "maximum": status.get("maximumAvailable"),
            "available": status.get("currentlyAvailable"),
            "restored_per_second": status.get("restoreRate"),
            "requested": self.cost.get("requestedQueryCost"),
            "spent": self.cost.get("actualQueryCost"),
        }
        return {name: float(value) for name, value in named.items() if isinstance(value, int | float)}

    def positions_of_errors(self, *path: str) -> frozenset[int]:
        """Return the positions in the list at `path` that an error points into."""
        depth = len(path)
        found = [p[depth] for p in map(_path, self.errors) if len(p) > depth and tuple(p[:depth]) == path]
        return frozenset(position for position in found if isinstance(position, int))

    def refuse_missing_scopes(self) -> None:
        """Raise `FixCredentials` where the token may not see all that we ask for.

        Going on without would read carts that lack their shopper, and they would not be listed again once the
        scope is there.
        """
        for error in self.errors:
            if _code(error) == "ACCESS_DENIED":
                raise _scope_missing(f"{error.get('message', '')} {_extensions(error).get('requiredAccess', '')}")


def read_answer(response: HttpResponse, now: datetime) -> GraphQLAnswer:
    """Return what Shopify answered. Raises `TryLater` or `FixCredentials` when there is nothing to read."""
    if response.status != 200:
        raise _refusal(response, now)
    body = _json(response)
    errors, cost = _errors(body), _cost(body)
    data = body.get("data")
    for error in errors:
        _raise_for(error, cost, has_data=isinstance(data, dict))
    if not isinstance(data, dict):
        raise TryLater(f"Shopify answered without data: {quotable(_messages(errors))}", code="query_failed")
    headers = response.headers
    return GraphQLAnswer(data, tuple(errors), cost, headers.get("x-shopify-api-version"), response.date)


def points_in(response: HttpResponse) -> Allowance | None:
    """Return the rate budget in points that an answer tells of, a throttled one included.

    Looks around its last ``throttleStatus`` only, so that records are not parsed a second time. A shopper's text cannot
    pass for the figures: quotes inside a text are escaped.
    """
    at = response.body.rfind(b'"throttleStatus"')
    if at < 0:
        return None
    told = dict(_FIGURE.findall(response.body, max(at - AROUND_STATUS, 0), at + AROUND_STATUS))
    return Allowance.read({ours: float(told[name]) for name, ours in _FIGURES.items() if name in told})


def _json(response: HttpResponse) -> dict[str, Any]:
    try:
        body = response.json()
    except BadBody as bad:
        raise TryLater(f"Shopify's answer cannot be read: {bad}", code="bad_body") from bad
    if not isinstance(body, dict):
        raise TryLater("Shopify's answer is no JSON object", code="bad_body")
    return body


def _refusal(response: HttpResponse, now: datetime) -> PlatformError:
    """Return the error for an answer whose status is not 200."""
    status, said = response.status, _said(response)
    if status == 403:
        return _scope_missing(said)
    if status in _REFUSALS:
        code, message, remedy = _REFUSALS[status]
        return FixCredentials(f"{message}{_quoted(said)}.", code=code, remedy=remedy)
    code = {429: "rate_limited", 430: "security_rejection"}.get(status, f"http_{status}")
    wait = retry_after(response.headers, response.date or now)  # a date is meant by the clock that wrote it
    return TryLater(f"Shopify answered {status}{_quoted(said)}.", code=code, retry_after=wait)


def _scope_missing(said: str) -> FixCredentials:
    said = said[:300]
    scopes = sorted(set(_SCOPE.findall(said)))
    named = " and ".join(scopes) or "a scope or an approval that reading checkouts and customers needs"
    return FixCredentials(
        f"The access token lacks {named}{_quoted(said)}.",
        code="scope_missing",
        remedy=f"Grant the app {' and '.join(scopes) or 'read_orders and read_customers'}, then save the new token.",
    )


def _raise_for(error: dict[str, Any], cost: dict[str, Any], *, has_data: bool) -> None:
    """Raise what one entry of ``errors`` calls for; nothing for one that spoils only part of the data."""
    code, message = _code(error), str(error.get("message", ""))
    if code == "THROTTLED" or message == "Throttled":
        raise TryLater("Shopify asks us to wait.", code="throttled", retry_after=_wait(cost))
    if code == "MAX_COST_EXCEEDED":
        raise QueryTooCostly(quotable(message), remedy="Lower options.page_size.")
    if code == "SHOP_INACTIVE":
        raise FixCredentials("The shop is not active.", code="shop_frozen", remedy=_REFUSALS[402][2])
    if has_data:
        return
    if code == "ACCESS_DENIED":
        raise _scope_missing(f"{message} {_extensions(error).get('requiredAccess', '')}")
    if "invalid cursor" in message.lower():
        raise CursorRefused("Shopify no longer knows the place where the walk stood.")


def _wait(cost: dict[str, Any]) -> timedelta | None:
    """Return how long until the bucket holds what the query asks for."""
    try:
        status = cost["throttleStatus"]
        missing = float(cost["requestedQueryCost"]) - float(status["currentlyAvailable"])
        seconds = missing / float(status["restoreRate"])
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    return timedelta(seconds=min(max(seconds, 0.0), 3600.0)) if seconds == seconds else None  # noqa: PLR0124 - NaN


def _errors(body: dict[str, Any]) -> list[dict[str, Any]]:
    """Return ``errors`` as a list of objects, whatever it came as."""
    errors = body.get("errors")
    if not errors:
        return []
    if isinstance(errors, dict):
        return [{"message": f"{name}: {what}"} for name, what in errors.items()]
    if isinstance(errors, list):
        return [error if isinstance(error, dict) else {"message": str(error)} for error in errors]
    return [{"message": str(errors)}]


def _cost(body: dict[str, Any]) -> dict[str, Any]:
    extensions = body.get("extensions")
    cost = extensions.get("cost") if isinstance(extensions, dict) else None
    return cost if isinstance(cost, dict) else {}


def _extensions(error: dict[str, Any]) -> dict[str, Any]:
    extensions = error.get("extensions")
    return extensions if isinstance(extensions, dict) else {}


def _code(error: dict[str, Any]) -> str:
    return str(_extensions(error).get("code", ""))


def _path(error: dict[str, Any]) -> list[Any]:
    path = error.get("path")
    return path if isinstance(path, list) else []


def _messages(errors: list[dict[str, Any]]) -> str:
    return "; ".join(str(error.get("message", "")) for error in errors)[:300] or "no reason given"


def _said(response: HttpResponse) -> str:
    """Return the messages of a body that may be anything."""
    try:
        body = response.json()
    except BadBody:
        return ""
    errors = _errors(body) if isinstance(body, dict) else []
    return _messages(errors) if errors else ""


def _quoted(said: str) -> str:
    return f' ("{quotable(said)}")' if said.strip() else ""
