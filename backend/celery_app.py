"""Celery rings the lanes of a fleet: one queue per lane, beat as the bell, workers that say whether more is due.

Started as `celery -A backend.celery_app worker`, `beat` or `flower`; `-Q` names some lanes only. `app.py` gives all of
this the shorter name `app.celery`. The due rows are the truth: a message only means "look at this lane now", and a
worker also looks by itself every SAFETY_TICK_SECONDS. So no message needs to be kept safe or answered.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import os
import ssl
import sys
import threading
from typing import Any, NoReturn

try:
    from celery import Celery, bootsteps, signals
    from celery.beat import ScheduleEntry, Scheduler, SchedulingError
    from kombu.entity import Exchange, Queue
    from kombu.exceptions import OperationalError
except ModuleNotFoundError as missing:
    sys.stderr.write(f"error: a fleet needs the package {missing.name}: pip install 'cart-recovery[fleet]'\n")
    raise SystemExit(2) from None

import structlog
import uvloop

from backend.config import Settings, load_settings
from backend.domain.lanes import LANE_NAMES, POLLS
from backend.errors import SetupProblem
from backend.logs import set_up_logs
from backend.worker import Post, Worker, at_work

log = structlog.get_logger()

RING_EVERY = 1.0  # seconds between two messages to a lane
LISTEN = 5.0  # seconds that a message waits for the work that it caused; longer work goes on without it
STALE = 60.0  # seconds after which a message is thrown away unread; two machines' clocks may differ by less
END_LIMIT = 5.0  # seconds beyond DRAIN_SECONDS for closing connections
PATIENCE = {"socket_connect_timeout": 5, "socket_timeout": 10, "socket_keepalive": True}
QUIET = ("celery.app.trace", "celery.beat", "celery.worker.strategy")  # a line per message, every second
NO_BROKER = (
    "a fleet needs a broker: set REDIS_URL=redis://host:6379/0 (or REDIS_HOST), or CELERY_BROKER_URL=amqp://host "
    "for RabbitMQ; without any, `python -m backend worker` does the same work"
)


class LaneHost:
    """The worker of this process on its one event loop, in a thread beside Celery's own."""

    def __init__(self, settings: Settings, post: Post) -> None:
        self._settings = settings
        self._post = post
        self._thread = threading.Thread(target=self._run, name="lanes", daemon=True)
        self._started: concurrent.futures.Future[Worker] = concurrent.futures.Future()
        self._loop = uvloop.new_event_loop()
        self._told_to_end = asyncio.Event()
        self._let_go = asyncio.Event()

    def start(self) -> None:
        """Begin to work. Raises `SetupProblem` when the installation cannot be worked on as it is set up."""
        self._thread.start()
        self._started.result()

    def ring(self, lane: str) -> bool:
        """Ring a lane; return whether more may be due, to which others are welcome."""
        rung = asyncio.run_coroutine_threadsafe(self._started.result().ring(lane, LISTEN), self._loop)
        try:
            return rung.result()
        except concurrent.futures.CancelledError:  # the process ends
            return True

    def wind_down(self) -> None:
        """Claim nothing more, and let what is in hand end within the drain limit. A signal handler may call this."""
        if not self._thread.is_alive():
            return
        if self._started.done():
            self._started.result().wind_down()
        self._loop.call_soon_threadsafe(self._told_to_end.set)

    def end(self) -> None:
        """Wait until what was in hand has ended and every connection is closed."""
        if not self._thread.is_alive():
            return
        self.wind_down()
        self._loop.call_soon_threadsafe(self._let_go.set)
        self._thread.join(self._settings.drain_seconds + END_LIMIT)

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(self._work())
        except BaseException as error:
            if self._started.done():
                raise
            self._started.set_exception(error)

    async def _work(self) -> None:
        async with at_work(self._settings, self._post) as worker:
            self._started.set_result(worker)
            await self._told_to_end.wait()
        await self._let_go.wait()  # until then messages may still come, and need an answer


class Crew:
    """What becomes of Celery's signals and messages in a worker process."""

    def __init__(self, app: Celery, settings: Settings) -> None:
        self._app = app
        self._settings = settings
        self._host: LaneHost | None = None
        for signal, receiver in (
            (signals.celeryd_init, self.look_first),
            (signals.worker_init, self.prepare),
            (signals.worker_shutting_down, self.wind_down),
            (signals.worker_shutdown, self.end),
        ):
            signal.connect(receiver, weak=False)

    def look_first(self, instance: Any, options: Any, **_: Any) -> None:
        """Refuse a lane that there is none of, and tell several workers of one machine apart, unless -n does."""
        asked: list[str] | str = options.get("queues") or []
        if unknown := sorted(set(asked if isinstance(asked, list) else asked.split(",")) - set(LANE_NAMES)):
            refuse(f"-Q: no lane is called {unknown[0]!r}: choose from {', '.join(LANE_NAMES)}")
        name, _at, host = instance.hostname.partition("@")
        if name == "celery":
            instance.hostname = f"worker-{os.getpid()}@{host}"

    def prepare(self, sender: Any, **_: Any) -> None:
        """See which lanes this process is given, and let one thread per lane listen.

        How much is done at once is the business of the lanes themselves.
        """
        if not sender.pool_cls.__module__.endswith(".thread"):
            refuse("this worker runs in threads: leave out -P, or give -P threads")
        lanes = tuple(lane for lane in LANE_NAMES if lane in self._app.amqp.queues.consume_from)
        sender.concurrency = len(lanes)
        # What workers tell each other is of no use here, and its end is untidy when the broker goes away.
        sender.options |= {"without_gossip": True, "without_mingle": True}
        self._host = LaneHost(self._settings, Post("celery", lanes, "celery"))

    def begin(self) -> None:
        """Begin to work, whether the broker can be reached or not."""
        if self._host is None:
            return
        try:
            self._host.start()
        except SetupProblem as problem:
            refuse(str(problem))
        except Exception as error:  # Celery would log it and go on without a worker
            log.exception("worker.failed")
            raise SystemExit(1) from error

    def wind_down(self, **_: Any) -> None:
        """Claim nothing more as soon as the signal to end has come."""
        if self._host is not None:
            self._host.wind_down()

    def end(self, **_: Any) -> None:
        """Wait for what was in hand when all messages are done with."""
        if self._host is not None:
            self._host.end()

    def ring(self, lane: str) -> None:
        """Ring a lane, and send its message once more while more may be due there."""
        if self._host is None or not self._host.ring(lane):
            return
        try:
            self._app.tasks[lane].apply_async()
        except OperationalError as error:  # beat's next message or the safety tick does as well
            log.warning("bell.lost", lane=lane, reason=str(error))


class Bells(Scheduler):  # type: ignore[misc]  # Celery has no types
    """Beat: rings each lane every second, unless a message to it still lies unread, so that none pile up."""

    _is_cut_off = False

    def apply_async(self, entry: ScheduleEntry, producer: Any = None, **options: Any) -> Any:
        """Send an entry's message if it is needed. A broker that is away is told of once; each second tries again."""
        try:
            if self._is_cut_off:
                _connect_anew(producer)
            sent = None if self._lies_unread(entry.task, producer) else super().apply_async(entry, producer, **options)
        except (SchedulingError, OperationalError) as error:
            self._tell("broker.lost", str(error), is_cut_off=True)
            return None
        self._tell("broker.found", "", is_cut_off=False)
        return sent

    def _lies_unread(self, lane: str, producer: Any) -> bool:
        try:
            return bool(self.app.amqp.queues[lane].bind(producer.channel).queue_declare().message_count)
        except producer.connection.connection_errors:  # sending connects anew
            return False

    def _tell(self, event: str, reason: str, *, is_cut_off: bool) -> None:
        if is_cut_off != self._is_cut_off:
            self._is_cut_off = is_cut_off
            log.warning(event, reason=reason)


def _connect_anew(producer: Any) -> None:
    """Give a producer an open channel: one that could not send keeps a closed one, and would never send again.

    Raises `OperationalError` while the broker is away.
    """
    connection = producer.connection
    connection.ensure_connection(max_retries=1, interval_start=0, interval_step=0)
    producer.revive(connection.default_channel)


def make_app(settings: Settings) -> Celery:
    """Return the Celery app. Raises `SetupProblem` when no broker is set."""
    if not settings.broker_url:
        raise SetupProblem(NO_BROKER)
    app = Celery("carts", broker=settings.broker_url, set_as_current=True)
    app.conf.update(_configuration(settings.broker_url))
    if settings.broker_url.startswith("redis"):
        _let_messages_go()
    crew = Crew(app, settings)
    for lane in LANE_NAMES:
        _add_task(app, crew, lane)
    _add_step(app, crew)

    @signals.setup_logging.connect(weak=False)  # type: ignore[untyped-decorator]
    def set_up(**_: Any) -> None:
        set_up_logs(settings)
        for noisy in QUIET:
            logging.getLogger(noisy).setLevel(logging.WARNING)

    return app


def _let_messages_go() -> None:
    """Put no message back when Redis goes away, as none is of worth: trying to would end the worker."""
    from kombu.transport import redis  # noqa: PLC0415 - needs the package redis, which RabbitMQ does not

    redis.Channel.do_restore = False


def _add_task(app: Celery, crew: Crew, lane: str) -> None:
    @app.task(name=lane, expires=STALE)  # type: ignore[untyped-decorator]
    def ring() -> None:
        crew.ring(lane)


def _add_step(app: Celery, crew: Crew) -> None:
    """Let the crew begin after Celery has taken charge of the signals to end, and before it looks for the broker."""

    class Lanes(bootsteps.StartStopStep):  # type: ignore[misc]  # Celery has no types
        requires = ("celery.worker.components:Pool",)

        def start(self, _parent: Any) -> None:
            crew.begin()

        def stop(self, _parent: Any) -> None:
            crew.wind_down()

    app.steps["worker"].add(Lanes)


def _configuration(broker_url: str) -> dict[str, Any]:
    """Return Celery's own configuration: messages that may be lost, and a worker that outlives its broker."""
    is_redis, is_sealed = broker_url.startswith("redis"), broker_url.startswith(("rediss", "amqps"))
    lanes = Exchange("lanes", type="direct")  # type: ignore[no-untyped-call]
    queues = [Queue(lane, lanes, routing_key=lane) for lane in LANE_NAMES]  # type: ignore[no-untyped-call]
    return {
        "accept_content": ["json"],
        "beat_max_loop_interval": RING_EVERY,
        "beat_schedule": {lane: {"task": lane, "schedule": RING_EVERY} for lane in LANE_NAMES},
        "beat_scheduler": f"{__name__}:{Bells.__name__}",  # keeps nothing on disk, as there is nothing to catch up on
        "broker_connection_max_retries": None,
        "broker_connection_retry_on_startup": True,
        "broker_connection_timeout": 5,
        # Messages are not kept until they are answered: what Redis forgot meanwhile cannot be answered.
        "broker_transport_options": PATIENCE | {"ack_emulation": False} if is_redis else {},
        "broker_use_ssl": {"ssl_cert_reqs" if is_redis else "cert_reqs": ssl.CERT_REQUIRED} if is_sealed else False,
        "task_acks_late": False,  # a message that dies with its worker is not missed
        "task_create_missing_queues": False,
        "task_default_queue": POLLS,
        "task_ignore_result": True,
        "task_publish_retry_policy": {"max_retries": 1, "interval_start": 0},
        "task_queues": queues,
        "task_routes": {lane: {"queue": lane} for lane in LANE_NAMES},
        "worker_cancel_long_running_tasks_on_connection_loss": True,  # as none is answered late, none is
        "worker_concurrency": len(LANE_NAMES),
        "worker_enable_prefetch_count_reduction": False,  # after an outage a worker listens as before
        "worker_pool": "threads",
        "worker_prefetch_multiplier": 1,
        "worker_send_task_events": True,  # for Flower
    }


def refuse(problem: str) -> NoReturn:
    """End the process with one line and exit code 2."""
    sys.stderr.write(f"error: {problem}\n")
    raise SystemExit(2)


def __getattr__(name: str) -> Celery:
    """Make `app` when Celery asks for it, so that importing this module reads no settings."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        made = make_app(load_settings())
    except SetupProblem as problem:
        refuse(str(problem))
    globals()["app"] = made
    return made
