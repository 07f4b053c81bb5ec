"""The kinds of tampering with the audit log: what each does, and which record must be named for it."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from backend.domain.audit import START, Link, Record, linked
from benchmarks.attack_audit_chains import (
    HEADS,
    RECORDS,
    Attack,
    Chains,
    change,
    change_head,
    drop_heads,
    prepare,
    put,
    raw_change,
    remove,
    renumber,
    rewrite,
    shift,
)

__all__ = ["KINDS", "SPARED", "Attack", "Chains", "Kind", "prepare"]

BOTH = ("sqlite", "postgresql")
LAST_SIGNED = HEADS[-1]
# What no column type of ours lets pass, by database.
ODD = {
    "sqlite": (
        "hash = 'text'",
        "before = 3",
        "details = '3'",
        "details = 'no JSON'",
        "details = '[]'",
        "at = 'yesterday'",
        "actor = x'ff'",
        "actor = CAST(x'ff' AS TEXT)",
        "subject = 3.5",
        "seq = 'first'",
    ),
    "postgresql": (
        "details = '3'",
        "details = '[]'",
        "details = 'null'",
        "at = 'infinity'",
        "at = '20000-01-01'",
        "at = '0044-03-15 BC'",
    ),
}


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of tampering; `plan` makes up a case of it."""

    name: str
    plan: Callable[[Chains, random.Random], Attack]
    databases: tuple[str, ...] = BOTH


def flipped(value: bytes, luck: random.Random) -> bytes:
    """Return bytes with one bit turned."""
    place = luck.randrange(len(value))
    return value[:place] + bytes([value[place] ^ 1 << luck.randrange(8)]) + value[place + 1 :]


def altered(text: str, luck: random.Random) -> str:
    """Return a text with one character changed, or one more."""
    place = luck.randrange(len(text))
    return luck.choice([text[:place] + chr(ord(text[place]) ^ 1) + text[place + 1 :], f"{text}x", f"x{text}"])


def next_head(seq: int) -> int:
    """Return the first number from this one on that a head has signed."""
    return min(each for each in HEADS if each >= seq)


def edited(record: Record, luck: random.Random) -> tuple[str, Record]:
    """Return which field was edited, and the record with it."""
    by = timedelta(microseconds=luck.choice([-1, 1]) * 10 ** luck.randrange(13))
    more = {**record.details, f"more{luck.randrange(9)}": luck.randrange(9)}
    less = {name: value for name, value in record.details.items() if name != "count"}
    choices = {
        "actor": replace(record, actor=altered(record.actor, luck)),
        "action": replace(record, action=altered(record.action, luck)),
        "subject": replace(record, subject=altered(record.subject, luck)),
        "at": replace(record, at=record.at + by),
        "details": replace(record, details=luck.choice([more, less, {}])),
    }
    name = luck.choice(list(choices))
    return name, choices[name]


def edit(chains: Chains, luck: random.Random) -> Attack:
    """Edit one field of a record."""
    seq = luck.randrange(1, RECORDS + 1)
    name, record = edited(chains.link(seq).record, luck)
    return Attack(f"{name} of {seq}", seq, change(chains, seq, **{name: getattr(record, name)}))


def edit_hash(chains: Chains, luck: random.Random) -> Attack:
    """Turn a bit of a record's hash, or of the one before it that it names."""
    seq, name = luck.randrange(1, RECORDS + 1), luck.choice(["before", "hash"])
    return Attack(
        f"{name} of {seq}", seq, change(chains, seq, **{name: flipped(getattr(chains.link(seq), name), luck)})
    )


def edit_and_hash(chains: Chains, luck: random.Random) -> Attack:
    """Edit a record and hash it anew, but none behind it: the next one no longer follows, unless a head knows."""
    seq = luck.randrange(1, RECORDS)
    link = linked(edited(chains.link(seq).record, luck)[1], chains.link(seq).before)
    first = seq if seq in HEADS else seq + 1
    return Attack(f"{seq}, hashed anew", first, [*remove(chains, [seq]), *put(link)])


def write_odd(database: str) -> Callable[[Chains, random.Random], Attack]:
    """Return the plan that writes what is not even of its column's kind."""

    def plan(chains: Chains, luck: random.Random) -> Attack:
        seq, assignment = luck.randrange(1, RECORDS + 1), luck.choice(ODD[database])
        return Attack(f"{assignment} of {seq}", seq, raw_change(chains, seq, assignment))

    return plan


def take_out(chains: Chains, luck: random.Random) -> Attack:
    """Delete one record, or some."""
    seqs = luck.sample(range(1, RECORDS), luck.choice([1, 1, 1, 2, 5]))
    return Attack(f"deleted {sorted(seqs)}", min(seqs), remove(chains, seqs))


def take_away(chains: Chains, luck: random.Random) -> Attack:
    """Give a record to another company's chain."""
    seq = luck.randrange(1, RECORDS)
    return Attack(f"{seq} given away", seq, change(chains, seq, company_id=chains.other, seq=seq + 1_000))


def cut_off(chains: Chains, luck: random.Random) -> Attack:
    """Delete the end of a chain, from a record on that a head has signed."""
    left = luck.randrange(LAST_SIGNED)
    return Attack(f"cut off behind {left}", left + 1, remove(chains, range(left + 1, RECORDS + 1)))


def swap(chains: Chains, luck: random.Random) -> Attack:
    """Let two records change places."""
    one, other = sorted(luck.sample(range(1, RECORDS + 1), 2))
    return Attack(f"{one} and {other} changed places", one, renumber(chains, {one: other, other: one}))


def swap_content(chains: Chains, luck: random.Random) -> Attack:
    """Let two records change places but for their numbers and hashes."""
    one, other = sorted(luck.sample(range(1, RECORDS + 1), 2))
    steps = []
    for seq, source in ((one, other), (other, one)):
        record = chains.link(source).record
        values = {name: getattr(record, name) for name in ("at", "actor", "action", "subject", "details")}
        steps += change(chains, seq, **values)
    return Attack(f"contents of {one} and {other} changed places", one, steps)


def move(chains: Chains, luck: random.Random) -> Attack:
    """Put a record to another place, the ones between moving up."""
    seq, to = luck.sample(range(1, RECORDS + 1), 2)
    order = [each for each in range(1, RECORDS + 1) if each != seq]
    order.insert(to - 1, seq)
    places = {old: new for new, old in enumerate(order, start=1) if old != new}
    return Attack(f"{seq} moved to {to}", min(seq, to), renumber(chains, places))


def give_number(chains: Chains, luck: random.Random) -> Attack:
    """Give a record a number that none has."""
    seq, new = luck.randrange(1, RECORDS + 1), luck.choice([0, -luck.randrange(1, 99), RECORDS + luck.randrange(1, 99)])
    return Attack(f"{seq} became {new}", 1 if new < 1 else seq, change(chains, seq, seq=new))


def forged(chains: Chains, seq: int, luck: random.Random) -> Link:
    """Return a record that nobody wrote, hashed as it should be behind the one before."""
    before = chains.link(seq - 1) if seq > 1 else None
    at = (before or chains.link(1)).record.at + timedelta(seconds=1)
    record = Record(chains.company, seq, at, "key:forger", "company.changed", f"forged{luck.random()}", {"count": 1})
    return linked(record, before.hash if before else START)


def put_in(chains: Chains, luck: random.Random) -> Attack:
    """Put in a record that is hashed wrongly, those behind it moving up."""
    seq = luck.randrange(1, RECORDS + 2)
    link = forged(chains, seq, luck)
    link = (
        replace(link, hash=flipped(link.hash, luck))
        if luck.random() < 0.5
        else replace(link, before=luck.randbytes(32))
    )
    return Attack(f"put in at {seq}", seq, [*shift(chains, seq - 1, 1), *put(link)])


def put_in_well(chains: Chains, luck: random.Random) -> Attack:
    """Put in a record that is hashed as it should be: the one behind it no longer follows, unless a head knows."""
    seq = luck.randrange(1, RECORDS + 1)
    first = seq if seq in HEADS else seq + 1
    return Attack(f"put in well at {seq}", first, [*shift(chains, seq - 1, 1), *put(forged(chains, seq, luck))])


def put_before_all(chains: Chains, luck: random.Random) -> Attack:
    """Put in a record with a number below the first."""
    record = replace(forged(chains, 1, luck).record, seq=-luck.randrange(3))
    return Attack(f"put in at {record.seq}", 1, put(linked(record, START)))


def repeat(chains: Chains, luck: random.Random) -> Attack:
    """Put a copy of a record at the end."""
    link = chains.link(luck.randrange(1, RECORDS + 1))
    copy = replace(link, record=replace(link.record, seq=RECORDS + 1))
    copy = replace(copy, before=chains.link(RECORDS).hash) if luck.random() < 0.5 else copy
    return Attack(f"{link.record.seq} once more at the end", RECORDS + 1, put(copy))


def rewrite_edited(chains: Chains, luck: random.Random) -> Attack:
    """Edit a record and hash everything behind it anew."""
    seq = luck.randrange(1, LAST_SIGNED + 1)
    records = [link.record for link in chains.links[seq - 1 :]]
    records[0] = edited(records[0], luck)[1]
    return Attack(f"from {seq} on anew", next_head(seq), rewrite(chains, records, seq))


def rewrite_shorter(chains: Chains, luck: random.Random) -> Attack:
    """Take a record out and hash everything behind it anew."""
    seq = luck.randrange(1, LAST_SIGNED + 1)
    records = [link.record for link in chains.links[seq:]]
    return Attack(f"without {seq} anew", next_head(seq), rewrite(chains, records, seq))


def rewrite_longer(chains: Chains, luck: random.Random) -> Attack:
    """Put a record in and hash everything behind it anew."""
    seq = luck.randrange(1, LAST_SIGNED + 1)
    records = [forged(chains, seq, luck).record, *(link.record for link in chains.links[seq - 1 :])]
    return Attack(f"with one more at {seq} anew", next_head(seq), rewrite(chains, records, seq))


def rewrite_with_heads(chains: Chains, luck: random.Random) -> Attack:
    """Hash everything from a record on anew, and put the new hashes into the heads, which cannot be signed."""
    done = rewrite_edited(chains, luck)
    steps = list(done.statements)
    for seq in HEADS:
        steps += change_head(chains, seq, hash=luck.randbytes(32)) if seq >= (done.first or 0) else []
    return replace(done, words=f"{done.words}, heads too", statements=steps)


def edit_head(chains: Chains, luck: random.Random) -> Attack:
    """Change one value of a signed head."""
    head = luck.choice(chains.heads)
    free = luck.choice([seq for seq in range(1, RECORDS + 1) if seq not in HEADS])
    name, value = luck.choice(
        [
            ("hash", flipped(head.hash, luck)),
            ("signature", flipped(head.signature, luck)),
            ("signed_at", head.signed_at + timedelta(microseconds=luck.choice([-1, 1]))),
            ("key_version", head.key_version + luck.choice([-1, 1])),
            ("seq", free),
        ]
    )
    first = value if name == "seq" and isinstance(value, int) else head.seq
    return Attack(f"{name} of head {head.seq}", first, change_head(chains, head.seq, **{name: value}))


def without_heads(plan: Callable[[Chains, random.Random], Attack]) -> Callable[[Chains, random.Random], Attack]:
    """Return a plan that deletes the heads as well; those that were kept elsewhere are compared with."""

    def planned(chains: Chains, luck: random.Random) -> Attack:
        done = plan(chains, luck)
        words, steps = f"{done.words}, heads deleted", [*done.statements, *drop_heads(chains)]
        return replace(done, words=words, statements=steps, kept=True)

    return planned


def unsigned_end(chains: Chains, luck: random.Random) -> Attack:
    """Cut off what no head has signed yet."""
    left = luck.randrange(LAST_SIGNED, RECORDS)
    return Attack(f"cut off behind {left}", None, remove(chains, range(left + 1, RECORDS + 1)))


def unsigned_anew(chains: Chains, luck: random.Random) -> Attack:
    """Write anew what no head has signed yet."""
    seq = luck.randrange(LAST_SIGNED + 1, RECORDS + 1)
    records = [link.record for link in chains.links[seq - 1 :]]
    records[0] = edited(records[0], luck)[1]
    return Attack(f"from {seq} on anew", None, rewrite(chains, records, seq))


def forget(chains: Chains, luck: random.Random) -> Attack:
    """Cut off any end and delete the heads, where none were kept elsewhere."""
    return replace(without_heads(cut_off)(chains, luck), first=None, kept=False)


def change_nothing(chains: Chains, luck: random.Random) -> Attack:
    """Store a record as it is, or give its row another id."""
    seq = luck.randrange(1, RECORDS + 1)
    record = chains.link(seq).record
    same: dict[str, Any] = {"at": record.at, "details": dict(reversed(list(record.details.items())))}
    return Attack(f"{seq} stored as it was", None, change(chains, seq, **luck.choice([same, {"id": "another"}])))


KINDS = (
    Kind("a field edited", edit),
    Kind("a hash edited", edit_hash),
    Kind("edited and hashed anew", edit_and_hash),
    Kind("a value of another kind", write_odd("sqlite"), ("sqlite",)),
    Kind("a value of another kind", write_odd("postgresql"), ("postgresql",)),
    Kind("deleted", take_out),
    Kind("given to another chain", take_away),
    Kind("cut off at the end", cut_off),
    Kind("two changed places", swap),
    Kind("two contents changed places", swap_content),
    Kind("moved to another place", move),
    Kind("given a number that none has", give_number),
    Kind("put in, hashed wrongly", put_in),
    Kind("put in, hashed rightly", put_in_well),
    Kind("put in before the first", put_before_all),
    Kind("a copy at the end", repeat),
    Kind("edited, all behind hashed anew", rewrite_edited),
    Kind("deleted, all behind hashed anew", rewrite_shorter),
    Kind("put in, all behind hashed anew", rewrite_longer),
    Kind("all behind anew, heads too", rewrite_with_heads),
    Kind("a signed head edited", edit_head),
    Kind("cut off, heads deleted, heads kept elsewhere", without_heads(cut_off)),
    Kind("all behind anew, heads deleted, heads kept elsewhere", without_heads(rewrite_edited)),
)
# What cannot be seen, or is nothing.
SPARED = (
    Kind("an end that was not signed yet, cut off", unsigned_end),
    Kind("an end that was not signed yet, written anew", unsigned_anew),
    Kind("cut off, heads deleted, none kept elsewhere", forget),
    Kind("nothing changed", change_nothing),
)
