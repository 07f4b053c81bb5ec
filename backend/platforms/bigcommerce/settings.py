"""What a company says of its BigCommerce store."""

from __future__ import annotations

import re

from pydantic import Field, field_validator

from backend.platforms.base import HeaderText, StrictModel

API = "https://api.bigcommerce.com"
LARGEST_PAGE = 250
# The hash alone, the API path, or the address of the control panel.
_HASH = re.compile(
    r"(?:[a-z0-9]{2,20}"
    r"|https?://[^/?#]+/stores/(?P<path>[a-z0-9]{2,20})(?:/.*)?"
    r"|https://store-(?P<panel>[a-z0-9]{2,20})\.mybigcommerce\.com(?:/.*)?)"
)


class BigCommerceOptions(StrictModel):
    """How the walk goes. `page_size`: orders per request; each open one costs another request, for its cart."""

    page_size: int = Field(50, ge=1, le=LARGEST_PAGE)


class BigCommerceSettings(StrictModel):
    """One store. `base_url` replaces the address of the API, for a proxy or a simulator."""

    store_hash: str = Field(max_length=200)
    base_url: str = Field(API, pattern=r"^https?://[^?#\s]+$")
    allow_http: bool = False
    options: BigCommerceOptions = BigCommerceOptions()

    @field_validator("store_hash")
    @classmethod
    def _hash(cls, value: str) -> str:
        """Accept the hash, the API path or the control panel's address; keep the hash."""
        found = _HASH.fullmatch(value.strip().lower())
        if found is None:
            raise ValueError("must be the store's hash, the word after /stores/ in the API path")
        return found["path"] or found["panel"] or found[0]

    @property
    def root(self) -> str:
        """Where the store's API begins, without a slash at its end."""
        return f"{self.base_url.rstrip('/')}/stores/{self.store_hash}"


class BigCommerceCredentials(StrictModel):
    """The access token of a store-level API account or of an installed app."""

    access_token: HeaderText
