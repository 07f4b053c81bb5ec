"""Keeps this process's leases alive, and stops work whose lease was lost."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from backend.clock import Clock
from backend.db import Database
from backend.domain.lanes import LONGEST
from backend.errors import LeaseLost, Unavailable
from backend.store.work import Lease, renew

log = structlog.get_logger()

RENEW_AT = 0.3  # of the lease
END_LIMIT = 5.0  # seconds for a renewal that is under way when the process ends
HELD = 0.9  # of the lease; the rest is for the next bell of whoever takes over a dead worker's work


@dataclass(slots=True)
class _Held:
    lane: str
    token: str
    until: datetime  # its cap: it is not renewed for longer
    lasts_until: datetime  # nobody else can have it before, so if it is gone, its own work has given it back
    tasks: set[asyncio.Task[object]]
    ended: str | None = None  # why its work was cancelled


class LeaseKeeper:
    """Renews every held lease in one statement per lane each 0.3 of the lease, on a task of its own."""

    def __init__(self, database: Database, clock: Clock, seconds: float, worker_id: str) -> None:
        self.worker_id = worker_id
        self.is_winding_down = False  # then no lane claims anything more
        self._database = database
        self._clock = clock
        self._seconds = seconds
        self._held: dict[str, _Held] = {}
        self._runner: asyncio.Task[None] | None = None
        self._is_asleep = True  # between two renewals

    def terms(self) -> Lease:
        """Return the terms of a claim made now."""
        return Lease(self._clock.now(), self._seconds * HELD)

    @contextmanager
    def holding(self, lane: str, token: str) -> Iterator[None]:
        """Keep the lease while the current task works under it. Raises `LeaseLost`, in mid-work, when it ends."""
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a lease is held by a task")
        now = self._clock.now()
        lasts_until = now + timedelta(seconds=self._seconds * HELD)
        held = self._held.setdefault(token, _Held(lane, token, now + LONGEST[lane], lasts_until, set()))
        held.tasks.add(task)
        self._ensure_running()
        try:
            yield
        except asyncio.CancelledError:
            if held.ended is None or task.uncancel() > 0:
                raise  # somebody else wants the task to end
            raise LeaseLost(f"the lease of the {lane} lane ended: {held.ended}") from None
        finally:
            held.tasks.discard(task)
            if not held.tasks:
                self._held.pop(token, None)

    def _ensure_running(self) -> None:
        if self._runner is None or self._runner.done():
            self._runner = asyncio.create_task(self._run(), name="lease-keeper")

    async def _run(self) -> None:
        while self._held:
            self._is_asleep = True
            await asyncio.sleep(self._seconds * RENEW_AT)
            self._is_asleep = False
            try:
                await self._renew_all()
            except Unavailable as error:  # a lease lasts for three renewals
                log.warning("lease.renewal_failed", reason=str(error))
            except Exception:
                log.exception("lease.renewal_failed")

    async def _renew_all(self) -> None:
        lease = self.terms()
        lanes: dict[str, list[str]] = {}
        for held in list(self._held.values()):
            if held.until <= lease.now:
                self._cancel(held, "cap")
            else:
                lanes.setdefault(held.lane, []).append(held.token)
        if not lanes:
            return
        async with self._database.keeping() as tx:
            done = {lane: await renew(tx, lane, tokens, lease.until) for lane, tokens in lanes.items()}
        for lane, tokens in lanes.items():
            for held in [self._held[token] for token in tokens if token in self._held]:
                if held.token in done[lane].longer:
                    held.lasts_until = lease.until
                elif held.token not in done[lane].alive and held.lasts_until <= self._clock.now():
                    self._cancel(held, "lost")

    def _cancel(self, held: _Held, why: str) -> None:
        log.warning("lease.ended", lane=held.lane, why=why)
        held.ended = why
        for task in held.tasks:
            task.cancel()
        self._held.pop(held.token, None)

    async def aclose(self) -> None:
        """Stop renewing; what is still held runs out by itself."""
        self._held.clear()
        if self._runner is not None:
            if not self._is_asleep:  # cut off while it connects, it would leave a connection open that nobody knows
                await asyncio.wait({self._runner}, timeout=END_LIMIT)
            self._runner.cancel()
            await asyncio.gather(self._runner, return_exceptions=True)
