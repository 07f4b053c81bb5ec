"""Data keys per company, subject keys per cart, and the sealing of credentials and personal fields."""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson

from backend.crypto import SealBroken, key_fingerprint, new_key, seal, unseal
from backend.db import Database, Transaction
from backend.domain.ids import new_id
from backend.errors import SetupProblem, Unavailable
from backend.store.customers import DataKeyRow, KeyStore, SubjectKeyRow
from backend.store.sealed import SealedRow
from backend.store.work.keys import WrappedKeys, has_other_keys

REWRAPPED_AT_ONCE = 50
OTHER_KEY = (
    "the master key is not the one that this database was sealed with: "
    "restore MASTER_KEY, or the key file beside the SQLite database, from your backup; "
    "in the middle of a change of keys, name the other one in MASTER_KEY_OTHERS"
)


async def check_master_key(database: Database, keyring: Keyring) -> None:
    """Refuse a key that opens nothing here, before anything is sealed with it. Raises `SetupProblem`."""
    async with database.overview() as tx:
        if await has_other_keys(tx, keyring.fingerprints):
            raise SetupProblem(OTHER_KEY)


class Keyring:
    """Opens and makes keys. Unwrapped data keys are kept in memory, subject keys are not.

    `master_key` wraps and opens; `others` open only, while one takes another's place.
    """

    def __init__(self, master_key: bytes, others: Sequence[bytes] = ()) -> None:
        self._master = master_key
        self.fingerprint = key_fingerprint(master_key)
        self._masters = {key_fingerprint(key): key for key in (*others, master_key)}
        self._data_keys: dict[tuple[str, int], tuple[bytes, bytes]] = {}  # as it is wrapped, and the key

    @property
    def fingerprints(self) -> list[str]:
        """The names of the master keys that are known here."""
        return sorted(self._masters)

    async def rewrap(self, database: Database) -> int:
        """Wrap with the present master key every data key that another one wrapped; return how many there were.

        What is sealed stays as it is. A call that was cut off is gone on with by the next one: some keys at a
        time are a commit of their own. Raises `SetupProblem` for a key that no master key here opens.
        """
        done = 0
        while True:
            async with database.work() as tx:
                store = WrappedKeys(tx)
                rows = await store.wrapped_by_others(self.fingerprint, REWRAPPED_AT_ONCE)
                for row in rows:
                    place = _data_key_place(row.company_id, row.version)
                    key = unseal(self._master_of(row.master_key), row.wrapped, place)
                    await store.rewrap(row, self.fingerprint, seal(self._master, key, place))
            done += len(rows)
            if not rows:
                return done

    def _master_of(self, fingerprint: str) -> bytes:
        if fingerprint not in self._masters:
            raise SetupProblem(OTHER_KEY)
        return self._masters[fingerprint]

    async def newest_version(self, connection: Transaction, company_id: str, now: datetime) -> int:
        """Return the version of the company's newest data key, making the first one. Raises `SetupProblem`.

        It is asked for in the transaction that stores what is sealed, each time: no process goes on with an older
        version, and nobody removes this one before that transaction ends.
        """
        newest = await KeyStore(connection, company_id).newest_data_key()
        if newest is None:
            return await self.add_version(connection, company_id, 1, now)
        self._remember(company_id, newest)
        return newest.version

    async def add_version(self, connection: Transaction, company_id: str, version: int, now: datetime) -> int:
        """Make a data key of this version; from the end of the transaction on everything is sealed with the newest.

        Raises `Conflict` when another process has made it.
        """
        key = new_key()
        wrapped = seal(self._master, key, _data_key_place(company_id, version))
        await KeyStore(connection, company_id).add_data_key(version, self.fingerprint, wrapped, now)
        self._data_keys[(company_id, version)] = (wrapped, key)
        return version

    def _remember(self, company_id: str, row: DataKeyRow) -> None:
        """Unwrap a data key, unless it was already: one made in a transaction that was rolled back is another one."""
        known = self._data_keys.get((company_id, row.version))
        if known is None or known[0] != row.wrapped:
            key = unseal(self._master_of(row.master_key), row.wrapped, _data_key_place(company_id, row.version))
            self._data_keys[(company_id, row.version)] = (row.wrapped, key)

    async def seal_json(
        self,
        connection: Transaction,
        place: tuple[str, str, str, str],
        value: Mapping[str, Any] | list[str],
        now: datetime,
    ) -> tuple[bytes, int]:
        """Seal a JSON value for `place` (company, table, column, row); return it with the key's version."""
        version = await self.newest_version(connection, place[0], now)
        key = await self._data_key(connection, place[0], version)
        return seal(key, orjson.dumps(value), "/".join((*place, f"v{version}"))), version

    async def open_json(
        self, connection: Transaction, place: tuple[str, str, str, str], sealed: bytes, version: int
    ) -> Any:
        """Open what `seal_json` made. Raises `SealBroken`, or `SetupProblem` with another master key."""
        await self._data_key(connection, place[0], version)
        return self.open_now(place, sealed, version)

    def has_key(self, company_id: str, version: int) -> bool:
        """Whether this data key is in memory, so that `open_now` needs no database."""
        return (company_id, version) in self._data_keys

    def open_now(self, place: tuple[str, str, str, str], sealed: bytes, version: int) -> Any:
        """Open what `seal_json` made with a key that is in memory. Raises `SealBroken`."""
        key = self._data_keys[(place[0], version)][1]
        return orjson.loads(unseal(key, sealed, "/".join((*place, f"v{version}"))))

    async def resealed(self, connection: Transaction, company_id: str, row: SealedRow, version: int) -> bytes:
        """Return what is sealed in a row, sealed with another version of the data key. Raises `SealBroken`."""
        if not await self.has_version(connection, company_id, row.version):
            raise SealBroken("a sealed value names a data key that is not there")
        old, new = [await self._data_key(connection, company_id, each) for each in (row.version, version)]
        return seal(new, unseal(old, row.value, row.place(company_id, row.version)), row.place(company_id, version))

    async def has_version(self, connection: Transaction, company_id: str, version: int) -> bool:
        """Whether the company has a data key of this version."""
        if (company_id, version) not in self._data_keys:
            await self._load(connection, company_id)
        return (company_id, version) in self._data_keys

    async def derived(self, connection: Transaction, company_id: str, version: int, purpose: bytes) -> bytes:
        """Return a 32-byte key for one purpose, made from a data key. Raises `Unavailable` where there is none."""
        return hmac.digest(await self._data_key(connection, company_id, version), purpose, "sha256")

    async def _data_key(self, connection: Transaction, company_id: str, version: int) -> bytes:
        """Return a data key. Raises `Unavailable` for one that was removed: what it had sealed was sealed anew."""
        if (company_id, version) not in self._data_keys:
            await self._load(connection, company_id)
        if (company_id, version) not in self._data_keys:
            raise Unavailable(f"there is no data key of version {version} any more; read anew what it sealed")
        return self._data_keys[(company_id, version)][1]

    async def _load(self, connection: Transaction, company_id: str) -> None:
        for row in await KeyStore(connection, company_id).data_keys():
            self._remember(company_id, row)

    async def subjects(
        self, connection: Transaction, company_id: str, cart_ids: list[str], fresh: dict[str, str | None], now: datetime
    ) -> Subjects:
        """Return the subject keys of carts. `fresh` names the carts that have none yet, with their customer."""
        known = [cart_id for cart_id in cart_ids if cart_id not in fresh]
        store = KeyStore(connection, company_id)
        rows = await store.subject_keys(known) if known else {}
        keys: dict[str, tuple[str, bytes]] = {}
        for row in rows.values():
            if row.wrapped is not None:
                wrapping = await self._data_key(connection, company_id, row.data_key_version)
                keys[row.cart_id] = (row.id, unseal(wrapping, row.wrapped, _subject_place(company_id, row.id)))
        if not fresh:
            return Subjects(company_id, keys, [])
        made = []
        version = await self.newest_version(connection, company_id, now)
        data_key = await self._data_key(connection, company_id, version)
        for cart_id, customer_id in fresh.items():
            key_id, key = new_id(), new_key()
            wrapped = seal(data_key, key, _subject_place(company_id, key_id))
            made.append(SubjectKeyRow(key_id, cart_id, customer_id, version, wrapped))
            keys[cart_id] = (key_id, key)
        return Subjects(company_id, keys, made)


def _data_key_place(company_id: str, version: int) -> str:
    return f"{company_id}/data_keys/wrapped/v{version}/master"


def _subject_place(company_id: str, key_id: str) -> str:
    return f"{company_id}/subject_keys/wrapped/{key_id}"


class Subjects:
    """Open subject keys of some carts; `made` are the new ones, to be stored after their carts."""

    def __init__(self, company_id: str, keys: dict[str, tuple[str, bytes]], made: list[SubjectKeyRow]) -> None:
        self._company = company_id
        self._keys = keys
        self.made = made

    def seal_personal(self, cart_id: str, seq: int, personal: bytes) -> tuple[bytes | None, str | None]:
        """Seal an event's personal fields; both None when the key was destroyed: nothing personal is kept then."""
        if cart_id not in self._keys:
            return None, None
        key_id, key = self._keys[cart_id]
        return seal(key, personal, f"{self._company}/cart_events/personal_sealed/{cart_id}/{seq}"), key_id
