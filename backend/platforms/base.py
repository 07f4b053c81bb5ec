"""What every shop system's adapter owes, and what it is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any, ClassVar, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from backend.domain.buckets import Allowance, Rate
from backend.domain.carts import CartPage
from backend.outbound import HttpResponse, Sends


class StrictModel(BaseModel):
    """Base of every adapter's settings: an unknown key is an error, values are frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class PacedOptions(StrictModel):
    """Options of every platform that does not tell its own limit; they stand in for the platform's `Pace.rate`.

    `requests_per_second`: no more than this in the long run. `requests_at_once`: and so many without a pause, 1 unless
    set; without `requests_per_second` it does nothing.
    """

    requests_per_second: float | None = Field(None, ge=0.01, le=10_000)
    requests_at_once: int | None = Field(None, ge=1, le=10_000)


# What an HTTP header can carry: printable ASCII without blanks.
HeaderText = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, pattern=r"^[!-~]+$")]


@dataclass(frozen=True, slots=True)
class Connection:
    """One store as the adapter sees it. `settings` and `credentials` were validated by its own models."""

    company_id: str
    integration_id: str
    settings: Mapping[str, Any]
    credentials: Mapping[str, str]

    def __repr__(self) -> str:
        """Leave the credentials out of every log line and traceback."""
        return f"Connection(company_id={self.company_id!r}, integration_id={self.integration_id!r})"


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast one store of a platform may be asked, until its settings or its own answers say otherwise.

    `rate` and `cost` (of one request) are in requests, or in points where the platform counts those. `read` finds the
    store's own figures in an answer, if it has any.
    """

    rate: Rate
    cost: float = 1.0
    read: Callable[[HttpResponse], Allowance | None] | None = None


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an adapter can do; the shared contract suite skips, with the reason, what it cannot.

    `rereads`: single carts can be read again by id, so the gate waits for a read that began after `abandon_at`.
    `pages_by`: how a walk goes on: an opaque `cursor`, a `key` (time and ids seen), or a page `number`.
    `pace`: how fast a store may be asked; a platform without limits of its own is asked politely.
    `overlap`: how far before the watermark each window begins. `sees_purchases`: a purchase shows up in the poll.
    """

    rereads: bool
    pages_by: Literal["cursor", "key", "number"]
    pace: Pace = Pace(Rate(capacity=20, per_second=5))
    overlap: timedelta = timedelta(minutes=10)
    sees_purchases: bool = True


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing a connection check found; `remedy` says what to do when it is not ok."""

    name: str
    ok: bool
    detail: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class ConnectionCheck:
    """The result of a connection check: every finding, and which store answered."""

    findings: tuple[Finding, ...]
    store_id: str | None = None

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return all(finding.ok for finding in self.findings)


class Platform(Protocol):
    """An adapter of one shop system, made anew for each poll with one store's connection.

    It builds requests, reads answers, gives the next page token and maps errors. It never saves, decides or
    calls back. `Settings` has the platform's non-secret keys of the declarative configuration (`base_url`,
    `allow_http`, `options` and so on), `Credentials` its secret ones.
    """

    name: ClassVar[str]
    capabilities: ClassVar[Capabilities]
    Settings: ClassVar[type[StrictModel]]
    Credentials: ClassVar[type[StrictModel]]

    def __init__(self, connection: Connection, http: Sends, now: Callable[[], datetime]) -> None: ...

    @property
    def store_id(self) -> str:
        """A stable identity of the store, the same however often it is connected (host, path or shop domain)."""
        ...

    async def fetch_page(self, window_from: datetime, page_token: str | None) -> CartPage:
        """Return one page of the carts modified at or after `window_from`, from `page_token` on.

        Raises `TryLater` or `FixCredentials`. A record that cannot be read goes into the page's `unreadable`.
        """
        ...

    async def reread(self, source_cart_ids: Sequence[str]) -> CartPage:
        """Return the present state of these carts (at most 100). Only where `capabilities.rereads`.

        A cart the store no longer has comes back as `SourceStatus.EXPIRED` is not possible (nothing to fill in),
        so it is an `Exclusion` with the reason ``gone``.
        """
        ...

    async def check(self) -> ConnectionCheck:
        """Say whether the store can be polled with these credentials, and what to do if not."""
        ...
