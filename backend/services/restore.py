"""Holds deliveries back when the database came from a backup, or when somebody asks for it, until they are released.

What a restored backup still has to send was sent long ago. So whoever works on a database leaves traces of where and
when, and a start that finds others than it left claims no delivery; polls and the sweep go on.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import structlog

from backend.clock import Clock
from backend.config import Settings
from backend.db import Database, Transaction
from backend.domain.gate import decide
from backend.domain.ids import new_id
from backend.errors import BadInput, Unavailable
from backend.services.audit import INSTALLATION, note
from backend.services.held import HOW_TO_RELEASE, held_words
from backend.services.reports import iso
from backend.services.superseding import attempt_case
from backend.store.cycles import InstallationStore
from backend.store.deliveries import DeliveryStore
from backend.store.installation import Backlog, HoldStore

log = structlog.get_logger()

WATCH_EVERY = 3.0  # seconds
LOCK_LIMIT = 15.0  # seconds, as long as SQLite's own patience
LONGEST_REASON = 300  # characters
PLANNED = 10_000  # deliveries that a plan asks the gate about, the oldest ones


@dataclass(frozen=True, slots=True)
class Mark:
    """What the file beside an SQLite database says: which database was used here, and when last."""

    id: str
    alive_at: datetime


@dataclass(frozen=True, slots=True)
class Doubt:
    """Why a database may not be the one that was last worked on. `is_sure`: it is certainly not."""

    words: str
    is_sure: bool


class MarkFile:
    """The file beside an SQLite database. It is never ahead of the database, unless that was put back."""

    def __init__(self, database: Path) -> None:
        self._path = database.with_suffix(database.suffix + ".alive")

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[int]:
        """Give the open file to one process at a time."""
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            await self._lock(file)
            yield file
        finally:
            os.close(file)

    async def _lock(self, file: int) -> None:
        try:
            async with asyncio.timeout(LOCK_LIMIT):
                while not _is_locked(file):  # noqa: ASYNC110  another process sets no event of ours
                    await asyncio.sleep(0.02)
        except TimeoutError as error:
            raise Unavailable(f"another process holds {self._path.name} and does not go on") from error


def _is_locked(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def read_mark(file: int) -> Mark | None:
    """Return what the file says; None when it is new. What nobody can read is the mark of an unknown database."""
    text = os.pread(file, 1_000, 0)
    if not text:
        return None
    try:
        found = orjson.loads(text)
        return Mark(str(found["id"]), datetime.fromisoformat(found["alive_at"]))
    except (ValueError, KeyError, TypeError):
        return Mark("", datetime.fromtimestamp(0).astimezone())


def write_mark(file: int, mark: Mark) -> None:
    """Replace what the file says."""
    text = orjson.dumps({"id": mark.id, "alive_at": mark.alive_at.isoformat()})
    os.pwrite(file, text, 0)
    os.ftruncate(file, len(text))


def doubt_about_file(state: Any, mark: Mark | None) -> Doubt | None:
    """Compare an SQLite database with the file beside it."""
    if mark is None:
        moved = "the database was put here from elsewhere: the file that lay beside it when it was last used is missing"
        return Doubt(moved, is_sure=True) if state.place is not None else None
    if mark.id != state.place:
        return Doubt("the database is not the one that was last used in this folder", is_sure=True)
    if state.alive_at is None or mark.alive_at > state.alive_at:
        older = (
            f"the database was put back: it was last used {iso(mark.alive_at)} and knows up to {iso(state.alive_at)}"
        )
        return Doubt(older, is_sure=True)
    return None


def doubt_about_place(state: Any, place: str) -> Doubt | None:
    """Compare a PostgreSQL database with where it was when it was last used."""
    if state.place is None or state.place == place:
        return None
    return Doubt(f"the database was restored or copied since it was last used {iso(state.alive_at)}", is_sure=True)


def doubt_about_age(alive_at: datetime | None, now: datetime, guard_minutes: int) -> Doubt | None:
    """Doubt a database that nobody used for long: a snapshot that was put back looks just like that."""
    if alive_at is None or not guard_minutes or now - alive_at <= timedelta(minutes=guard_minutes):
        return None
    return Doubt(f"no worker has used the database since {iso(alive_at)}: it may be a restored snapshot", is_sure=False)


class DeliveryHold:
    """The hold on deliveries: set at a start on a restored database or by an operator, lifted by an operator alone."""

    def __init__(self, settings: Settings, database: Database, clock: Clock) -> None:
        self._settings = settings
        self._database = database
        self._clock = clock
        self._file = MarkFile(settings.sqlite_path) if settings.is_sqlite else None
        self._watched_at = -WATCH_EVERY

    # -- is this the database that we left? ----------------------------------------------------------------------

    async def check(self) -> None:
        """Hold deliveries if the database came from a backup; note that it is used here. For every process's start."""
        self._clock.follow(await self._database.server_time())
        if self._file is None:
            async with self._database.work() as tx:
                place = await HoldStore(tx).place()
                await self._judge(tx, place, None)
        else:
            async with self._file.opened() as file:
                mark = read_mark(file)
                async with self._database.work() as tx:
                    kept = await self._judge(tx, None, mark)
                write_mark(file, kept)  # after the commit: never ahead of the database
        state = await self.state()
        if state is not None:
            log.warning("deliveries.held", reason=state["reason"], held_at=state["held_at"], words=HOW_TO_RELEASE)

    async def _judge(self, tx: Transaction, place: str | None, mark: Mark | None) -> Mark:
        """Compare, hold if need be, and note place and time. `place` is None on SQLite, whose place is a mark's id."""
        store, now = HoldStore(tx), self._clock.now()
        await store.prepare(self._settings.polling_interval)
        state = await InstallationStore(tx).state()
        if place is None:
            doubt = doubt_about_file(state, mark)
        else:
            doubt = doubt_about_place(state, place) or await self._age(store, state, now)
        if doubt is not None and await _matters(store, doubt):
            await store.hold(doubt.words, now)
        is_known = mark is not None and doubt is None
        kept = Mark(mark.id if mark is not None and is_known else new_id(), now)
        await store.note_alive(place or kept.id, now)
        return kept

    async def _age(self, store: HoldStore, state: Any, now: datetime) -> Doubt | None:
        signs = [at for at in (state.alive_at, await store.last_cycle_at()) if at is not None]
        return doubt_about_age(max(signs, default=None), now, self._settings.restore_guard_minutes)

    async def watch(self) -> None:
        """Look whether the database was put back under a running process; cheap enough for every second."""
        if time.monotonic() - self._watched_at < WATCH_EVERY:
            return
        self._watched_at = time.monotonic()
        if self._file is None:
            async with self._database.overview() as tx:
                state = await InstallationStore(tx).state()
                doubt = None if state is None else doubt_about_place(state, await HoldStore(tx).place())
        else:
            async with self._file.opened() as file:
                mark = read_mark(file)
                async with self._database.overview() as tx:
                    state = await InstallationStore(tx).state()
                doubt = None if state is None else doubt_about_file(state, mark)
                if doubt is None and state is not None and state.place is not None and state.alive_at is not None:
                    write_mark(file, Mark(state.place, state.alive_at))
        if doubt is not None:
            await self.check()

    # -- hold and release ----------------------------------------------------------------------------------------

    async def state(self) -> dict[str, Any] | None:
        """Return why and since when deliveries are held, and how to release them; None while they go."""
        async with self._database.overview() as tx:
            return held_words(await InstallationStore(tx).state())

    async def hold(self, reason: str) -> dict[str, Any]:
        """Hold deliveries from now on; what is in the air ends by itself. Held already, nothing changes.

        Raises `BadInput` for a reason that is empty or too long.
        """
        reason = reason.strip()
        if not 0 < len(reason) <= LONGEST_REASON or "\0" in reason:
            told = f"a reason has 1 to {LONGEST_REASON} characters, none of them NUL"
            raise BadInput(told, field="reason", remedy="say in a few words why nothing may be sent")
        async with self._database.work() as tx:
            store = HoldStore(tx)
            await store.prepare(self._settings.polling_interval)
            now = self._clock.now()
            changed = await store.hold(reason, now)
            if changed:
                await note(tx, INSTALLATION, now, "deliveries.held", "deliveries")
        if changed:
            log.warning("deliveries.held", reason=reason, words=HOW_TO_RELEASE)
        return {"held": True, "changed": changed}

    async def release(self) -> dict[str, Any]:
        """Let deliveries go again; what is due goes with the next look at the lane. Twice is harmless."""
        async with self._database.work() as tx:
            changed = await HoldStore(tx).release()
            if changed:
                await note(tx, INSTALLATION, self._clock.now(), "deliveries.released", "deliveries")
        if changed:
            log.info("deliveries.released")
        return {"held": False, "changed": changed}

    async def plan(self) -> dict[str, Any]:
        """Return what a release would let go: how much waits, how old it is, how much the gate would still allow."""
        async with self._database.overview() as tx:
            held = await InstallationStore(tx).state()
            backlog = await HoldStore(tx).backlog(held.held_at if held is not None else None)
            groups = await HoldStore(tx).oldest(PLANNED)
        asked, allowed = 0, 0
        for (company_id, _destination), ids in groups.items():
            group = await self._asked(company_id, ids)
            asked, allowed = asked + group[0], allowed + group[1]
        now, oldest = self._clock.now(), backlog.oldest_at
        plan = {
            "held": held_words(held),
            "deliveries_waiting": backlog.deliveries,
            "oldest_waiting_seconds": round((now - oldest).total_seconds()) if oldest is not None else None,
            "carts_asked": asked,
            "carts_allowed": allowed,
            "carts_active": backlog.active_carts,
            "stores": backlog.stores,
            "stores_read_since": backlog.stores_read,
        }
        return plan | {"in_words": plan_in_words(plan, backlog)}

    async def _asked(self, company_id: str, ids: list[str]) -> tuple[int, int]:
        """Ask the gate about one destination's deliveries; return how many carts are in them and how many may go."""
        async with self._database.reading(company_id) as tx:
            store = DeliveryStore(tx, company_id)
            held, (target, _store) = await store.held_carts(ids), await store.target_of(ids[0])
        now = self._clock.now()
        return len(held), sum(decide(attempt_case(each, target, now)).allows for each in held)


async def _matters(store: HoldStore, doubt: Doubt) -> bool:
    """Whether something could be sent that was sent before. A doubt alone does not stop what has nothing to do yet."""
    return await store.has_work() or (doubt.is_sure and await store.has_history())


def plan_in_words(plan: Mapping[str, Any], backlog: Backlog) -> str:
    """Say what a release would do, in sentences."""
    if not backlog.deliveries:
        waiting = "No delivery waits."
    else:
        waiting = (
            f"{backlog.deliveries} deliveries wait. Of the {plan['carts_asked']} carts asked about, "
            f"{plan['carts_allowed']} may go as things are known now; each is asked once more right before it is sent."
        )
    unread = backlog.stores - backlog.stores_read
    if plan["held"] is None or not unread:
        return waiting
    return (
        f"{waiting} {unread} of {backlog.stores} stores were not read since deliveries are held: what was bought there "
        "meanwhile is not known yet. Let polling run until every store was read, then release."
    )
