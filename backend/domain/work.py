"""What the lanes hold while they work: claimed rows as frozen values."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from backend.domain.cursor import Cursor
from backend.domain.lifecycle import AgentRules
from backend.domain.payload import CompanyCard, Sender


@dataclass(frozen=True, slots=True)
class Scope:
    """Which integrations the poll lane looks at."""

    template_slug: str
    platforms: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AgentCard:
    """An agent with its company and its figures."""

    company: CompanyCard
    id: str
    name: str
    rules: AgentRules

    def sender(self, platform: str) -> Sender:
        """Whose carts those of this agent's store on `platform` are."""
        return Sender(self.company, self.id, self.name, platform)


def platform_shown(platform: str, settings: dict[str, Any]) -> str:
    """Return the platform as partners are told it: a mock store goes by the one it imitates."""
    if platform != "mock":
        return platform
    return str((settings.get("options") or {}).get("flavour") or "shopify")


@dataclass(frozen=True, slots=True)
class PollWork:
    """One claimed integration. `token` is the lease; whoever holds another one changes nothing."""

    company_id: str
    integration_id: str
    name: str
    platform: str
    store_id: str
    settings: dict[str, Any]
    credentials_sealed: bytes
    credentials_version: int
    agent: AgentCard
    cursor: Cursor
    initial_lookback: timedelta
    period: timedelta | None
    next_poll_at: datetime
    failures: int
    refusals: int
    first_refused_at: datetime | None
    is_paused: bool
    has_trouble: bool  # its row tells of something that a success clears
    has_waiting: bool  # some carts wait to be read again
    claims: int  # this one included; above one, an earlier claim was never settled
    budget: dict[str, Any] | None
    notices: list[str] | None
    token: str
    lease: timedelta  # how long the lease lasts from when it is renewed

    @property
    def is_suspect(self) -> bool:
        """Whether it failed last time."""
        return self.failures > 0

    @property
    def platform_shown(self) -> str:
        """The platform as partners are told it."""
        return platform_shown(self.platform, self.settings)


@dataclass(frozen=True, slots=True)
class Target:
    """A destination as the writer of deliveries sees it."""

    id: str
    agent_id: str
    max_carts: int
    include_uncontactable: bool
    include_opted_out: bool


@dataclass(frozen=True, slots=True)
class SweepWork:
    """Claimed carts of one company and integration."""

    company_id: str
    integration_id: str
    cart_ids: tuple[str, ...]
    token: str

    is_suspect = False


@dataclass(frozen=True, slots=True)
class DestinationTurn:
    """A destination that this worker alone works off for a while.

    `failures` are those in a row so far; `is_proven`: there are none, and it has answered well before.
    """

    company_id: str
    destination_id: str
    url: str
    secrets_sealed: bytes
    secrets_version: int
    failures: int
    is_suspect: bool
    is_proven: bool
    token: str


@dataclass(frozen=True, slots=True)
class DeliveryWork:
    """One claimed delivery with what is needed to send it."""

    company_id: str
    id: str
    destination_id: str
    webhook_id: str
    type: str
    body: bytes
    attempts: int  # this one included: attempts are counted at claim
    due_at: datetime
    first_attempt_at: datetime | None
    cycle_id: str | None
    token: str


COUNTS = (
    "agents_found",
    "polls_succeeded",
    "polls_failed",
    "pages",
    "carts_seen",
    "carts_new",
    "carts_changed",
    "carts_abandoned",
    "carts_excluded",
    "records_quarantined",
    "deliveries_made",
    "deliveries_succeeded",
    "deliveries_failed",
    "poll_ms",
    "fetch_ms",
    "save_ms",
    "deliver_ms",
)


@dataclass(slots=True)
class Tally:
    """Counts of one piece of work, added to the cycle's row of this company and worker."""

    counts: Counter[str] = field(default_factory=Counter)
    platforms: set[str] = field(default_factory=set)
    value: dict[str, Decimal] = field(default_factory=dict)

    def add_value(self, currency: str, amount: Decimal) -> None:
        """Add to one currency's value; currencies are never summed together."""
        self.value[currency] = self.value.get(currency, Decimal(0)) + amount

    def merge(self, other: Tally) -> None:
        """Add another tally."""
        self.counts.update(other.counts)
        self.platforms |= other.platforms
        for currency, amount in other.value.items():
            self.add_value(currency, amount)
