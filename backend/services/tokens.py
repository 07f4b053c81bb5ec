"""Signed tokens: access and refresh tokens of sessions, and the codes of links. JSON Web Tokens, HMAC-SHA-256.

The key is made from the installation's data key of the version that the token names; no other algorithm and no other
key is ever tried. What a token says is believed only as long as the row it names agrees.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import jwt
from jwt.types import Options

from backend.clock import Clock
from backend.db import Transaction
from backend.domain.audit import INSTALLATION
from backend.services.keyring import Keyring

ALGORITHM = "HS256"
ISSUER = "abandoned-cart-recovery"
KEY_NAME = re.compile(r"v([1-9][0-9]{0,5})")
LONGEST = 2_000  # characters
REQUIRED = ("iss", "aud", "sub", "sid", "iat", "nbf", "exp")
UNCHECKED: Options = {"verify_exp": False, "verify_nbf": False, "verify_iat": False, "require": list(REQUIRED)}


class TokenKind(StrEnum):
    """What a token is for; one kind is never taken for another."""

    ACCESS = "access"
    REFRESH = "refresh"
    LINK = "link"


@dataclass(frozen=True, slots=True)
class Token:
    """What a token says. `about` is the row it names: a session or a link; `generation` counts refresh tokens."""

    subject: str
    about: str
    expires_at: datetime
    generation: int = 0


class Tokens:
    """Makes tokens and reads them again. `tx` is a transaction as the worker's role."""

    def __init__(self, keyring: Keyring, clock: Clock) -> None:
        self._keyring = keyring
        self._clock = clock

    async def make(self, tx: Transaction, kind: TokenKind, token: Token) -> str:
        """Return a signed token."""
        now = self._clock.now()
        version = await self._keyring.newest_version(tx, INSTALLATION, now)
        claims = {
            "iss": ISSUER,
            "aud": kind.value,
            "sub": token.subject,
            "sid": token.about,
            "gen": token.generation,
            "iat": int(now.timestamp()),
            "nbf": int(now.timestamp()),
            "exp": int(token.expires_at.timestamp()),
        }
        return jwt.encode(claims, await self._key(tx, kind, version), ALGORITHM, headers={"kid": f"v{version}"})

    async def read(self, tx: Transaction, kind: TokenKind, given: str) -> Token | None:
        """Return what a token of this kind says; None for any that is not ours, not this kind, or past its time."""
        version = _version(given)
        if version is None or not await self._keyring.has_version(tx, INSTALLATION, version):
            return None
        key = await self._key(tx, kind, version)
        try:
            claims = jwt.decode(given, key, [ALGORITHM], audience=kind.value, issuer=ISSUER, options=UNCHECKED)
        except jwt.InvalidTokenError:
            return None
        return self._in_time(claims)

    def _in_time(self, claims: dict[str, Any]) -> Token | None:
        """Return the token unless its time is over; by the clock that everything else goes by."""
        now = self._clock.now()
        times = [claims["nbf"], claims["exp"], claims.get("gen", 0)]
        if not all(isinstance(value, int) for value in times) or not times[0] <= now.timestamp() < times[1]:
            return None
        expires_at = datetime.fromtimestamp(times[1], tz=now.tzinfo)
        return Token(str(claims["sub"]), str(claims["sid"]), expires_at, times[2])

    async def _key(self, tx: Transaction, kind: TokenKind, version: int) -> bytes:
        return await self._keyring.derived(tx, INSTALLATION, version, f"{kind.value} tokens".encode())


def _version(given: str) -> int | None:
    """Return the key version that a token names, before anything in it is believed."""
    if len(given) > LONGEST or not given.isascii():
        return None
    try:
        header = jwt.get_unverified_header(given)
    except jwt.InvalidTokenError:
        return None
    name = header.get("kid")
    found = KEY_NAME.fullmatch(name) if isinstance(name, str) and header.get("alg") == ALGORITHM else None
    return int(found[1]) if found else None
