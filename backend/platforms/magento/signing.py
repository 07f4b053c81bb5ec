"""How a request signs in: OAuth 1.0a with HMAC-SHA256 in the header, or the token alone."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Sequence
from datetime import datetime
from urllib.parse import quote

from backend.platforms.magento.settings import MagentoCredentials

Pairs = Sequence[tuple[str, str]]


def authorization(credentials: MagentoCredentials, url: str, query: Pairs, now: datetime) -> str:
    """Return the Authorization header of a GET of `url` (without query) with these decoded query pairs.

    Every call takes a new nonce, since a store refuses one that it has seen.
    """
    if not credentials.signs:
        return f"Bearer {credentials.access_token}"
    protocol = {
        "oauth_consumer_key": credentials.consumer_key or "",
        "oauth_nonce": secrets.token_hex(16),
        "oauth_signature_method": "HMAC-SHA256",
        "oauth_timestamp": str(int(now.timestamp())),
        "oauth_token": credentials.access_token,
        "oauth_version": "1.0",
    }
    key = f"{_quoted(credentials.consumer_secret or '')}&{_quoted(credentials.access_token_secret or '')}"
    text = signature_base("GET", url, [*query, *protocol.items()])
    protocol["oauth_signature"] = base64.b64encode(hmac.digest(key.encode(), text.encode(), hashlib.sha256)).decode()
    return "OAuth " + ", ".join(f'{name}="{_quoted(value)}"' for name, value in protocol.items())


def signature_base(method: str, url: str, pairs: Pairs) -> str:
    """Return the text that is signed: method, URL, and all parameters in order of their quoted forms (RFC 5849)."""
    quoted = sorted((_quoted(name), _quoted(value)) for name, value in pairs)
    listed = "&".join(f"{name}={value}" for name, value in quoted)
    return "&".join((method, _quoted(url), _quoted(listed)))


def _quoted(text: str) -> str:
    return quote(text, safe="~")
