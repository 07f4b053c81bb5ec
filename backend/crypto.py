"""AES-256-GCM envelopes: a master key wraps data keys, data keys seal values and wrap subject keys.

Sealed form: one version byte (1), a fresh 12-byte nonce, the ciphertext with its 16-byte tag. The associated data
binds a value to its place, so a sealed value moved to another row, column or company does not open.
"""

from __future__ import annotations

import base64
import hashlib
import os
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from backend.config import Settings, read_master_key
from backend.errors import SetupProblem

VERSION = b"\x01"
NONCE, TAG = 12, 16
KEY_BYTES = 32  # AES-256


class SealBroken(Exception):
    """A sealed value does not open: wrong key, wrong place, or altered."""


def seal(key: bytes, plain: bytes, place: str) -> bytes:
    """Seal `plain` under a 32-byte `key` for `place` (company/table/column/row/key version)."""
    nonce = os.urandom(NONCE)
    return VERSION + nonce + _cipher(key).encrypt(nonce, plain, place.encode())


def unseal(key: bytes, sealed: bytes, place: str) -> bytes:
    """Open what `seal` made. Raises `SealBroken`."""
    if sealed[:1] != VERSION:
        raise SealBroken("unknown version of a sealed value")
    try:
        return _cipher(key).decrypt(sealed[1 : NONCE + 1], sealed[NONCE + 1 :], place.encode())
    except (InvalidTag, ValueError):  # ValueError: too short to hold a nonce
        raise SealBroken("a sealed value does not open here") from None


def _cipher(key: bytes) -> AESGCM:
    """Return the cipher; the library would take shorter keys too, and be AES-128 then."""
    if len(key) != KEY_BYTES:
        raise SealBroken(f"a key has {KEY_BYTES} bytes, not {len(key)}")
    return AESGCM(key)


def new_key() -> bytes:
    """Return a fresh 32-byte key."""
    return os.urandom(KEY_BYTES)


def key_fingerprint(key: bytes) -> str:
    """Name a key without showing it: 16 hex digits of its SHA-256."""
    return hashlib.sha256(b"fingerprint" + key).hexdigest()[:16]


def other_master_keys(settings: Settings) -> list[bytes]:
    """Return the master keys that open besides the one that wraps."""
    return [read_master_key(key) for key in settings.master_key_others]


def load_master_key(settings: Settings) -> bytes:
    """Return the master key, making the development key file once. Raises `SetupProblem` where it must be set."""
    if settings.master_key:
        return read_master_key(settings.master_key)
    if settings.env == "production" or not settings.is_sqlite:
        raise SetupProblem(
            "MASTER_KEY is not set. Make one with: python -c "
            "'import base64,os; print(base64.b64encode(os.urandom(32)).decode())'"
        )
    return _key_file(settings.sqlite_path.with_suffix(".key"))


def _key_file(path: Path) -> bytes:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = base64.b64encode(new_key())
    # Written whole under another name, then linked: two processes starting at once agree on one key.
    draft = path.with_suffix(f".key.{os.getpid()}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(fresh)
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(draft, path)
    except FileExistsError:
        pass  # another start was first; its key is the one
    finally:
        draft.unlink()
    try:
        return read_master_key(path.read_text().strip())
    except ValueError:
        raise SetupProblem(
            f"{path} does not hold a master key. Put it back from a backup: no other opens what is sealed"
        ) from None
