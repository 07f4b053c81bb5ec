"""What a company says of its Magento store."""

from __future__ import annotations

import re
from typing import Annotated, Self
from urllib.parse import SplitResult, urlsplit, urlunsplit

from pydantic import Field, StringConstraints, field_validator, model_validator

from backend.platforms.base import HeaderText, PacedOptions, StrictModel

DEFAULT_PORTS = {"http": 80, "https": 443}
PLACES = frozenset({"store", "quote_id", "store_id"})
_PLACE = re.compile(r"\{([^{}]*)\}")
StoreCode = Annotated[str, StringConstraints(strip_whitespace=True, pattern=r"^[A-Za-z][A-Za-z0-9_]{0,31}$")]


class MagentoOptions(PacedOptions):
    """How quotes are asked for and read.

    `store_view`: the code in ``/rest/<code>/V1``; ``all`` reads the quotes of every view. `store_ids`: only quotes of
    these store views. `page_size`: quotes per request. `recovery_url`: a template with ``{store}`` (base_url),
    ``{quote_id}`` and ``{store_id}``; Magento gives no link of its own, and ``/checkout/cart`` shows a cart only to
    the browser or the customer that it belongs to. `ask_totals`: ask for each open cart's totals (discount, tax), one
    request per cart; otherwise the total is the sum of the lines. `product_details`: images and links over GraphQL.
    """

    store_view: StoreCode = "all"
    store_ids: tuple[Annotated[int, Field(ge=0, le=65_535)], ...] = Field((), max_length=100)
    page_size: int = Field(100, ge=1, le=100)
    recovery_url: str | None = Field("{store}/checkout/cart", max_length=1000)
    ask_totals: bool = False
    product_details: bool = True

    @field_validator("recovery_url")
    @classmethod
    def _is_a_template(cls, value: str | None) -> str | None:
        if value is None:
            return None
        unknown = sorted(set(_PLACE.findall(value)) - PLACES)
        rest = _PLACE.sub("1", value.replace("{store}", "https://store.example", 1))
        if unknown or "{" in rest or "}" in rest:
            raise ValueError("may hold {store}, {quote_id} and {store_id}, and no other braces")
        parts = urlsplit(rest)
        if parts.scheme not in DEFAULT_PORTS or not parts.hostname or not rest.isprintable() or " " in rest:
            raise ValueError("must begin with {store} or with https://")
        return value


class MagentoSettings(StrictModel):
    """`base_url` is the store's base URL, what stands before ``/rest``."""

    base_url: str
    allow_http: bool = False
    options: MagentoOptions = MagentoOptions()

    @field_validator("base_url")
    @classmethod
    def _is_plain(cls, value: str) -> str:
        parts = urlsplit(value.strip())
        if parts.scheme not in DEFAULT_PORTS or not parts.hostname or parts.port == 0:
            raise ValueError("must be the store's base URL, beginning with https:// (or http://)")
        if parts.query or parts.fragment or parts.username or parts.password:
            raise ValueError("must have no user, no query and no fragment")
        return urlunsplit(parts._replace(netloc=_host(parts), path=parts.path.rstrip("/")))

    @model_validator(mode="after")
    def _http_is_wanted(self) -> Self:
        if self.base_url.startswith("http://") and not self.allow_http:
            raise ValueError("base_url is http://; set allow_http: true if the store has no https")
        return self


class MagentoCredentials(StrictModel):
    """The values of an integration, as Magento shows them when it is activated.

    All four sign each request (OAuth 1.0a). `access_token` alone is sent as a Bearer token, which a store takes only
    when told so, from 2.4.4 on.
    """

    access_token: HeaderText
    consumer_key: HeaderText | None = None
    consumer_secret: HeaderText | None = None
    access_token_secret: HeaderText | None = None

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        given = [self.consumer_key, self.consumer_secret, self.access_token_secret]
        if any(given) and not all(given):
            raise ValueError("give all four values of the integration, or access_token alone")
        return self

    @property
    def signs(self) -> bool:
        """Whether requests are signed, rather than sent with the token alone."""
        return self.consumer_key is not None


def _host(parts: SplitResult) -> str:
    """Return host and port in lower case, without the scheme's own port."""
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    return host if parts.port in (None, DEFAULT_PORTS[parts.scheme]) else f"{host}:{parts.port}"
