"""What a company says of its WooCommerce store."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import SplitResult, urlsplit, urlunsplit

from pydantic import Field, StringConstraints, field_validator, model_validator

from backend.platforms.base import PacedOptions, StrictModel

Word = Annotated[str, StringConstraints(strip_whitespace=True, pattern=r"^[a-z0-9_-]{1,40}$")]
# Never open carts: paid ones, and words that change what the whole list holds.
NOT_OPEN = frozenset({"processing", "completed", "refunded", "trash", "any", "auto-draft"})
DEFAULT_PORTS = {"http": 80, "https": 443}


class WooCommerceOptions(PacedOptions):
    """How orders are read as carts.

    `statuses` of open carts; ``on-hold`` only when awaiting a bank transfer shall count as abandoned. `created_via`:
    who makes carts; a headless shop that orders through REST adds ``rest-api``. `page_size`: orders per request.
    `consent_meta_key`: the order meta key under which a plugin keeps the e-mail consent.
    """

    statuses: tuple[Word, ...] = Field(("pending", "failed", "checkout-draft"), min_length=1)
    created_via: tuple[Word, ...] = Field(("checkout", "store-api"), min_length=1)
    page_size: int = Field(100, ge=1, le=100)
    consent_meta_key: str | None = Field(None, min_length=1, max_length=255)

    @field_validator("statuses")
    @classmethod
    def _only_open(cls, statuses: tuple[str, ...]) -> tuple[str, ...]:
        wrong = sorted(NOT_OPEN.intersection(statuses) | {word for word in statuses if word.startswith("wc-")})
        if wrong:
            raise ValueError(f"not a status of an open cart: {', '.join(wrong)} (write pending, not wc-pending)")
        return statuses


class WooCommerceSettings(StrictModel):
    """`base_url` is the site's home URL, as WordPress shows it under Settings, General: signatures are made over it."""

    base_url: str
    allow_http: bool = False
    options: WooCommerceOptions = WooCommerceOptions()

    @field_validator("base_url")
    @classmethod
    def _home_url(cls, value: str) -> str:
        parts = urlsplit(value.strip())
        if parts.scheme not in DEFAULT_PORTS or not parts.hostname:
            raise ValueError("must be the site's home URL, beginning with https:// (or http://)")
        if parts.query or parts.fragment or parts.username or parts.password:
            raise ValueError("must have no user, no query and no fragment")
        return urlunsplit(parts._replace(netloc=_host(parts), path=parts.path.rstrip("/")))

    @model_validator(mode="after")
    def _http_is_wanted(self) -> WooCommerceSettings:
        if self.base_url.startswith("http://") and not self.allow_http:
            raise ValueError("base_url is http://; set allow_http: true if the store has no https")
        return self


class WooCommerceCredentials(StrictModel):
    """A REST API key with the permission Read, made by a user who may list orders."""

    consumer_key: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
    consumer_secret: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


def _host(parts: SplitResult) -> str:
    """Return host and port as WordPress writes them: lower case, without the scheme's own port."""
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    return host if parts.port in (None, DEFAULT_PORTS[parts.scheme]) else f"{host}:{parts.port}"
