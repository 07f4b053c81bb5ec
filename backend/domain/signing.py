"""Standard Webhooks 1.0.0 signatures: HMAC-SHA256 over ``{id}.{timestamp}.{raw body}``, in base64, tagged ``v1``."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets as randomness
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from backend.errors import BadInput

ID_HEADER = "webhook-id"
TIMESTAMP_HEADER = "webhook-timestamp"
SIGNATURE_HEADER = "webhook-signature"
TOLERANCE = timedelta(minutes=5)
SECRET_PREFIX = "whsec_"  # noqa: S105 - the public start of every secret
SECRET_SIZES = range(24, 65)  # bytes, both ends allowed
NEW_SECRET_SIZE = 32
LONGEST_TIMESTAMP = 12  # digits; reaches the year 33658


@dataclass(frozen=True, slots=True)
class SignedHeaders:
    """The three headers of a message as they arrived; None where one is missing. Nothing in them is trusted."""

    message_id: str | None
    timestamp: str | None
    signature: str | None


def make_secret() -> str:
    """Return a new random secret in the form that is shown: ``whsec_`` and base64."""
    return SECRET_PREFIX + base64.b64encode(randomness.token_bytes(NEW_SECRET_SIZE)).decode()


def secret_bytes(secret: str) -> bytes:
    """Return the key of a secret, with or without its prefix. Raises `BadInput` unless it holds 24 to 64 bytes."""
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) not in SECRET_SIZES:
        raise BadInput(
            "the signing secret is not 24 to 64 bytes of base64",
            field="secret",
            remedy="Give a secret of the form whsec_<base64>, or leave it out to have one made.",
        )
    return key


def sign(message_id: str, timestamp: int, body: bytes, secrets: Sequence[str]) -> str:
    """Return the value of `webhook-signature`: one entry per live secret, so that secrets rotate without a gap.

    `timestamp` is the Unix second of this attempt. Raises `BadInput` for an id that could blur the signed text
    and for a missing or malformed secret.
    """
    if not _is_message_id(message_id):
        raise BadInput("a message id is printable ASCII without a dot", field="message_id")
    if not secrets:
        raise BadInput("there is no secret to sign with", field="secret")
    text = _signed_text(message_id, str(timestamp), body)
    return " ".join(_entry(secret_bytes(secret), text) for secret in secrets)


def verify(
    headers: SignedHeaders, body: bytes, secrets: Sequence[str], now: datetime, tolerance: timedelta = TOLERANCE
) -> bool:
    """Whether one entry of the signature was made with one of `secrets`, within `tolerance` of `now`.

    Whatever arrives in `headers` and `body` is answered with a yes or a no. A malformed secret of our own raises
    `BadInput`.
    """
    expected_keys = [secret_bytes(secret) for secret in secrets]
    message_id, timestamp, signature = headers.message_id, headers.timestamp, headers.signature
    if not message_id or not timestamp or not signature:
        return False
    if not _is_message_id(message_id) or not _is_recent(timestamp, now, tolerance) or not signature.isascii():
        return False
    text = _signed_text(message_id, timestamp, body)
    expected = [_entry(key, text) for key in expected_keys]
    return any(hmac.compare_digest(entry, good) for entry in signature.split(" ") for good in expected)


def _signed_text(message_id: str, timestamp: str, body: bytes) -> bytes:
    return b"%s.%s.%s" % (message_id.encode("ascii"), timestamp.encode("ascii"), body)


def _entry(key: bytes, text: bytes) -> str:
    return "v1," + base64.b64encode(hmac.digest(key, text, hashlib.sha256)).decode()


def _is_message_id(value: str) -> bool:
    return bool(value) and value.isascii() and value.isprintable() and "." not in value


def _is_recent(timestamp: str, now: datetime, tolerance: timedelta) -> bool:
    # isdigit alone would let through digits of other scripts, which int() reads and the signed text cannot carry
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= LONGEST_TIMESTAMP):
        return False
    return abs(now.timestamp() - int(timestamp)) <= tolerance.total_seconds()
