"""What a store's refusal means for the poll: wait, fix something, or drop a status it does not know."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from backend.errors import BadBody, FixCredentials, PlatformError, TryLater
from backend.outbound import HttpResponse, retry_after
from backend.platforms.reading import quotable

CLOCK_WINDOW = timedelta(minutes=14)  # stores refuse signatures more than 15 minutes off
_SLUG = re.compile(r"[a-z0-9_-]+")

# Messages are translated on non-English sites, so they only sharpen what the code says: fragment -> code, remedy.
_KEY_FAULTS = (
    ("consumer key is invalid", "consumer_key_invalid", "Make a new REST API key and save both its halves here."),
    ("consumer secret is invalid", "consumer_secret_invalid", "Copy the consumer secret again, or make a new key."),
    (
        "read permissions",
        "key_cannot_read",
        "The key's permission is Write only; make one with Read under WooCommerce, Settings, Advanced, REST API.",
    ),
    (
        "invalid signature",
        "signature_refused",
        (
            "Check the consumer secret, and that base_url is the site's home URL to the letter (host, port, http or "
            "https): the store checks signatures against that URL."
        ),
    ),
)
_ANY_KEY_FAULT = (
    "Check that the key was not revoked, that it may read, and that base_url is exactly the site's home URL; "
    "then save the consumer key and secret again."
)
_UNSEEN_OVER_TLS = (
    "The store took us for nobody. Either the consumer key is unknown, or the web server strips the Authorization "
    "header, or WordPress behind a proxy does not see that TLS is in use: ask the host to pass the header and to set "
    "X-Forwarded-Proto or $_SERVER['HTTPS'], and check the key."
)
_UNSEEN_OVER_HTTP = (
    "The store ignored the signature in the query. Something before WordPress removes oauth_ parameters; ask the host "
    "to pass them, or give the store https and use its https:// address here."
)
_TOO_OLD = "The store does not know modified dates; update WooCommerce to 5.9 or newer."


class UnknownStatuses(Exception):
    """The store refused the whole question because it does not know these statuses."""

    def __init__(self, statuses: frozenset[str]) -> None:
        super().__init__(", ".join(sorted(statuses)))
        self.statuses = statuses


@dataclass(frozen=True, slots=True)
class Question:
    """What a refusal answers: the statuses asked for, whether over TLS, and our time (aware UTC)."""

    statuses: Sequence[str]
    over_tls: bool
    asked_at: datetime


def refusal(response: HttpResponse, question: Question) -> Exception:
    """Return what to raise for an answer that is not 200."""
    status, body = response.status, _error_body(response)
    if status in (401, 403):
        return _not_allowed(response, body, question)
    if status in (402, 423):
        return FixCredentials(
            f"the store answered {status}: its host has locked it",
            code="store_locked",
            remedy="Ask the store's host why the site is suspended or locked, and have it unlocked.",
        )
    if status == 400 and body:
        return _bad_question(body, question.statuses)
    if status == 404:
        return _no_route(body)
    if 300 <= status < 400:
        return _moved(response)
    code = "throttled" if status == 429 else "store_ill" if status >= 500 else "unexpected_status"
    wait = retry_after(response.headers, response.date or question.asked_at)  # a date is by the clock that wrote it
    return TryLater(f"the store answered {status}", code=code, retry_after=wait)


def _error_body(response: HttpResponse) -> dict[str, Any]:
    """Return the JSON error body; empty for the HTML of hosts, firewalls and dying sites."""
    try:
        body = response.json()
    except BadBody:
        return {}
    return body if isinstance(body, dict) else {}


def _not_allowed(response: HttpResponse, body: dict[str, Any], question: Question) -> PlatformError:
    code, message = str(body.get("code") or ""), str(body.get("message") or "")
    if code == "woocommerce_rest_cannot_view":
        return _unseen(response.status, question.over_tls)
    if not code.startswith("woocommerce_rest_authentication"):
        return FixCredentials(
            f"something before WooCommerce refuses us ({response.status})",
            code="refused_before_woocommerce",
            remedy="A firewall, security plugin or password in front of the site refuses the request; allow "
            "/wp-json/wc/v3/orders for this service.",
        )
    off = abs(response.date - question.asked_at) if response.date is not None else timedelta(0)
    if off > CLOCK_WINDOW or "timestamp" in message.lower():
        return TryLater("the store's clock and ours are too far apart for a signature", code="clock_apart")
    if "nonce" in message.lower():
        return TryLater("the store saw this signature before", code="nonce_used")
    for fragment, fault, remedy in _KEY_FAULTS:
        if fragment in message.lower():
            return FixCredentials("the store refuses the API key", code=fault, remedy=remedy)
    return FixCredentials("the store refuses the API key", code="api_key_refused", remedy=_ANY_KEY_FAULT)


def _unseen(status: int, over_tls: bool) -> FixCredentials:
    if status == 403:
        return FixCredentials(
            "the key's user may not list orders",
            code="user_cannot_view",
            remedy="Make the API key for an administrator or a shop manager.",
        )
    return FixCredentials(
        "the store does not see who we are",
        code="cannot_view",
        remedy=_UNSEEN_OVER_TLS if over_tls else _UNSEEN_OVER_HTTP,
    )


def _bad_question(body: dict[str, Any], asked: Sequence[str]) -> Exception:
    data = body.get("data")
    params = data.get("params") if isinstance(data, dict) else None
    named = params if isinstance(params, dict) else {}
    if "status" in named:
        known = set(_SLUG.findall(str(named["status"])))
        unknown = frozenset(status for status in asked if status not in known)
        if unknown:
            return UnknownStatuses(unknown)
    if {"orderby", "modified_after", "dates_are_gmt"} & named.keys():
        return FixCredentials("the store cannot sort by modified date", code="woocommerce_too_old", remedy=_TOO_OLD)
    names = ", ".join(sorted(str(name) for name in named)) or "no parameter named"
    return TryLater(f"the store refused the question ({quotable(names)})", code="question_refused")


def _no_route(body: dict[str, Any]) -> FixCredentials:
    if body.get("code") == "rest_no_route":
        return FixCredentials(
            "the site answers, WooCommerce does not",
            code="woocommerce_missing",
            remedy="WooCommerce is switched off, or an update of it broke; switch it on again.",
        )
    return FixCredentials(
        "there is no REST API at this address",
        code="rest_api_not_found",
        remedy="Check that base_url is the site's home URL, and that Settings, Permalinks is anything but Plain.",
    )


def _moved(response: HttpResponse) -> FixCredentials:
    try:
        target = urlsplit(response.headers.get("location", ""))
        origin = quotable(f"{target.scheme}://{target.netloc.rpartition('@')[2]}") if target.netloc else ""
    except ValueError:  # no address at all, such as http://[
        origin = ""
    where = origin or "another address"
    return FixCredentials(
        f"the store sends us to {where}",
        code="store_moved",
        remedy="Set base_url to the address that the site itself uses as its home URL; redirects are not followed.",
    )


def too_old() -> FixCredentials:
    """The store answers orders from before the time that was asked for, and nothing else."""
    return FixCredentials("the store ignores modified_after", code="modified_after_ignored", remedy=_TOO_OLD)
