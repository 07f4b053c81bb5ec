"""What an answer that is no success means for the poll: wait, or something for the company to put right."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from backend.errors import BadBody, FixCredentials, PlatformError, TryLater
from backend.outbound import HttpResponse, retry_after
from backend.platforms.reading import quotable

LONGEST_WAIT = timedelta(hours=24)
SAVE_AGAIN = "Then save the token here: changing an account's scopes changes its token."
_FIX: Mapping[int, tuple[str, str, str]] = {
    401: (
        "access_token_refused",
        "BigCommerce refuses the access token",
        "Make an API account under Settings, Store-level API accounts, and save its access token and store hash here.",
    ),
    402: ("store_suspended", "BigCommerce has suspended the store", "Settle the store's bill with BigCommerce."),
    404: (
        "store_not_found",
        "There is no such store",
        "Check the store hash: it is the word after /stores/ in the API path of the API account.",
    ),
    410: ("store_closed", "The store is closed", "Remove this integration, or connect the store's new address."),
    423: ("store_locked", "BigCommerce has locked the store", "Ask BigCommerce's support to unlock the store."),
}
_LATER = {409: "conflict", 429: "throttled", 503: "store_down", 507: "store_full"}


SCOPE_MISSING = "scope_missing"


def refusal(response: HttpResponse, scope: str, now: datetime) -> PlatformError:
    """Return what to raise for an answer that is neither a success nor a record that is not there."""
    status, said = response.status, _quoted(response)
    if status == 403:
        return FixCredentials(
            f"The access token lacks the scope {scope}{said}.",
            code=SCOPE_MISSING,
            remedy=f"Give the API account the scope {scope}. {SAVE_AGAIN}",
        )
    if status in _FIX:
        code, message, remedy = _FIX[status]
        return FixCredentials(f"{message}{said}.", code=code, remedy=remedy)
    if 300 <= status < 400:
        return FixCredentials(
            "BigCommerce sends us to another address.",
            code="store_moved",
            remedy="Check the store hash and base_url; redirects are not followed.",
        )
    code = _LATER.get(status, "store_ill" if status >= 500 else "question_refused" if status in (400, 422) else "")
    return TryLater(
        f"BigCommerce answered {status}{said}.", code=code or f"http_{status}", retry_after=_wait(response, now)
    )


def says_not_there(response: HttpResponse) -> bool:
    """Whether it is the API itself that says 404, and no page of something in between."""
    body = _body(response)
    first = body[0] if isinstance(body, list) and body else body
    return response.status == 404 and isinstance(first, dict) and str(first.get("status")) == "404"


def header_number(response: HttpResponse, name: str) -> float | None:
    """Return a header that holds a number not below zero; None for anything else."""
    try:
        number = float(response.headers.get(name, ""))
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None


def _wait(response: HttpResponse, now: datetime) -> timedelta | None:
    """Return the longest of the waits an answer names; None where a 429 of an overloaded platform names none."""
    waits = [timedelta(seconds=0)]
    seconds = header_number(response, "x-retry-after")
    if seconds is not None:
        waits.append(timedelta(seconds=min(seconds, LONGEST_WAIT.total_seconds())))
    reset = header_number(response, "x-rate-limit-time-reset-ms")
    if reset is not None and response.status == 429:
        waits.append(timedelta(milliseconds=min(reset, LONGEST_WAIT.total_seconds() * 1000)))
    told = retry_after(response.headers, response.date or now)  # a date is by the clock that wrote it
    if told is not None:
        waits.append(told)
    return max(waits) if len(waits) > 1 else None


def _body(response: HttpResponse) -> Any:
    try:
        return response.json()
    except BadBody:
        return None


def _quoted(response: HttpResponse) -> str:
    """Return what the answer says of itself: v3 has an object with a title, v2 a list of messages."""
    body = _body(response)
    entries = body if isinstance(body, list) else [body]
    words = [str(e.get("title") or e.get("message") or "") for e in entries[:3] if isinstance(e, dict)]
    said = quotable("; ".join(word for word in words if word))
    return f' ("{said}")' if said else ""
