"""The audit chain: each record is hashed together with the one before it, so that no record can be changed in silence.

h(n) = SHA-256(h(n-1) || canonical(record n)), with 32 zero bytes before the first. A chain alone does not stop whoever
rewrites all of its end: so its head is signed now and then, and the signed heads are kept elsewhere (docs/audit.md).
Records hold no personal data: people are named by keyed pseudonyms, so that erasing a person breaks no chain.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import orjson

INSTALLATION = "installation"  # the chain of what concerns no single company
START = bytes(32)


@dataclass(frozen=True, slots=True)
class Deed:
    """What was done, to what; `details` name fields, counts and ids: no values, no persons."""

    action: str
    subject: str
    details: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Record:
    """One thing that somebody did. `actor` is kind and id; `subject` what it was done to; `details` say no values."""

    company_id: str
    seq: int
    at: datetime
    actor: str
    action: str
    subject: str
    details: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Link:
    """A record as it is stored: with the hash of the one before it and its own."""

    record: Record
    before: bytes
    hash: bytes


@dataclass(frozen=True, slots=True)
class Head:
    """How far a chain had come when it was signed, with which of its keys."""

    company_id: str
    seq: int
    hash: bytes
    signed_at: datetime
    key_version: int
    signature: bytes


@dataclass(frozen=True, slots=True)
class Break:
    """The first record that is not as it was written."""

    company_id: str
    seq: int
    why: str


def canonical(record: Record) -> bytes:
    """Return the bytes of a record that are hashed: JSON with sorted names, the time in UTC to the microsecond."""
    values = {
        "company_id": record.company_id,
        "seq": record.seq,
        "at": record.at.astimezone(UTC).isoformat(timespec="microseconds"),
        "actor": record.actor,
        "action": record.action,
        "subject": record.subject,
        "details": dict(record.details),
    }
    return orjson.dumps(values, option=orjson.OPT_SORT_KEYS)


def linked(record: Record, before: bytes) -> Link:
    """Return a record as the next link behind the hash `before`."""
    return Link(record, before, hashlib.sha256(before + canonical(record)).digest())


def sign_head(key: bytes, key_version: int, end: tuple[str, int, bytes], signed_at: datetime) -> Head:
    """Return a signed head of a chain's `end` (name, length, hash): HMAC-SHA-256 over that and the time."""
    unsigned = Head(*end, signed_at, key_version, b"")
    return replace(unsigned, signature=_signature(key, unsigned))


class Chain:
    """One chain as it is read again, link by link, against what was signed.

    `heads` are the signed ones that are kept, in any order: the chain must still hold what each of them says. `keys` by
    version; without them the signatures are not looked at.
    """

    def __init__(self, company_id: str, heads: Sequence[Head], keys: Mapping[int, bytes] | None) -> None:
        self.length = 0  # links that were read
        self._company = company_id
        self._signed = {head.seq: head.hash for head in heads}
        self._before = START
        self._broken: Break | None = None
        forged = next((head for head in heads if keys is not None and not is_signed(keys, head)), None)
        if forged is not None:
            self._broken = Break(company_id, forged.seq, "a signed head does not bear our signature")

    def holds(self, link: Link) -> bool:
        """Look at the next link; False when a break was found, and then the rest need not be read."""
        if self._broken is None:
            self.length += 1
            why = self._objection(link)
            self._broken = Break(self._company, self.length, why) if why else None
            self._before = link.hash
        return self._broken is None

    def end(self) -> Break | None:
        """Return the first record that is not as it was written, once all links were read; None when all are."""
        longest = max(self._signed, default=0)
        if self._broken is None and longest > self.length:
            why = f"it is missing: the chain was signed up to number {longest}"
            return Break(self._company, self.length + 1, why)
        return self._broken

    def _objection(self, link: Link) -> str | None:
        seq = self.length
        if (link.record.company_id, link.record.seq) != (self._company, seq):
            return f"it is missing: number {link.record.seq} comes in its place"
        if link.before != self._before:
            return "it does not follow from the record before it"
        if linked(link.record, self._before).hash != link.hash:
            return "its content is not what was hashed"
        if self._signed.get(seq, link.hash) != link.hash:
            return "it is not what was signed"
        return None


def is_signed(keys: Mapping[int, bytes], head: Head) -> bool:
    """Whether a head bears our signature."""
    key = keys.get(head.key_version)
    return key is not None and hmac.compare_digest(_signature(key, head), head.signature)


def pseudonym(key: bytes, value: str) -> str:
    """Return the name under which a person's identifier stands in records: 16 hex digits of a keyed hash."""
    return hmac.digest(key, value.strip().lower().encode(), "sha256").hex()[:16]


def _signature(key: bytes, head: Head) -> bytes:
    at = head.signed_at.astimezone(UTC).isoformat(timespec="microseconds")
    said = orjson.dumps([head.company_id, head.seq, head.hash.hex(), at, head.key_version])
    return hmac.digest(key, b"audit-head" + said, "sha256")
