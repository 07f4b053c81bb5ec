"""DataKeyRotation: another version of a company's data key, and everything sealed anew with it while the service runs.

Whoever seals asks for the newest version in the transaction that stores what was sealed, and holds it until that ends
(`Keyring.newest_version`). So once a new version is there and those that hold older ones are through, nothing more is
sealed with an older one, whatever a process remembers, however long one was frozen.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import timedelta

from backend.clock import Clock
from backend.crypto import SealBroken
from backend.db import Database, Transaction
from backend.errors import Conflict
from backend.services.audit import INSTALLATION, note
from backend.services.keyring import Keyring
from backend.store.customers import KeyStore
from backend.store.sealed import Sealed, SealedStore, sealed_for
from backend.store.work.keys import key_holders

AT_ONCE = 50  # values of one commit
PAUSE = 0.2  # seconds, when others hold what is left
OLD_ENOUGH = timedelta(hours=24)  # a younger version is not followed by another: a run that was cut off is gone on with


async def pass_by() -> None:
    """Go on."""


@dataclass(slots=True)
class Rotation:
    """What became of one company's data keys.

    `broken` are values that no key opens, `kept` the rows that still need each older version.
    """

    company_id: str
    version: int = 0
    is_new: bool = False
    resealed: int = 0
    broken: set[str] = field(default_factory=set)
    removed: list[int] = field(default_factory=list)
    kept: dict[int, int] = field(default_factory=dict)


class DataKeyRotation:
    """Makes, re-seals and removes. `checkpoint` is awaited after every commit of re-sealed values."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        keyring: Keyring,
        checkpoint: Callable[[], Awaitable[None]] = pass_by,
    ) -> None:
        self._database = database
        self._clock = clock
        self._keyring = keyring
        self._checkpoint = checkpoint

    async def companies(self) -> list[str]:
        """Return every company that has a data key, and the installation."""
        async with self._database.overview() as tx:
            return sorted(await key_holders(tx))

    async def rotate(self, company_id: str, old_enough: timedelta = OLD_ENOUGH) -> Rotation:
        """Make a new version unless the newest is younger than `old_enough`, re-seal, and remove what is not needed.

        Removed is only what nothing needed when this began: the run that empties a version leaves it to the next one,
        for those that have just read what it had sealed. Raises `SetupProblem`, `Unavailable`.
        """
        unneeded = await self._unneeded(company_id)
        rotation = Rotation(company_id)
        rotation.version, rotation.is_new = await self._version(company_id, old_enough)
        async with self._transaction(company_id) as tx:
            await KeyStore(tx, company_id).hold_older()
        for column in sealed_for(company_id):
            await self._reseal(column, rotation)
        await self._remove(rotation, unneeded)
        return rotation

    def _transaction(self, company_id: str) -> AbstractAsyncContextManager[Transaction]:
        """Begin a transaction of the company; the people whom the installation's key serves are of none."""
        return self._database.work() if company_id == INSTALLATION else self._database.transaction(company_id)

    async def _unneeded(self, company_id: str) -> set[int]:
        """Return the older versions that nothing needs; none of the installation's, which sign what people hold."""
        if company_id == INSTALLATION:
            return set()
        async with self._database.reading(company_id) as tx:
            older = [row.version for row in await KeyStore(tx, company_id).data_keys()][:-1]
            uses = await SealedStore(tx, company_id).uses(older)
        return {version for version, rows in uses.items() if rows == 0}

    async def _version(self, company_id: str, old_enough: timedelta) -> tuple[int, bool]:
        """Return the version to seal with and whether it was made now."""
        now = self._clock.now()
        try:
            async with self._transaction(company_id) as tx:
                newest = await KeyStore(tx, company_id).newest_data_key()
                if newest is not None and newest.created_at > now - old_enough:
                    return newest.version, False
                following = 1 if newest is None else newest.version + 1
                version = await self._keyring.add_version(tx, company_id, following, now)
                await note(tx, company_id, now, "data_key.made", f"v{version}")
                return version, True
        except Conflict:  # another run was faster; its version is the one
            async with self._transaction(company_id) as tx:
                return await self._keyring.newest_version(tx, company_id, now), False

    async def _reseal(self, column: Sealed, rotation: Rotation) -> None:
        """Seal a column's values anew until none is left, but for those that no key opens."""
        while True:
            broken: set[str] = set()
            after: str | None = ""
            while after is not None:
                after = await self._reseal_some(column, after, rotation, broken)
            async with self._transaction(rotation.company_id) as tx:
                left = await SealedStore(tx, rotation.company_id).count_older(column, rotation.version)
            if left <= len(broken):
                rotation.broken |= broken
                return
            await asyncio.sleep(PAUSE)

    async def _reseal_some(self, column: Sealed, after: str, rotation: Rotation, broken: set[str]) -> str | None:
        """Seal a few values anew in one commit; return the last one's id, None when there are no more."""
        async with self._transaction(rotation.company_id) as tx:
            store = SealedStore(tx, rotation.company_id)
            rows = await store.older(column, rotation.version, after, AT_ONCE)
            for row in rows:
                try:
                    value = await self._keyring.resealed(tx, rotation.company_id, row, rotation.version)
                except SealBroken:
                    broken.add(f"{column.table.name}/{row.id}")
                    continue
                rotation.resealed += await store.replace(row, value, rotation.version)
        await self._checkpoint()
        return rows[-1].id if len(rows) == AT_ONCE else None

    async def _remove(self, rotation: Rotation, unneeded: set[int]) -> None:
        """Remove versions, counting once more while nobody can seal with one; note how many rows need the others."""
        company_id, now = rotation.company_id, self._clock.now()
        async with self._transaction(company_id) as tx:
            keys = KeyStore(tx, company_id)
            uses = await SealedStore(tx, company_id).uses(await keys.hold_older())
            rotation.removed = [version for version, rows in uses.items() if rows == 0 and version in unneeded]
            rotation.kept = {version: rows for version, rows in uses.items() if version not in rotation.removed}
            for version in rotation.removed:
                await keys.remove_data_key(version)
                await note(tx, company_id, now, "data_key.removed", f"v{version}")
