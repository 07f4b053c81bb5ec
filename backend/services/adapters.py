"""The adapters of the stores that this process polls, kept from poll to poll: most polls are short and find nothing."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

from backend.clock import Clock
from backend.db import Database
from backend.domain.work import PollWork
from backend.outbound import HttpRequest, HttpResponse, Sends
from backend.platforms.base import Connection, Platform
from backend.platforms.registry import PLATFORMS
from backend.services.keyring import Keyring

MOST_KEPT = 1_000  # stores; what is asked least recently goes


@dataclass(slots=True)
class Door:
    """What a kept adapter sends through: the door of the poll that is under way. A store has one poll at a time."""

    opened: Sends

    async def send(self, request: HttpRequest) -> HttpResponse:
        """Send through the present poll's door."""
        return await self.opened.send(request)


@dataclass(frozen=True, slots=True)
class _Kept:
    settings: dict[str, Any]
    sealed: bytes
    door: Door
    adapter: Platform


@dataclass(slots=True)
class Adapters:
    """Makes adapters, anew only when an integration's settings or credentials have changed."""

    database: Database
    keyring: Keyring
    clock: Clock
    _kept: OrderedDict[str, _Kept] = field(default_factory=OrderedDict)

    async def open(self, work: PollWork, door: Sends) -> Platform:
        """Return the adapter of a claimed store, which sends through `door`."""
        kept = self._kept.get(work.integration_id)
        if kept is not None and (kept.settings, kept.sealed) == (work.settings, work.credentials_sealed):
            self._kept.move_to_end(work.integration_id)
            kept.door.opened = door
            return kept.adapter
        connection = Connection(work.company_id, work.integration_id, work.settings, await self._credentials(work))
        own = Door(door)
        adapter = PLATFORMS[work.platform](connection, own, self.clock.now)
        self._kept[work.integration_id] = _Kept(work.settings, work.credentials_sealed, own, adapter)
        if len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)
        return adapter

    async def _credentials(self, work: PollWork) -> Any:
        place = (work.company_id, "integrations", "credentials_sealed", work.integration_id)
        sealed, version = work.credentials_sealed, work.credentials_version
        if self.keyring.has_key(work.company_id, version):
            return self.keyring.open_now(place, sealed, version)
        async with self.database.reading(work.company_id) as tx:
            return await self.keyring.open_json(tx, place, sealed, version)
