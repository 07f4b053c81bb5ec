"""Who asks: OAuth 1.0a in the header, or a token alone where the store allows that; and what they may see."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote, unquote

from simulator.magento.refusals import Refused, oauth, unauthorized
from simulator.magento.store import Integration, Store

DEVIATION_SECONDS = 600
DIGESTS = {"HMAC-SHA1": hashlib.sha1, "HMAC-SHA256": hashlib.sha256}
REQUIRED = "consumer_key signature signature_method nonce timestamp token".split()


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as PHP sees it: `url` without its query, `query` decoded pairs."""

    method: str
    url: str
    query: Sequence[tuple[str, str]]
    authorization: str
    unix_time: int


def authorize(store: Store, asked: Asked, right: str) -> None:
    """Return when whoever asks has `right`; raises `Refused` otherwise."""
    integration = _known(store, asked)
    if integration is None or right not in integration.rights:
        raise unauthorized(right)


def _known(store: Store, asked: Asked) -> Integration | None:
    scheme, _, rest = asked.authorization.partition(" ")
    if scheme.lower() == "oauth":
        return _signed(store, asked, _protocol(rest))
    if scheme.lower() != "bearer" or not store.bearer_allowed:
        return None  # nobody: a token alone is no more than a guest where it is not allowed
    return next((each for each in store.integrations if each.access_token == rest), None)


def _protocol(header: str) -> dict[str, str]:
    pairs = (part.strip().partition("=") for part in header.split(","))
    return {unquote(name): unquote(value.strip('"')) for name, _, value in pairs if name.startswith("oauth_")}


def _signed(store: Store, asked: Asked, given: dict[str, str]) -> Integration:
    missing = [f"oauth_{name}" for name in REQUIRED if not given.get(f"oauth_{name}")]
    if missing:
        raise Refused(400, '"%fieldName" is required. Enter and try again.', {"fieldName": missing[0]})
    if len(given["oauth_token"]) != 32:
        raise Refused(400, "The token length is invalid. Check the length and try again.")
    found = next((each for each in store.integrations if each.consumer_key == given["oauth_consumer_key"]), None)
    if found is None:
        raise oauth("A consumer with the specified key doesn't exist.")
    stamp = int(given["oauth_timestamp"]) if given["oauth_timestamp"].isdigit() else 0
    if not 0 < stamp <= asked.unix_time + DEVIATION_SECONDS:  # an old one is taken: only the future is refused
        raise oauth("The timestamp value in the oauth_timestamp parameter is invalid.")
    if given["oauth_nonce"] in found.nonces:
        raise oauth("The nonce is already being used by the consumer with ID %1.", 1)
    found.nonces.add(given["oauth_nonce"])
    if found.access_token != given["oauth_token"]:
        raise oauth("The specified token doesn't exist.")
    _check_signature(asked, given, found)
    return found


def _check_signature(asked: Asked, given: dict[str, str], found: Integration) -> None:
    digest = DIGESTS.get(given["oauth_signature_method"])
    if digest is None:
        raise Refused(400, "Signature method %1 is not supported", [given["oauth_signature_method"]])
    pairs = [*asked.query, *((name, value) for name, value in given.items() if name != "oauth_signature")]
    text = "&".join(sorted(f"{quote(name, safe='~')}={quote(value, safe='~')}" for name, value in pairs))
    base = f"{asked.method}&{quote(asked.url, safe='')}&{quote(text, safe='')}"
    key = f"{quote(found.consumer_secret, safe='~')}&{quote(found.access_token_secret, safe='~')}"
    wanted = base64.b64encode(hmac.new(key.encode(), base.encode(), digest).digest()).decode()
    if not hmac.compare_digest(wanted, given["oauth_signature"]):
        raise oauth("The signature is invalid. Verify and try again.")
