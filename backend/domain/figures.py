"""The names and figures that people set, with their bounds: one place for the API and the configuration file."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints

from backend.domain.cards import without_cards

# Where a figure has a default it stands here, so that the API, the file and the tables agree.
DEFAULT_WEIGHT = 1
DEFAULT_TEMPLATE = "ecommerce-abandoned-cart"
DEFAULT_THRESHOLD_MINUTES = 30
DEFAULT_HORIZON_DAYS = 30
DEFAULT_ATTRIBUTION_DAYS = 7
DEFAULT_LOOKBACK_DAYS = 3
DEFAULT_MAX_CARTS = 100

AgentStatus = Literal["active", "inactive"]
CompanyStatus = Literal["active", "inactive"]
IntegrationStatus = Literal["active", "paused", "inactive"]
DestinationStatus = Literal["active", "disabled", "inactive"]


def _printable(value: str) -> str:
    """Refuse control characters: PostgreSQL cannot store NUL, and the rest only hides in a page or a log."""
    if not value.isprintable():
        raise ValueError("holds characters that cannot be shown")
    return value


def _no_card(value: str) -> str:
    """Refuse the number of a payment card where nobody has any business to write one."""
    if without_cards(value)[1]:
        raise ValueError("holds what looks like the number of a payment card")
    return value


Name = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=200),
    AfterValidator(_printable),
    AfterValidator(_no_card),
]
RowId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.:~-]{1,80}$")]
Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,99}$")]
Url = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2000), AfterValidator(_printable)
]
Weight = Annotated[
    int, Field(ge=1, le=100, description="Its share of the work when there is too much: 2 is twice that of 1.")
]
ThresholdMinutes = Annotated[int, Field(ge=1, le=43_200, description="Idle minutes after which a cart is abandoned.")]
HorizonDays = Annotated[
    int, Field(ge=1, le=365, description="Days after which an abandonment is lost, not handed off.")
]
AttributionDays = Annotated[
    int, Field(ge=1, le=365, description="Days after contact within which a purchase counts as recovered.")
]
PollInterval = Annotated[
    int, Field(ge=5, le=86_400, description="Seconds between two polls. Unset: the polling interval.")
]
LookbackDays = Annotated[int, Field(ge=0, le=365, description="How many days back the first poll looks.")]
MaxCarts = Annotated[int, Field(ge=1, le=100, description="Carts in one payload at most.")]
