"""Takes secrets out of what others answer, before it is kept: a partner may send back what it was sent, or knows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from urllib.parse import quote

from backend.domain.signing import SECRET_PREFIX

MASK = b"[redacted]"
# Credentials as their makers shape them: nobody's answer has a reason to hold one.
SHAPES = re.compile(
    rb"whsec_[A-Za-z0-9+/=_-]{16,}|shp[a-z]{2}_[0-9A-Fa-f]{16,}|\bc[ks]_[0-9a-f]{16,}|crk_[a-z]+_\w{16,}"
)


def without_secrets(text: bytes, secrets: Iterable[str]) -> bytes:
    """Return `text` with these signing secrets masked, and whatever has the shape of a credential."""
    if not text:
        return text
    for secret in secrets:
        for form in _forms(secret.removeprefix(SECRET_PREFIX)):
            text = text.replace(form, MASK)
    return SHAPES.sub(MASK, text.replace(SECRET_PREFIX.encode() + MASK, MASK))


def _forms(secret: str) -> Iterator[bytes]:
    """Yield a base64 text as it is, and as JSON, HTML and URLs write it."""
    forms = {
        secret,
        secret.rstrip("="),
        secret.replace("/", "\\/"),
        secret.replace("+", "\\u002B").replace("/", "\\u002F").replace("=", "\\u003D"),
        secret.replace("+", "&#43;").replace("/", "&#x2F;").replace("=", "&#61;"),
        secret.replace("+", "-").replace("/", "_"),
        quote(secret, safe=""),
    }
    for form in sorted(forms, key=len, reverse=True):
        yield form.encode()
