"""The one door for outbound HTTP: total deadline, capped bodies, guarded addresses, no redirects, no cookies.

SKELETON: the names and signatures below are fixed, the insides are being written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any


@dataclass(frozen=True, slots=True)
class OutboundPolicy:
    """What the door lets through. Byte figures are per answer."""

    allow_loopback: bool = False
    allowed_ports: frozenset[int] = frozenset({80, 443, 8080, 8443})
    raw_limit: int = 10 * 1024 * 1024
    inflated_limit: int = 20 * 1024 * 1024
    user_agent: str = "cart-recovery/1.0"
    require_tls13: bool = False


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One request. `url` is signed, sent and logged in the wire form that `wire_url` gives."""

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
    """One answer, read to its end and inflated. `headers` keys are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    elapsed: timedelta

    @property
    def date(self) -> datetime | None:
        """The `Date` header as aware UTC; None when missing or unreadable."""
        raise NotImplementedError

    def json(self) -> Any:
        """Parse the body. Raises `BadBody` unless it is JSON within the safe limits (no NaN, bounded depth and digits)."""
        raise NotImplementedError


def wire_url(url: str) -> str:
    """Return the exact form of `url` that goes over the wire, made once."""
    raise NotImplementedError


def redacted_url(url: str) -> str:
    """Return `url` without userinfo and with query values and secret-looking path parts masked, for logs."""
    raise NotImplementedError


def retry_after(headers: Mapping[str, str], now: datetime) -> timedelta | None:
    """Read `Retry-After`, seconds (also fractional) or an HTTP date, clamped to 0..24 h; None when absent or absurd."""
    raise NotImplementedError


class Outbound:
    """Long-lived client; make one per event loop and close it. Raises the `OutboundError` tree."""

    def __init__(self, policy: OutboundPolicy) -> None:
        self.policy = policy

    async def send(self, request: HttpRequest) -> HttpResponse:
        """Send one request and read its whole answer."""
        raise NotImplementedError

    async def aclose(self) -> None:
        """Close every connection."""
        raise NotImplementedError
