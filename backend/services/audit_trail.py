"""The audit chains read, signed and verified. What is written into them is in `services/audit.py`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

import structlog

from backend.clock import Clock
from backend.db import Database, Transaction
from backend.domain.audit import Break, Chain, Head, Record, sign_head
from backend.errors import BadInput, Conflict
from backend.services.keyring import Keyring
from backend.store.audit import AuditStore, all_chains, unsigned_chains

log = structlog.get_logger()

SIGN_EVERY = timedelta(days=1)
PURPOSE = b"audit heads"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a look at one chain found: how long it is, how far it was signed, and the first record that is not right."""

    company_id: str
    records: int
    signed: int
    broken: Break | None


@dataclass(frozen=True, slots=True)
class RecordPage:
    """One page of a chain, newest first."""

    items: tuple[Record, ...]
    next: str | None


class AuditTrail:
    """Reads, signs and verifies the chains. A head's key comes from its company's data key of that version."""

    def __init__(self, database: Database, clock: Clock, keyring: Keyring) -> None:
        self._database = database
        self._clock = clock
        self._keyring = keyring

    async def records(self, company_id: str, *, limit: int = 50, after: str | None = None) -> RecordPage:
        """Return records, newest first. Raises `BadInput` for a place that is not ours."""
        place = _place(after)
        async with self._database.reading(company_id) as tx:
            found = await AuditStore(tx, company_id).latest(limit + 1, place)
        items = tuple(found[:limit])
        return RecordPage(items, str(items[-1].seq) if len(found) > limit else None)

    async def sign_due(self, every: timedelta = SIGN_EVERY) -> list[Head]:
        """Sign every chain that grew since its last head, unless that one is younger than `every`.

        A head is logged as well (`audit.head_signed`): a log that goes elsewhere holds what nobody here can rewrite.
        """
        async with self._database.overview() as tx:
            due = await unsigned_chains(tx, self._clock.now() - every)
        return [head for company_id in due if (head := await self._sign(company_id)) is not None]

    async def _sign(self, company_id: str) -> Head | None:
        try:
            async with self._database.transaction(company_id) as tx:
                store, now = AuditStore(tx, company_id), self._clock.now()
                last = await store.last()
                if last is None:
                    return None
                version = await self._keyring.newest_version(tx, company_id, now)
                key = await self._keyring.derived(tx, company_id, version, PURPOSE)
                head = sign_head(key, version, (company_id, *last), now)
                await store.add_head(head)
        except Conflict:  # another process was faster
            return None
        shown = {"hash": head.hash.hex(), "seal": head.signature.hex(), "signed_at": head.signed_at.isoformat()}
        log.info("audit.head_signed", company_id=company_id, seq=head.seq, key_version=head.key_version, **shown)
        return head

    async def verify(self, company_id: str, kept: Iterable[Head] = ()) -> Verdict:
        """Look at one chain, from its beginning; `kept` are heads from elsewhere."""
        heads: list[Head] = []
        async with self._database.reading(company_id) as tx:
            store = AuditStore(tx, company_id)
            try:
                async for head in store.heads():
                    heads.append(head)  # noqa: PERF401  what came before the one that cannot be read is needed
            except ValueError:
                after = heads[-1].seq if heads else 0
                return Verdict(company_id, 0, after, Break(company_id, after + 1, "a signed head cannot be read"))
            heads += [head for head in kept if head.company_id == company_id]
            keys = await self._keys(tx, company_id, {head.key_version for head in heads})
            chain, broken = Chain(company_id, heads, keys), None
            try:
                async for link in store.links():
                    if not chain.holds(link):
                        break
            except ValueError:
                broken = Break(company_id, chain.length + 1, "it cannot be read")
        signed = max((head.seq for head in heads), default=0)
        return Verdict(company_id, chain.length, signed, broken or chain.end())

    async def _keys(self, tx: Transaction, company_id: str, versions: set[int]) -> dict[int, bytes]:
        """Return the signing keys of these versions; one that is not there signed nothing of ours."""
        known = {version for version in versions if await self._keyring.has_version(tx, company_id, version)}
        return {version: await self._keyring.derived(tx, company_id, version, PURPOSE) for version in known}

    async def chains(self) -> list[str]:
        """Return the names of all chains: companies, those of removed ones too, and the installation."""
        async with self._database.overview() as tx:
            return await all_chains(tx)


def _place(after: str | None) -> int | None:
    if after is None:
        return None
    if not (after.isascii() and after.isdigit() and len(after) <= 9):
        raise BadInput("after is not a place in this list", field="after", remedy="use the `next` of a page as it came")
    return int(after)
