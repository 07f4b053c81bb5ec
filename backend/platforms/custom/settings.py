"""What a company says of its custom store, and how each request signs in with it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Self
from urllib.parse import SplitResult, urlsplit

from pydantic import Field, field_validator, model_validator

from backend.platforms.base import HeaderText, PacedOptions, StrictModel

AuthKind = Literal["bearer", "header", "basic", "hmac"]
FieldName = Literal["id", "email", "phone", "total", "currency", "items", "updated_at", "recovery_url", "completed_at"]
NEEDED: Mapping[AuthKind, tuple[str, ...]] = {
    "bearer": ("token",),
    "header": ("key",),
    "basic": ("username", "password"),
    "hmac": ("secret",),
}
LARGEST_PAGE = 1000
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")
_PATH = re.compile(r"[^.\s]+(\.[^.\s]+){0,9}")
# Headers that frame the connection, or that we set ourselves on every request.
_RESERVED = frozenset(
    "accept accept-encoding connection content-length content-type cookie expect host te trailer transfer-encoding"
    " upgrade user-agent".split()
)


class CustomOptions(PacedOptions):
    """`header_name` serves `auth: header`; `fields` maps our names to dotted paths in the store's own records."""

    auth: AuthKind = "bearer"
    header_name: str = "X-Api-Key"
    page_size: int = Field(default=100, ge=1, le=LARGEST_PAGE)
    fields: dict[FieldName, str] = Field(default_factory=dict)

    @field_validator("header_name")
    @classmethod
    def _is_free(cls, value: str) -> str:
        if not _HEADER_NAME.fullmatch(value) or value.lower() in _RESERVED:
            raise ValueError("is not the name of a header that can carry a key")
        return value

    @field_validator("fields")
    @classmethod
    def _are_paths(cls, value: dict[FieldName, str]) -> dict[FieldName, str]:
        for name, path in value.items():
            if not _PATH.fullmatch(path):
                raise ValueError(f"{name}: a path has one to ten names joined by dots")
        return value


class CustomSettings(StrictModel):
    """`base_url` is what stands before ``/abandoned-carts``."""

    base_url: str
    allow_http: bool = False
    options: CustomOptions = CustomOptions()

    @field_validator("base_url")
    @classmethod
    def _is_plain(cls, value: str) -> str:
        parts = _split(value.strip())
        if parts.username is not None or parts.password is not None:
            raise ValueError("must not hold a user name or password; give them as credentials")
        if parts.query or parts.fragment or "?" in value or "#" in value:
            raise ValueError("must end with the path: no query and no fragment")
        return value.strip().rstrip("/")

    @model_validator(mode="after")
    def _is_safe(self) -> Self:
        if self.base_url.lower().startswith("http:") and not self.allow_http:
            raise ValueError("base_url: use https, or set allow_http for a store that has none")
        return self

    @property
    def store_id(self) -> str:
        """Host, port where it is not the usual one, and path: the same however the URL is spelt."""
        parts = _split(self.base_url)
        usual = {"http": 80, "https": 443}[parts.scheme]
        port = f":{parts.port}" if parts.port not in (None, usual) else ""
        return f"{parts.hostname}{port}{parts.path}"


class CustomCredentials(StrictModel):
    """Exactly one kind: `token`, or `key`, or `username` and `password`, or `secret`."""

    token: HeaderText | None = None
    key: HeaderText | None = None
    username: str | None = None
    password: str | None = None
    secret: str | None = None

    @model_validator(mode="after")
    def _is_one_kind(self) -> Self:
        given = {name for name, value in self if value is not None}
        if given not in [set(needed) for needed in NEEDED.values()]:
            raise ValueError("give a token, or a key, or a username and a password, or a secret")
        for name, value in self:
            if value is not None:
                _check_credential(name, value)
        return self


@dataclass(frozen=True, slots=True)
class Outgoing:
    """What a signature covers; `target` is path and query exactly as they go over the wire."""

    method: str
    target: str
    at: datetime


def missing_credentials(auth: AuthKind, credentials: Mapping[str, str]) -> list[str]:
    """Return the names that this way of signing in needs and that were not given."""
    return [name for name in NEEDED[auth] if not credentials.get(name)]


def auth_headers(options: CustomOptions, credentials: Mapping[str, str], outgoing: Outgoing) -> dict[str, str]:
    """Return the headers that sign this one request in."""
    return _AUTH[options.auth](options, credentials, outgoing)


def _bearer(_options: CustomOptions, credentials: Mapping[str, str], _outgoing: Outgoing) -> dict[str, str]:
    return {"Authorization": f"Bearer {credentials['token']}"}


def _header(options: CustomOptions, credentials: Mapping[str, str], _outgoing: Outgoing) -> dict[str, str]:
    return {options.header_name: credentials["key"]}


def _basic(_options: CustomOptions, credentials: Mapping[str, str], _outgoing: Outgoing) -> dict[str, str]:
    pair = f"{credentials['username']}:{credentials['password']}".encode()
    return {"Authorization": "Basic " + base64.b64encode(pair).decode()}


def _hmac(_options: CustomOptions, credentials: Mapping[str, str], outgoing: Outgoing) -> dict[str, str]:
    stamp = str(int(outgoing.at.timestamp()))
    text = f"{stamp}.{outgoing.method}.{outgoing.target}."  # and the body, which a GET does not have
    signature = hmac.new(credentials["secret"].encode(), text.encode(), hashlib.sha256).hexdigest()
    return {"X-Timestamp": stamp, "X-Signature": signature}


_AUTH: Mapping[AuthKind, Callable[[CustomOptions, Mapping[str, str], Outgoing], dict[str, str]]] = {
    "bearer": _bearer,
    "header": _header,
    "basic": _basic,
    "hmac": _hmac,
}


def _split(url: str) -> SplitResult:
    """Split an http or https URL with a host. Raises `ValueError` for any other."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
        raise ValueError("must be an https:// address with a host")
    return parts


def _check_credential(name: str, value: str) -> None:
    if not value.strip() or not value.isprintable():
        raise ValueError(f"{name}: is empty or holds characters that cannot be sent")
    if name in ("token", "key") and not (value.isascii() and " " not in value):
        raise ValueError(f"{name}: only visible ASCII characters can be sent in a header")
    if name == "username" and ":" in value:
        raise ValueError("username: must not hold a colon")
