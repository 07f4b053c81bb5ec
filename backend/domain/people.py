"""People who sign in: how their addresses and passwords are read, and what a session tells of itself. Pure rules."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from email_validator import EmailNotValidError, validate_email

from backend.errors import BadInput

# NIST SP 800-63B, 5.1.1: long, no rules of composition, not what anybody would try first.
SHORTEST, LONGEST = 12, 200  # characters of a password
FEWEST_DIFFERENT = 5  # characters
OBVIOUS = ("password", "abandoned", "123456", "qwerty", "letmein")
ACCESS_LIFE = timedelta(minutes=15)
UNUSED_LIFE = timedelta(hours=12)  # a session that is not used for so long ends
SESSION_LIFE = timedelta(days=30)  # and every one ends at last
LEEWAY = timedelta(seconds=30)  # for a refresh token that two requests, or one whose answer was lost, send twice


class LinkKind(StrEnum):
    """What a link is for, and how long it can be used."""

    INVITATION = "invitation"
    RESET = "reset"

    @property
    def life(self) -> timedelta:
        """How long after it was made it can be used."""
        return timedelta(days=7) if self is LinkKind.INVITATION else timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Visitor:
    """What is known of whoever signs in: by which way, from which address, with which program."""

    kind: str  # browser or token
    address: str
    client: str


def read_email(given: str) -> str:
    """Return an e-mail address as it is compared: in small letters. Raises `BadInput`."""
    try:
        found = validate_email(given.strip(), check_deliverability=False, allow_quoted_local=False)
    except EmailNotValidError as error:
        why = str(error).rstrip(".")
        raise BadInput(f"this is no e-mail address: {why}", field="email", remedy="look for a typing error") from None
    return found.normalized.lower()


def read_password(given: str) -> str:
    """Return a password in the one form in which it is hashed, whatever keyboard it was typed on (NFKC)."""
    return unicodedata.normalize("NFKC", given)


def check_password(given: str, email: str) -> str:
    """Return a new password as it is hashed. Raises `BadInput` for one that could be guessed."""
    password = read_password(given)
    why = _weakness(password, email)
    if why is not None:
        raise BadInput(f"the password {why}", field="password", remedy="take some words that do not belong together")
    return password


def _weakness(password: str, email: str) -> str | None:
    if not SHORTEST <= len(password) <= LONGEST:
        return f"must have {SHORTEST} to {LONGEST} characters"
    plain = password.lower()
    if len(set(plain)) < FEWEST_DIFFERENT:
        return "repeats a few characters"
    rest = plain
    for word in (email, email.partition("@")[0], *OBVIOUS):
        rest = rest.replace(word, "")
    if len(rest) < SHORTEST // 2:
        return "is what anybody would try first"
    return None
