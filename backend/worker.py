"""The background loops of a process: which lanes it works on, the bells that ring them, and the way they end."""

from __future__ import annotations

import asyncio
import fcntl
import gc
import os
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import IO, Any, Literal, TypeVar

import structlog
from apscheduler.schedulers.asyncio import AsyncIOScheduler

from backend.config import Settings
from backend.db import prepare_database
from backend.domain.lanes import LANE_NAMES, POLLS
from backend.errors import SetupProblem, Unavailable
from backend.services.metrics_server import serving_metrics
from backend.services.poller import Rhythm
from backend.services.wiring import Services, build_services
from backend.store.cycles import InstallationStore

log = structlog.get_logger()
T = TypeVar("T")

SIGN_IN_EVERY = 1.0  # seconds between looks at the wanted state
TICK = 0.5  # seconds between bells of the sweep and delivery lanes
SIGN_HEADS_EVERY = 600.0  # seconds between looks for audit chains that were not signed for a day
LOOK_AGAIN = 1.0  # seconds between bells of the poll lane: at each beat, and for what dead workers left behind
FORGET_WORKERS = timedelta(hours=1)
ONE_AT_A_TIME = (
    "another process runs the background loops of this SQLite database: set DATABASE_URL to a PostgreSQL database "
    "to run several"
)
REFUSED = f"{ONE_AT_A_TIME}, or use run_abandoned_cart_polling.py --once, which works beside them"


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


@dataclass(frozen=True, slots=True)
class Post:
    """What a worker is there for: its role, the lanes it works on, and who rings them.

    `ticks`: its own scheduler does. `celery`: messages do; its own scheduler only looks now and then, so that a lost
    message or a broker that is down loses nothing.
    """

    role: str = "worker"
    lanes: tuple[str, ...] = LANE_NAMES
    bell: Literal["ticks", "celery"] = "ticks"


def read_lanes(text: str) -> tuple[str, ...]:
    """Return the lanes named in `text`, separated by commas; all of them if it is empty. Raises `SetupProblem`."""
    asked = {part.strip() for part in text.split(",") if part.strip()}
    if unknown := sorted(asked - set(LANE_NAMES)):
        raise SetupProblem(f"no lane is called {unknown[0]}: choose from {', '.join(LANE_NAMES)}")
    return tuple(lane for lane in LANE_NAMES if not asked or lane in asked)


class Worker:
    """Works on its lanes while polling is wanted. A bell only means "look now": it may be lost, doubled or late."""

    def __init__(self, services: Services, post: Post | None = None) -> None:
        self._services = services
        self.post = post or Post()
        self._started_at = services.clock.now()
        self._scheduler = AsyncIOScheduler(
            timezone="UTC", job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None}
        )
        settings = services.settings
        self._lock = LoopLock(settings.sqlite_path) if settings.is_sqlite else None
        self._rhythm: Rhythm | None = None  # of the lanes' jobs, None while there are none
        self._running: set[asyncio.Task[Any]] = set()
        self._signing: asyncio.Task[None] | None = None

    def holds_the_loops(self) -> bool:
        """Whether this process may run the loops: always on PostgreSQL, one process at a time on SQLite."""
        return self._lock is None or self._lock.take()

    def let_the_loops_go(self) -> None:
        """Leave the loops to another process."""
        if self._lock is not None:
            self._lock.release()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the loops while the block lasts, then let work in flight end within the drain limit."""
        quiet_collector()
        await self._sign_in()
        self._scheduler.add_job(self._keep_signed_in, "interval", seconds=SIGN_IN_EVERY, id="sign-in")
        self._scheduler.add_job(self._sign_heads, "interval", seconds=SIGN_HEADS_EVERY, id="audit-heads")
        self._scheduler.start()
        log.info("worker.started", role=self.post.role, lanes=self.post.lanes, bell=self.post.bell)
        if not self.holds_the_loops():
            log.warning("worker.stands_by", words=ONE_AT_A_TIME)
        try:
            yield
        finally:
            await self._drain()

    async def ring(self, lane: str, seconds: float) -> bool:
        """Ring a lane and wait for what comes of it, but for so many seconds at most; the work itself goes on.

        Returns whether more may be due: others are welcome to it.
        """
        if self._services.leases.is_winding_down:
            return True
        work = self._spawn(lane)
        await asyncio.wait({work}, timeout=seconds)
        return not work.done() or work.cancelled() or work.result()

    def wind_down(self) -> None:
        """Claim nothing more. What is in hand goes on until `running` ends. May be called from any thread."""
        self._services.leases.is_winding_down = True

    async def _keep_signed_in(self) -> None:
        """Sign in once more, as a task that shutdown can wait for; not while the last time still goes on."""
        if self._signing is None or self._signing.done():
            self._signing = self._track(self._try_to_sign_in())

    async def _try_to_sign_in(self) -> None:
        try:
            await self._sign_in()
        except Unavailable as error:
            log.warning("worker.sign_in_failed", reason=str(error))
        except Exception:  # whatever it was, the worker lives on and says so
            log.exception("worker.sign_in_failed")

    async def _sign_heads(self) -> None:
        """Sign the audit chains that grew."""
        try:
            await self._track(self._services.audit.sign_due())
        except Unavailable as error:
            log.warning("audit.not_signed", reason=str(error))

    async def _sign_in(self) -> None:
        """Say that this worker lives, and follow the wanted state."""
        services, now = self._services, self._services.clock.now()
        services.clock.follow(await services.database.server_time())
        has_loops = self.holds_the_loops()
        services.status.loops_here = has_loops
        services.status.loops_note = self._note(has_loops=has_loops)
        await services.hold.watch()
        async with services.database.keeping() as tx:
            store = InstallationStore(tx)
            await store.sign_in(self._row(has_loops=has_loops))
            await store.forget_workers(now - FORGET_WORKERS)
        rhythm = await services.poller.rhythm()
        self._follow(rhythm if rhythm.is_wanted and has_loops else None)

    def _note(self, *, has_loops: bool) -> str:
        if not has_loops:
            return f"{ONE_AT_A_TIME}, or RUN_LOOPS=false here; start and stop still act on it"
        only = "" if self.post.lanes == LANE_NAMES else f": {', '.join(self.post.lanes)} only"
        return f"this process runs the background loops{only}"

    def _row(self, *, has_loops: bool) -> dict[str, object]:
        return {
            "id": self._services.leases.worker_id,
            "host": socket.gethostname()[:200],
            "pid": os.getpid(),
            "role": self.post.role,
            "runs_loops": has_loops,
            "lanes": ",".join(self.post.lanes),
            "bell": self.post.bell,
            "started_at": self._started_at,
            "seen_at": self._services.clock.now(),
        }

    def _follow(self, rhythm: Rhythm | None) -> None:
        """Make the lanes' jobs what is wanted; None means none."""
        if rhythm == self._rhythm:
            return
        for lane in self.post.lanes:
            if self._scheduler.get_job(lane):
                self._scheduler.remove_job(lane)
        self._rhythm = rhythm
        if rhythm is None:
            return
        for lane in self.post.lanes:
            self._spawn(lane)  # at once too: whoever presses start sees something
            start = rhythm.since if lane == POLLS and self.post.bell == "ticks" else None
            seconds = self._seconds(lane, rhythm)
            self._scheduler.add_job(self._tick(lane), "interval", seconds=seconds, id=lane, start_date=start)

    def _seconds(self, lane: str, rhythm: Rhythm) -> float:
        """Return the seconds between two ticks of a lane."""
        if self.post.bell == "celery":
            return self._services.settings.safety_tick_seconds
        return LOOK_AGAIN if lane == POLLS else TICK

    def _tick(self, lane: str) -> Callable[[], Awaitable[None]]:
        """Return the job that rings a lane. It does not wait for the work, so no tick is skipped because of it."""

        async def tick() -> None:
            self._spawn(lane)

        return tick

    def _spawn(self, lane: str) -> asyncio.Task[bool]:
        return self._track(self._look(lane))

    def _track(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Start work as a task that shutdown can wait for."""
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    async def _look(self, lane: str) -> bool:
        """Work on a lane until nothing is due; a failure is logged and the next bell tries again."""
        try:
            return await self._services.poller.ring(lane)
        except Unavailable as error:
            log.warning("bell.failed", lane=lane, reason=str(error))
            return False
        except Exception:  # the rows are still due: the next bell finds them
            log.exception("bell.failed", lane=lane)
            return False

    async def _drain(self) -> None:
        """Ring and claim no more, let work in flight end, cancel what is left after the limit, sign out."""
        self._scheduler.pause()
        self.wind_down()
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
        self.let_the_loops_go()
        log.info("worker.ended", role=self.post.role, cut_off=sum(task.cancelled() for task in running))


def check_alone(services: Services) -> None:
    """Refuse to be a second process that runs the loops on one SQLite file. Raises `SetupProblem`."""
    worker = Worker(services)
    if not worker.holds_the_loops():
        raise SetupProblem(REFUSED)
    worker.let_the_loops_go()


@asynccontextmanager
async def at_work(settings: Settings, post: Post) -> AsyncIterator[Worker]:
    """Open the services of a process that only works, and run its worker while the block lasts.

    Raises `SetupProblem` when the installation cannot be worked on as it is set up.
    """
    await prepare_database(settings)
    services = await build_services(settings)
    try:
        worker = Worker(services, post)
        if not worker.holds_the_loops():
            raise SetupProblem(REFUSED)
        async with worker.running(), services.watch.running(), serving_metrics(services.exposition, settings):
            yield worker
    finally:
        await services.aclose()
