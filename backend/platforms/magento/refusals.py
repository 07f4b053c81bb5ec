"""What a store's refusal means for the poll: wait, fix something, or perhaps one record that it cannot show."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from backend.errors import BadBody, FixCredentials, OutboundError, PlatformError, TryLater
from backend.outbound import HttpResponse, retry_after
from backend.platforms.reading import quotable

# Codes of `TryLater` that one record cannot cause; after any other, the store is asked whether it is sound.
NEVER_A_RECORD = frozenset({"throttled", "store_busy", "clock_apart", "nonce_used"})

_RIGHTS = (
    "Give the integration these rights under System, Integrations, API: Carts (Magento_Cart::manage) and Sales, "
    "Operations, Orders, Actions, View (Magento_Sales::actions_view); then activate it again and save its values."
)
_BEARER = (
    " A token alone is refused by Magento 2.4.4 and newer: save all four values of the integration, or allow it under "
    "Stores, Configuration, Services, OAuth, Allow OAuth Access Tokens to be used as standalone Bearer tokens."
)
_SAVE_AGAIN = "Activate the integration again under System, Integrations, and save its four values here."
_NO_API = ("does not match any route", "store that was requested")
# What an OAuth refusal says -> code, remedy. Messages may be translated, so they only sharpen the status.
_OAUTH = (
    ("signature is invalid", "signature_refused", "Check the two secrets, and that base_url is the store's own URL."),
    ("consumer", "consumer_key_refused", _SAVE_AGAIN),
    ("token", "access_token_refused", _SAVE_AGAIN),
)


def said(response: HttpResponse) -> str:
    """Return the message of an error body with its parameters filled in; empty when there is none."""
    try:
        body = response.json()
    except BadBody:
        return ""
    return message_of(body)


def message_of(body: Any) -> str:
    """Return the message in an error body; its parameters are a list (``%1``) or an object (``%name``)."""
    message = body.get("message") if isinstance(body, dict) else None
    if not isinstance(message, str):
        return ""
    text, parameters = message[:400], body.get("parameters")
    named: list[tuple[str, Any]] = []
    if isinstance(parameters, list):
        named = [(str(place), value) for place, value in enumerate(parameters, 1)]
    elif isinstance(parameters, dict):
        named = list(parameters.items())
    for name, value in sorted(named, key=lambda pair: -len(pair[0]))[:20]:
        text = text.replace(f"%{name}", str(value)[:200])
    return quotable(text)


def unsent(error: OutboundError) -> TryLater:
    """Return what an exchange without a usable answer means."""
    return TryLater(str(error), code=error.code)


def refusal(response: HttpResponse, asked_at: datetime, *, signed: bool) -> PlatformError:
    """Return what to raise for an answer that is not 200. `asked_at`: our time, aware UTC."""
    status, message = response.status, said(response)
    if status in (401, 403) or (status == 400 and _is_oauth(message)):
        return _not_allowed(status, message, signed)
    if status in (402, 423):
        remedy = "Ask the store's host why the site is suspended or locked, and have it unlocked."
        return FixCredentials(f"the store answered {status}: it is locked", code="store_locked", remedy=remedy)
    if status == 404 and (not message or any(words in message for words in _NO_API)):
        return FixCredentials(
            "there is no REST API at this address",
            code="rest_api_not_found",
            remedy="Check base_url, what stands before /rest, and options.store_view.",
        )
    if 300 <= status < 400:
        return _moved(response)
    wait = retry_after(response.headers, response.date or asked_at)  # a date is by the clock that wrote it
    if status == 429:
        return TryLater("the store asks us to slow down", code="throttled", retry_after=wait)
    if status == 503:
        return TryLater("the store is down for maintenance or overloaded", code="store_busy", retry_after=wait)
    code = "store_ill" if status >= 500 else "question_refused" if status in (400, 404) else "unexpected_status"
    detail = f"the store answered {status}" + (f": {message}" if message else "")
    return TryLater(detail, code=code, retry_after=wait)


def filter_ignored() -> FixCredentials:
    """The store answers quotes from before the time that was asked for, and nothing else."""
    return FixCredentials(
        "the store ignores the search criteria",
        code="filter_ignored",
        remedy="Something before Magento drops searchCriteria from the query; ask the host to pass it.",
    )


def _is_oauth(message: str) -> bool:
    """Whether a 400 is about the signature: a missing or misshapen OAuth parameter."""
    lowered = message.lower()
    return "oauth" in lowered or "token length" in lowered or "signature method" in lowered


def _not_allowed(status: int, message: str, signed: bool) -> PlatformError:
    lowered = message.lower()
    if "timestamp" in lowered:
        return TryLater("the store's clock and ours are too far apart for a signature", code="clock_apart")
    if "nonce" in lowered:
        return TryLater("the store saw this signature before", code="nonce_used")
    if "authorized to access" in lowered:
        return FixCredentials(message, code="rights_missing", remedy=_RIGHTS + ("" if signed else _BEARER))
    if not message:
        return FixCredentials(
            f"something before Magento refuses us ({status})",
            code="refused_before_magento",
            remedy="A firewall or a password in front of the store refuses the request; allow /rest for this service.",
        )
    for fragment, code, remedy in _OAUTH:
        if fragment in lowered:
            return FixCredentials(f"the store refuses the integration: {message}", code=code, remedy=remedy)
    detail = f"the store refuses the integration ({status}): {message}"
    return FixCredentials(detail, code="integration_refused", remedy=_SAVE_AGAIN)


def _moved(response: HttpResponse) -> FixCredentials:
    try:
        target = urlsplit(response.headers.get("location", ""))
        origin = quotable(f"{target.scheme}://{target.netloc.rpartition('@')[2]}") if target.netloc else ""
    except ValueError:  # no address at all, such as http://[
        origin = ""
    return FixCredentials(
        f"the store sends us to {origin or 'another address'}",
        code="store_moved",
        remedy="Set base_url to the address that the store itself uses; redirects are not followed.",
    )
