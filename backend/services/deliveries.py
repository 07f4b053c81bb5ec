"""The delivery lane: claim due deliveries, ask the gate once more, sign and send, record what came of it."""

from __future__ import annotations

import asyncio
import random
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import structlog

from backend.clock import Clock
from backend.config import Settings
from backend.db import Database, Transaction
from backend.domain import backoff
from backend.domain.lanes import DELIVERIES
from backend.domain.masking import without_secrets
from backend.domain.outcomes import CUT_OFF, Outcome, judge_fault, judge_status
from backend.domain.signing import sign
from backend.domain.work import DeliveryWork, DestinationTurn, Tally
from backend.errors import LeaseLost, OutboundError
from backend.outbound import HttpRequest, HttpResponse, Outbound, retry_after
from backend.services.hand_offs import note_hand_offs
from backend.services.keyring import Keyring
from backend.services.leases import LeaseKeeper
from backend.services.metrics import Metrics
from backend.services.superseding import NOTHING_ASKED, Superseding
from backend.store.cycles import add_counts
from backend.store.outcomes import Health, OutcomeStore, Settled
from backend.store.work import DeliveryQueue, Room

log = structlog.get_logger()

ANSWER_LIMIT = 16 * 1024
OURS_DELAY = timedelta(seconds=30)
TURN = timedelta(seconds=5)  # then others come first; with an attempt's deadline still well before the lease's cap
SMALLEST, LARGEST = 4, 64  # deliveries of one destination that are taken, sent and settled together
SLICE_PER_SLOT = 4  # a slice has no more than this for each request that may be in the air
QUICK = 1.0  # seconds; a slice done faster lets the next one grow

Pause = Callable[[str], Awaitable[None]]


@dataclass(slots=True)
class Deliverer:
    """What the lane works with. `checkpoint` is awaited at named moments (kill tests stop the process there)."""

    settings: Settings
    database: Database
    clock: Clock
    http: Outbound
    keyring: Keyring
    leases: LeaseKeeper
    superseding: Superseding
    metrics: Metrics
    worker_id: str
    checkpoint: Pause


@dataclass(frozen=True, slots=True)
class _Attempt:
    """One exchange: what was judged, and the answer if there was one."""

    work: DeliveryWork
    outcome: Outcome
    started_at: datetime
    elapsed: timedelta
    answer: HttpResponse | None
    error: str | None


@dataclass(slots=True)
class _Course:
    """How one destination's turn goes: nothing is begun after `until`, or once the destination is to be left alone.

    `failures` are those in a row, counted on from earlier turns; `taken` has the ids of what was taken to be sent,
    `begun` of what may have been sent; `people` says whose carts are in what the slice in hand holds. `is_last`: that
    slice has all that was due.
    """

    until: datetime
    failures: int
    taken: set[str] = field(default_factory=set)
    begun: set[str] = field(default_factory=set)
    people: Mapping[str, Set[str]] = field(default_factory=dict)
    is_over: bool = False
    is_last: bool = False
    is_given_back: bool = False

    @property
    def unbegun(self) -> list[str]:
        """The deliveries that were taken and never begun."""
        return sorted(self.taken - self.begun)

    def note(self, outcome: Outcome) -> None:
        """Learn from an outcome; our own faults and what was cut off say nothing."""
        if outcome.ours or outcome.is_unknown:
            return
        self.failures = 0 if outcome.is_success else self.failures + 1
        has_enough = self.failures >= backoff.BREAKER_OPENS_AT
        self.is_over |= outcome.is_gone or outcome.is_throttled or has_enough


class DeliveryLane:
    """Delivers what is due, destination by destination; one worker at a time works a destination off.

    `due_by`: for a one-off run, which attempts each delivery due then at most once. `tallies` are kept for it.
    """

    name = DELIVERIES

    def __init__(self, tools: Deliverer, due_by: datetime | None = None) -> None:
        self._tools = tools
        self._due_by = due_by
        self.places = tools.settings.delivery_concurrency
        self.tallies: list[Tally] = []

    async def claim(self, room: Room) -> list[DestinationTurn]:
        """Take destinations that are owed something."""
        async with self._tools.database.work() as tx:
            return await DeliveryQueue(tx).claim(self._tools.leases.terms(), room, self._due_by)

    async def work(self, piece: DestinationTurn) -> bool:
        """Deliver what one destination is owed, for a while; give back what was not begun."""
        course, tally, later = _Course(self._tools.clock.now() + TURN, piece.failures), Tally(), None
        try:
            return await self._deliver(piece, course, tally)
        except Exception:  # our bug: what was begun waits for its lease to run out, the rest for a while
            later = self._tools.clock.now() + OURS_DELAY
            raise
        finally:
            if self._due_by is not None:
                self.tallies.append(tally)
            if not course.is_given_back:
                async with self._tools.database.transaction(piece.company_id) as tx:
                    await OutcomeStore(tx, piece.company_id).end_turn(piece, course.unbegun, later)

    async def _deliver(self, turn: DestinationTurn, course: _Course, tally: Tally) -> bool:
        """Deliver in growing slices while there is time and the destination bears it; return whether more is due.

        A destination that failed, or was never tried, gets one request first, and more with every slice that went
        well.
        """
        most = min(SLICE_PER_SLOT * self._tools.settings.destination_in_flight, LARGEST)
        size, secrets = min(SMALLEST, most) if turn.is_proven else 1, None
        while not self._must_stop(course):
            began = time.perf_counter()
            part, denied, secrets = await self._take(turn, course, size, secrets)
            if not part:
                return False
            course.is_last = len(part) < size and not denied  # what replaces those is due at once
            await self._tools.checkpoint("delivery_claimed")
            for work in part:
                if work.id in denied:
                    await self._tools.superseding.supersede(work)
            allowed = [work for work in part if work.id not in denied]
            tally.merge(await self._slice(turn, allowed, secrets, course))
            if course.is_last:
                return False
            size = min(size * 2, most) if time.perf_counter() - began < QUICK else min(SMALLEST, size)
        return not course.is_over

    async def _take(
        self, turn: DestinationTurn, course: _Course, size: int, secrets: list[str] | None
    ) -> tuple[list[DeliveryWork], frozenset[str], list[str]]:
        """Take a slice and ask the gate once more, from rows loaded in the same transaction."""
        lease = self._tools.leases.terms()
        async with self._tools.database.transaction(turn.company_id) as tx:
            store = OutcomeStore(tx, turn.company_id)
            target = await store.hold(turn, lease)
            if target is None:
                raise LeaseLost("another worker took the destination over")
            part = await store.take(turn, lease, size, self._due_by or lease.now)
            asked = await self._tools.superseding.ask(tx, part, target) if part else NOTHING_ASKED
            secrets = secrets or await self._secrets(tx, turn)
        course.people = asked.people
        course.taken.update(work.id for work in part if work.id not in asked.denied)
        return part, asked.denied, secrets

    def _must_stop(self, course: _Course) -> bool:
        return course.is_over or self._tools.clock.now() >= course.until or self._tools.leases.is_winding_down

    async def _secrets(self, tx: Transaction, turn: DestinationTurn) -> list[str]:
        place = (turn.company_id, "destinations", "secrets_sealed", turn.destination_id)
        secrets: list[str] = await self._tools.keyring.open_json(tx, place, turn.secrets_sealed, turn.secrets_version)
        return secrets

    async def _slice(
        self, turn: DestinationTurn, part: list[DeliveryWork], secrets: list[str], course: _Course
    ) -> Tally:
        """Send and settle a few deliveries of one destination; what was sent is settled even when cut off."""
        slots, tally = asyncio.Semaphore(self._tools.settings.destination_in_flight), Tally()
        failures_before = course.failures
        sending = [asyncio.create_task(self._attempt(turn, work, secrets, (slots, course))) for work in part]
        try:
            await asyncio.gather(*sending, return_exceptions=True)
        finally:
            ended = [task.result() for task in sending if not task.cancelled() and task.exception() is None]
            made = [attempt for attempt in ended if attempt is not None]
            if made:
                tally = await self._settle(turn, made, failures_before, course)
        for task in sending:
            task.result()  # raises what is our bug
        return tally

    async def _attempt(
        self,
        turn: DestinationTurn,
        work: DeliveryWork,
        secrets: list[str],
        within: tuple[asyncio.Semaphore, _Course],
    ) -> _Attempt | None:
        """Send one delivery; None when the course was over before its turn came."""
        slots, course = within
        if work.attempts > backoff.MOST_ATTEMPTS:
            course.begun.add(work.id)
            return _Attempt(work, CUT_OFF, self._tools.clock.now(), timedelta(0), None, "no attempt came to its end")
        async with slots:
            if self._must_stop(course):
                return None
            course.begun.add(work.id)
            started_at, began = self._tools.clock.now(), time.perf_counter()
            request = signed_request(turn.url, work, secrets, int(started_at.timestamp()), self._tools.settings)
            answer: HttpResponse | None = None
            error: str | None = None
            try:
                answer = await self._tools.http.send(request)
                answer = replace(answer, body=without_secrets(answer.body, secrets))
                outcome = judge_status(answer.status)
                await self._tools.checkpoint("answer_read")
            except OutboundError as fault:
                outcome, error = judge_fault(fault), str(fault)[:500]
            except asyncio.CancelledError:  # the slice settles this and then ends
                outcome, error = CUT_OFF, "this process ended the attempt before the answer was read"
            course.note(outcome)
            elapsed = timedelta(seconds=time.perf_counter() - began)
            return _Attempt(work, outcome, started_at, elapsed, answer, error)

    async def _settle(
        self, turn: DestinationTurn, attempts: list[_Attempt], failures_before: int, course: _Course
    ) -> Tally:
        """Record what became of a slice; with the last one, the destination is given back in the same commit."""
        first, now, tally = attempts[0].work, self._tools.clock.now(), Tally()
        is_end = course.is_last or self._must_stop(course)
        async with self._tools.database.transaction(first.company_id) as tx:
            store = OutcomeStore(tx, first.company_id)
            held = await store.still_held([each.work.id for each in attempts], first.token, now)
            kept = [each for each in attempts if each.work.id in held]
            results = [settled(each, now, random.random()) for each in kept]  # noqa: S311  spreads retries
            await store.settle(results, self._tools.worker_id, now)
            if kept:
                await store.note_health(first.destination_id, health(kept, failures_before, now), now)
            await self._count(tx, first.company_id, results, tally)
            if is_end:
                await store.end_turn(turn, course.unbegun, None)
            handed = [each.delivery_id for each in results if each.is_success]
            people = {delivery_id: course.people.get(delivery_id, set()) for delivery_id in handed}
            await note_hand_offs(tx, self._tools.keyring, turn, people, now)
        course.is_given_back = is_end
        for each, result in zip(kept, results, strict=True):
            self._tools.metrics.attempt(result.outcome, result.elapsed_ms / 1000)
            _log_attempt(each, result)
        return tally

    async def _count(self, tx: Transaction, company_id: str, results: list[Settled], tally: Tally) -> None:
        by_cycle: dict[str, Tally] = defaultdict(Tally)
        for result in results:
            name = "deliveries_succeeded" if result.is_success else "deliveries_failed"
            for each in (tally, by_cycle[result.cycle_id or ""]):
                each.counts[name] += 1
                each.counts["deliver_ms"] += result.elapsed_ms
        for cycle_id, counted in sorted(by_cycle.items()):  # in one order everywhere: no two wait in a ring
            if cycle_id:
                await add_counts(tx, company_id, (cycle_id, self._tools.worker_id), counted)


def signed_request(url: str, work: DeliveryWork, secrets: list[str], timestamp: int, settings: Settings) -> HttpRequest:
    """Return the request of one attempt: the stored bytes, a new timestamp, a signature with every live secret."""
    headers = {
        "webhook-id": work.webhook_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": sign(work.webhook_id, timestamp, work.body, secrets),
        "Content-Type": "application/json",
    }
    return HttpRequest(
        method="POST",
        url=url,
        headers=headers,
        body=work.body,
        allow_http=settings.env != "production",
        deadline=timedelta(seconds=settings.delivery_deadline_seconds),
        raw_limit=ANSWER_LIMIT,
        truncate=True,
    )


def settled(attempt: _Attempt, now: datetime, luck: float) -> Settled:
    """Decide what becomes of a delivery after an attempt."""
    work, outcome = attempt.work, attempt.outcome
    attempts, due, state = work.attempts, None, "pending"
    if outcome.is_success:
        state = "delivered"
    elif outcome.ours:
        attempts, due = work.attempts - 1, now + OURS_DELAY
    elif outcome.is_unknown:
        attempts, due = min(work.attempts, backoff.MOST_ATTEMPTS), backoff.next_cut_off(work.attempts, now)
    else:
        hint = retry_after(attempt.answer.headers, now) if attempt.answer is not None else None
        due = backoff.next_delivery(work.attempts, now, luck=luck, hint=hint)
    if due is None and not outcome.is_success:
        state = "dead"
    return Settled(
        delivery_id=work.id,
        attempts=attempts,
        state=state,
        outcome=outcome.word,
        started_at=attempt.started_at,
        elapsed_ms=round(attempt.elapsed.total_seconds() * 1000),
        status=attempt.answer.status if attempt.answer is not None else None,
        error=attempt.error,
        answer=attempt.answer.body[:ANSWER_LIMIT] if attempt.answer is not None else None,
        next_attempt_at=due,
        cycle_id=work.cycle_id,
        is_success=outcome.is_success,
    )


def health(attempts: Sequence[_Attempt], failures_before: int, now: datetime) -> Health:
    """Return what these attempts say of their destination; our own faults and what was cut off say nothing."""
    theirs = [each for each in attempts if not (each.outcome.ours or each.outcome.is_unknown)]
    successes = [at for at, each in enumerate(theirs) if each.outcome.is_success]
    failed = [each for each in theirs if not each.outcome.is_success]
    failures = len(theirs) - successes[-1] - 1 if successes else len(failed)  # in a row, up to now
    held = backoff.breaker_until(failures if successes else failures_before + failures, now) if failures else None
    for each in failed:
        if each.outcome.is_throttled and each.answer is not None:
            pause = retry_after(each.answer.headers, now) or backoff.BREAKER_FIRST
            held = max(held or now, now + pause)
    last = failed[-1] if failed else None
    words = None if last is None else last.error or f"answered {last.answer.status if last.answer else 'nothing'}"
    return Health(failures, held, words, bool(successes), any(each.outcome.is_gone for each in theirs))


def _log_attempt(attempt: _Attempt, result: Settled) -> None:
    log.info(
        "delivery.attempted",
        company_id=attempt.work.company_id,
        delivery_id=attempt.work.id,
        destination_id=attempt.work.destination_id,
        webhook_id=attempt.work.webhook_id,
        attempt=result.attempts,
        outcome=result.outcome,
        status=result.status,
        state=result.state,
        elapsed_ms=result.elapsed_ms,
    )
