"""The background loops of a process: which run here, the bells that ring them, and the way they end."""

from __future__ import annotations

import asyncio
import fcntl
import gc
import os
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import IO

import structlog
from apscheduler.schedulers.asyncio import AsyncIOScheduler

from backend.errors import Unavailable
from backend.services.poller import Rhythm
from backend.services.wiring import Services
from backend.store.cycles import InstallationStore

log = structlog.get_logger()

SIGN_IN_EVERY = 1.0  # seconds between looks at the wanted state
TICK = 0.5  # seconds between bells of the sweep and delivery lanes
FORGET_WORKERS = timedelta(hours=1)


def quiet_collector() -> None:
    """Leave what was loaded at start out of garbage collection, and collect less often.

    A page of carts makes many short-lived values; scanning every loaded module for each few hundred of them
    cost a tenth of a poll's CPU time (benchmarks/delivery.py).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 10, 100)


@contextmanager
def stop_on_signals() -> Iterator[asyncio.Event]:
    """Turn the first SIGINT or SIGTERM into an event; a second one ends the process as it would any other."""
    loop, stopped = asyncio.get_running_loop(), asyncio.Event()
    numbers = (signal.SIGINT, signal.SIGTERM)

    def give_back() -> None:
        for number in numbers:
            loop.remove_signal_handler(number)

    def stop() -> None:
        stopped.set()
        give_back()

    for number in numbers:
        loop.add_signal_handler(number, stop)
    try:
        yield stopped
    finally:
        give_back()


class LoopLock:
    """The lock that keeps two processes from running the loops on one SQLite file; a crash frees it."""

    def __init__(self, database: Path) -> None:
        self._path = database.with_suffix(database.suffix + ".lock")
        self._file: IO[str] | None = None

    def take(self) -> bool:
        """Take the lock if nobody holds it."""
        if self._file is not None:
            return True
        self._path.parent.mkdir(parents=True, exist_ok=True)
        file = self._path.open("a")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return False
        self._file = file
        return True

    def release(self) -> None:
        """Give the lock back."""
        if self._file is not None:
            self._file.close()
            self._file = None


class Worker:
    """Runs the lanes while polling is wanted. A bell only means "look now": it may be lost or doubled."""

    def __init__(self, services: Services, role: str = "worker") -> None:
        self._services = services
        self._role = role
        self._started_at = services.clock.now()
        self._scheduler = AsyncIOScheduler(
            timezone="UTC", job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None}
        )
        settings = services.settings
        self._lock = LoopLock(settings.sqlite_path) if settings.is_sqlite else None
        self._rhythm: Rhythm | None = None  # of the beat job, None while there is none
        self._running: set[asyncio.Task[object]] = set()

    def holds_the_loops(self) -> bool:
        """Whether this process may run the loops: always on PostgreSQL, one process at a time on SQLite."""
        return self._lock is None or self._lock.take()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the loops while the block lasts, then let work in flight end within the drain limit."""
        quiet_collector()
        await self._sign_in()
        self._scheduler.add_job(self._guarded(self._sign_in), "interval", seconds=SIGN_IN_EVERY, id="sign-in")
        self._scheduler.start()
        try:
            yield
        finally:
            await self._drain()

    async def run(self) -> None:
        """Run until cancelled."""
        async with self.running():
            await asyncio.Event().wait()

    async def _sign_in(self) -> None:
        """Say that this worker lives, and follow the wanted state."""
        services, now = self._services, self._services.clock.now()
        services.clock.follow(await services.database.server_time())
        has_loops = self.holds_the_loops()
        services.status.loops_here = has_loops
        services.status.loops_note = (
            "this process runs the background loops"
            if has_loops
            else "another process holds the background loops of this SQLite database; start and stop still act on it"
        )
        async with services.database.work() as tx:
            store = InstallationStore(tx)
            await store.sign_in(self._row(has_loops=has_loops))
            await store.forget_workers(now - FORGET_WORKERS)
        rhythm = await services.poller.rhythm()
        self._follow(rhythm if rhythm.is_wanted and has_loops else None)

    def _row(self, *, has_loops: bool) -> dict[str, object]:
        return {
            "id": self._services.leases.worker_id,
            "host": socket.gethostname()[:200],
            "pid": os.getpid(),
            "role": self._role,
            "runs_loops": has_loops,
            "started_at": self._started_at,
            "seen_at": self._services.clock.now(),
        }

    def _follow(self, rhythm: Rhythm | None) -> None:
        """Make the jobs what is wanted; None means none."""
        if rhythm == self._rhythm:
            return
        for job in ("beat", "sweep", "deliver"):
            if self._scheduler.get_job(job):
                self._scheduler.remove_job(job)
        self._rhythm = rhythm
        if rhythm is None:
            return
        poller, now = self._services.poller, self._services.clock.now()

        async def beat() -> None:
            await poller.run_beat(rhythm)

        add = self._scheduler.add_job
        add(self._guarded(beat), "interval", seconds=rhythm.interval, id="beat", start_date=rhythm.since)
        self._spawn(self._guarded(beat)())  # the present beat: whoever presses start sees something at once
        add(self._guarded(poller.sweep), "interval", seconds=TICK, id="sweep", next_run_time=now)
        add(self._guarded(poller.deliver), "interval", seconds=TICK, id="deliver", next_run_time=now)

    def _guarded(self, work: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
        """Run one bell as a task that shutdown can wait for; a failure is logged and the next bell tries again."""

        async def ring() -> None:
            task = asyncio.ensure_future(work())
            self._running.add(task)
            task.add_done_callback(self._running.discard)
            await asyncio.wait({task})
            if not task.cancelled() and (error := task.exception()) is not None:
                log.error("bell.failed", exc_info=error)  # the rows are still due: the next bell finds them

        return ring

    def _spawn(self, work: Awaitable[None]) -> None:
        task: asyncio.Task[object] = asyncio.ensure_future(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _drain(self) -> None:
        """Ring and claim no more, let work in flight end, cancel what is left after the limit, sign out."""
        self._scheduler.pause()
        self._services.leases.is_winding_down = True
        running = {task for task in self._running if not task.done()}
        if running:
            await asyncio.wait(running, timeout=self._services.settings.drain_seconds)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        self._scheduler.shutdown(wait=False)
        try:
            async with self._services.database.work() as tx:
                await InstallationStore(tx).sign_out(self._services.leases.worker_id)
        except Unavailable:  # the row is forgotten within the hour
            log.warning("worker.sign_out_failed")
        if self._lock is not None:
            self._lock.release()
