"""A store as a company describes it, checked and opened: settings and credentials through its adapter's own models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from pydantic import BaseModel, ValidationError

from backend.clock import Clock
from backend.config import Settings
from backend.domain.targets import TargetRules, check_target
from backend.errors import AddressBlocked, BadInput
from backend.outbound import Outbound, legal_url
from backend.platforms.base import Connection, Platform
from backend.platforms.registry import PLATFORMS

MOST_BYTES = 16 * 1024
LONGEST_STORE_ID = 500
MOST_FAULTS = 5  # told in one message
WORDS = {
    "missing": "is missing",
    "extra_forbidden": "is not known",
    "string_type": "must be a text, in quotes where it looks like a number",
}


@dataclass(frozen=True, slots=True)
class StoreCard:
    """A store as described by its company. `ids` are those of company and integration."""

    ids: tuple[str, str]
    platform: str
    settings: Mapping[str, Any]
    credentials: Mapping[str, Any]

    def __repr__(self) -> str:
        """Leave the credentials out of every log line and traceback."""
        return f"StoreCard(platform={self.platform!r})"


@dataclass(frozen=True, slots=True)
class OpenStore:
    """A store whose description holds: what to save, and the adapter to reach it by."""

    settings: dict[str, Any]
    credentials: dict[str, str]
    store_id: str
    adapter: Platform

    def __repr__(self) -> str:
        """Leave the credentials out of every log line and traceback."""
        return f"OpenStore(store_id={self.store_id!r})"


class StoreOpener:
    """Checks descriptions of stores. Touches neither network nor database."""

    def __init__(self, settings: Settings, clock: Clock, http: Outbound) -> None:
        self._settings = settings
        self._clock = clock
        self._http = http

    def open(self, card: StoreCard) -> OpenStore:
        """Return the store. Raises `BadInput` that names the field and the remedy."""
        adapter = adapter_of(card.platform)
        settings = _settings_of(adapter, card.settings)
        self._check_address(settings)
        credentials = _credentials_of(adapter, card.credentials)
        _check_storable(settings, "settings")
        _check_storable(credentials, "credentials")
        opened = adapter(Connection(*card.ids, settings, credentials), self._http, self._clock.now)
        if len(opened.store_id) > LONGEST_STORE_ID:
            raise BadInput("the store's address is too long", field="settings", remedy="give a shorter address")
        return OpenStore(settings, credentials, opened.store_id, opened)

    def _check_address(self, settings: Mapping[str, Any]) -> None:
        """Refuse a base URL that would never be called, while the person who gave it is there."""
        url = settings.get("base_url")
        if url is None:
            return
        allow_http = bool(settings.get("allow_http"))
        if url.lower().startswith("http:") and not allow_http:
            remedy = "use https, or set allow_http: true for a store that has none"
            raise BadInput("base_url is plain http", field="settings.base_url", remedy=remedy)
        check_url(url, "settings.base_url", target_rules(self._settings, http=allow_http))


def adapter_of(platform: str) -> type[Platform]:
    """Return the platform's adapter. Raises `BadInput` that lists the platforms there are."""
    if platform not in PLATFORMS:
        known = ", ".join(sorted(PLATFORMS))
        raise BadInput(f"there is no platform {platform!r}", field="platform", remedy=f"use one of {known}")
    return PLATFORMS[platform]


def is_polled_here(platform: str, settings: Settings) -> bool:
    """Whether this installation polls the platform at all; a mock needs no mention."""
    return platform in settings.platforms or platform == "mock"


def target_rules(settings: Settings, *, http: bool = False) -> TargetRules:
    """Return what this installation lets companies call."""
    ports, denied = frozenset(settings.outbound_allowed_ports), settings.outbound_denied_addresses
    return TargetRules(settings.outbound_allow_loopback, ports, http, denied)


def check_url(url: str, field: str, rules: TargetRules) -> None:
    """Raise `BadInput` unless `url` may be called, as it was given and in the form it is sent in.

    The two may differ: of a host in other scripts' digits and dots, only the second shows the address.
    """
    check_target(url, field, rules)
    try:
        sent = legal_url(url)
    except AddressBlocked as fault:
        raise BadInput(str(fault), field=field, remedy="give the address as a browser shows it") from fault
    check_target(sent, field, rules)


def _check_storable(values: Mapping[str, Any], part: str) -> None:
    """Refuse text that a database cannot hold (NUL, half a surrogate pair), and more than anybody needs."""
    try:
        text = orjson.dumps(values)
    except orjson.JSONEncodeError:
        text = b"\\u0000"
    if b"\\u0000" in text or len(text) > MOST_BYTES:
        raise BadInput(
            f"the {part} are too long or hold characters that cannot be stored",
            field=part,
            remedy="check what was pasted in",
        )


def _settings_of(adapter: type[Platform], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings in the form that is stored: what was given, as the adapter's model reads it."""
    model = _validated(adapter.Settings, given, "settings")
    return model.model_dump(mode="json", exclude_unset=True)


def _credentials_of(adapter: type[Platform], given: Mapping[str, Any]) -> dict[str, str]:
    model = _validated(adapter.Credentials, given, "credentials")
    return {name: str(value) for name, value in model.model_dump(mode="json", exclude_none=True).items()}


def _validated(model: type[BaseModel], given: Mapping[str, Any], part: str) -> BaseModel:
    try:
        return model.model_validate(dict(given))
    except ValidationError as error:
        raise _bad_input(error, part, sorted(model.model_fields)) from None


def _bad_input(error: ValidationError, part: str, known: list[str]) -> BadInput:
    """Return what is wrong in plain words. Never quotes what was given, which may be a secret."""
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    places = [".".join([part, *(str(step) for step in fault["loc"])]) for fault in faults]
    told = [
        f"{place} {WORDS.get(fault['type'], fault['msg'].removeprefix('Value error, '))}"
        for place, fault in zip(places, faults, strict=True)
    ]
    names = ", ".join(known) or "none"
    return BadInput("; ".join(told[:MOST_FAULTS]), field=places[0], remedy=f"the {part} it takes: {names}")
