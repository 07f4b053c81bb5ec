"""Who asks: OAuth 1.0a over plain http, Basic or keys in the query over https, as WooCommerce decides it."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from simulator.woocommerce import refusals
from simulator.woocommerce.site import ApiKey, Site

WINDOW_SECONDS = 15 * 60
DIGESTS = {"HMAC-SHA1": hashlib.sha1, "HMAC-SHA256": hashlib.sha256}
OAUTH_NAMES = "oauth_consumer_key oauth_timestamp oauth_nonce oauth_signature oauth_signature_method".split()


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as PHP sees it: `path` below the site, `query` decoded pairs, `is_ssl` PHP's opinion of TLS."""

    method: str
    path: str
    query: Sequence[tuple[str, str]]
    authorization: str
    is_ssl: bool
    unix_time: int


def authenticate(site: Site, asked: Asked) -> None:
    """Return when the request may go on; raises `Refused` otherwise.

    Basic and keys in the query count over TLS only; over plain http they are ignored, as if there were none.
    """
    key = (_by_secret(site, asked) if asked.is_ssl else None) or _by_signature(site, asked)
    if key is None:
        raise refusals.cannot_view(401)
    reads = asked.method in {"GET", "HEAD", "OPTIONS"}
    needed = "read" if reads else "write"
    if needed not in key.permissions:
        raise refusals.authentication(f"The API key provided does not have {needed} permissions.")
    if not key.manages_orders:
        raise refusals.cannot_view(403)


def _by_secret(site: Site, asked: Asked) -> ApiKey | None:
    name, secret = _basic(site, asked)
    if not name or not secret:
        given = dict(asked.query)
        name, secret = given.get("consumer_key", ""), given.get("consumer_secret", "")
    key = site.keys.get(name)
    if key is None or not secret:
        return None
    if not hmac.compare_digest(key.secret.encode(), secret.encode()):
        raise refusals.authentication("Consumer secret is invalid.")
    return key


def _basic(site: Site, asked: Asked) -> tuple[str, str]:
    scheme, _, rest = asked.authorization.partition(" ")
    if site.strips_authorization or scheme.lower() != "basic":
        return "", ""
    name, _, secret = base64.b64decode(rest).decode().partition(":")
    return name, secret


def _by_signature(site: Site, asked: Asked) -> ApiKey | None:
    given = dict(asked.query)
    missing = [name for name in OAUTH_NAMES if not given.get(name)]
    if len(missing) == len(OAUTH_NAMES):
        return None
    if missing:
        code = "woocommerce_rest_authentication_missing_parameter"
        raise refusals.Refused(401, code, f"Missing OAuth parameters {', '.join(missing)}")
    key = site.keys.get(given["oauth_consumer_key"])
    if key is None:
        raise refusals.authentication("Consumer key is invalid.")
    _check_signature(site, asked, key)
    _check_freshness(key, given, asked.unix_time)
    return key


def _check_signature(site: Site, asked: Asked, key: ApiKey) -> None:
    given = dict(asked.query)
    digest = DIGESTS.get(given["oauth_signature_method"])
    if digest is None:
        raise refusals.authentication("Invalid signature - signature method is invalid.")
    base = signature_base(asked.method, site.home + asked.path, asked.query)
    wanted = base64.b64encode(hmac.new(f"{key.secret}&".encode(), base.encode(), digest).digest()).decode()
    names = [name for name, _ in asked.query if not name.endswith("[]")]
    # PHP keeps the last of equal names and would let them pass; whoever sends a parameter twice signed by luck.
    doubled = len(names) != len(set(names))
    if doubled or not hmac.compare_digest(wanted, given["oauth_signature"]):
        raise refusals.authentication("Invalid signature - provided signature does not match.")


def _check_freshness(key: ApiKey, given: Mapping[str, str], now: int) -> None:
    stamp = int(given["oauth_timestamp"]) if given["oauth_timestamp"].isdigit() else 0
    if abs(now - stamp) > WINDOW_SECONDS:
        raise refusals.authentication("Invalid timestamp.")
    for nonce in [nonce for nonce, used in key.nonces.items() if now - used > WINDOW_SECONDS]:
        del key.nonces[nonce]
    if given["oauth_nonce"] in key.nonces:
        raise refusals.authentication("Invalid nonce - nonce has already been used.")
    key.nonces[given["oauth_nonce"]] = now


def signature_base(method: str, url: str, query: Sequence[tuple[str, str]]) -> str:
    """Return the text that is signed: method, the site's own URL, and the sorted parameters, each quoted twice.

    Array parameters without an index (``status[]``) count as PHP numbers them: ``status[0]``, ``status[1]``.
    """
    pairs: list[str] = []
    counts: dict[str, int] = {}
    named: dict[str, str] = {}
    for name, value in query:
        listed = name.endswith("[]")
        index = counts[name] = counts.get(name, -1) + 1
        named[f"{name[:-2]}[{index}]" if listed else name] = value
    named.pop("oauth_signature", None)
    for name, value in sorted(named.items()):
        pairs.append(quote(f"{quote(name, safe='~')}={quote(value, safe='~')}", safe=""))
    return f"{method}&{quote(url, safe='')}&{'%26'.join(pairs)}"
