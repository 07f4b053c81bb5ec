"""The audit chain: each record is hashed together with the one before it, so that no record can be changed in silence.

h(n) = SHA-256(h(n-1) || canonical(record n)), with 32 zero bytes before the first. A chain alone does not stop whoever
rewrites all of its end: so its head is signed now and then, and the signed heads are kept elsewhere (docs/audit.md).
Records hold no personal data: people are named by keyed pseudonyms, so that erasing a person breaks no chain.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

INSTALLATION = "installation"  # the chain of what concerns no single company
START = bytes(32)


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
    """How far a chain had come when it was signed."""

    company_id: str
    seq: int
    hash: bytes
    signed_at: datetime
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


def sign_head(key: bytes, company_id: str, seq: int, hashed: bytes, signed_at: datetime) -> Head:
    """Return a signed head: HMAC-SHA-256 over the chain's name, length, hash and the time."""
    return Head(company_id, seq, hashed, signed_at, _signature(key, company_id, seq, hashed, signed_at))


def first_break(links: Iterable[Link], heads: Sequence[Head], key: bytes | None) -> Break | None:
    """Return the first record of one chain that is not as it was written, or None when all are.

    `heads` are the signed ones that are kept, in any order: a chain must still hold what each of them says. Without
    `key` their signatures are not looked at.
    """
    forged = next((head for head in heads if key is not None and not is_signed(key, head)), None)
    if forged is not None:
        return Break(forged.company_id, forged.seq, "a signed head does not bear our signature")
    wanted = {head.seq: head for head in heads}
    before, seq, company = START, 0, INSTALLATION
    for link in links:
        seq, company = seq + 1, link.record.company_id
        if link.record.seq != seq:
            return Break(company, seq, f"it is missing: number {link.record.seq} comes in its place")
        if link.before != before:
            return Break(company, seq, "it does not follow from the record before it")
        if linked(link.record, before).hash != link.hash:
            return Break(company, seq, "its content is not what was hashed")
        if seq in wanted and wanted[seq].hash != link.hash:
            return Break(company, seq, "it is not what was signed")
        before = link.hash
    longest = max(wanted, default=0)
    if longest > seq:
        return Break(wanted[longest].company_id, seq + 1, f"it is missing: the chain was signed up to number {longest}")
    return None


def is_signed(key: bytes, head: Head) -> bool:
    """Whether a head bears our signature."""
    good = _signature(key, head.company_id, head.seq, head.hash, head.signed_at)
    return hmac.compare_digest(good, head.signature)


def pseudonym(key: bytes, value: str) -> str:
    """Return the name under which a person's identifier stands in records: 16 hex digits of a keyed hash."""
    return hmac.digest(key, value.strip().lower().encode(), "sha256").hex()[:16]


def _signature(key: bytes, company_id: str, seq: int, hashed: bytes, signed_at: datetime) -> bytes:
    said = orjson.dumps([company_id, seq, hashed.hex(), signed_at.astimezone(UTC).isoformat(timespec="microseconds")])
    return hmac.digest(key, b"audit-head" + said, "sha256")
