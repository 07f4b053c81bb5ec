"""One request, one answer, and what the answer's headers say about time."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Protocol

from backend.outbound.body import parse_json

LONGEST_WAIT = timedelta(hours=24)
SECONDS = re.compile(r"[0-9]{1,20}(?:\.[0-9]{0,20})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One request. `url` is signed, sent and logged in the wire form that `wire_url` gives.

    `deadline` covers connect, send, headers and body. A `body` without a Content-Type goes out as JSON.
    """

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    allow_http: bool = False
    deadline: timedelta = timedelta(seconds=30)
    raw_limit: int | None = None  # None: the policy's
    truncate: bool = False  # True: stop reading at raw_limit and return what was read, instead of BodyTooLarge


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """One answer, read to its end and inflated. `headers` keys are lower case; repeated ones are joined by commas."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    elapsed: timedelta

    @property
    def date(self) -> datetime | None:
        """The `Date` header as aware UTC; None when missing or unreadable."""
        return _http_date(self.headers.get("date", ""))

    def json(self) -> Any:
        """Parse the body. Raises `BadBody` unless it is JSON within safe limits (no NaN, bounded depth and digits)."""
        return parse_json(self.body)


class Sends(Protocol):
    """Whatever a request can be given to: the door itself, or something before it that keeps to a store's pace."""

    async def send(self, request: HttpRequest) -> HttpResponse:
        """Send one request and read its whole answer. Raises the `OutboundError` tree."""
        ...


def retry_after(headers: Mapping[str, str], now: datetime) -> timedelta | None:
    """Read `Retry-After`, seconds (also fractional) or an HTTP date, clamped to 0..24 h; None when absent or absurd."""
    text = headers.get("retry-after", "").strip()
    if SECONDS.fullmatch(text):
        # Clamped as a number first: a timedelta holds fewer seconds than twenty digits do.
        return timedelta(seconds=min(float(text), LONGEST_WAIT.total_seconds()))
    moment = _http_date(text)
    return None if moment is None else min(max(moment - now, timedelta(0)), LONGEST_WAIT)


def _http_date(text: str) -> datetime | None:
    """Return an HTTP date as aware UTC; one without a zone is UTC, as HTTP says."""
    try:
        moment = parsedate_to_datetime(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
