"""The poll lane: due stores, each polled for a turn, as part of a cycle."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta

from backend.config import Settings
from backend.db import Database
from backend.domain.lanes import POLLS
from backend.domain.work import PollWork, Scope
from backend.services.leases import LeaseKeeper
from backend.services.poll_reports import CycleRef, PollReport
from backend.services.polling import StorePolls
from backend.store.work import PollQueue, Room

# A store with more to tell lets the others go first after this long; a one-off run stays until it is done, or until
# just before the lease's cap.
TURN, WHOLE_WALK = timedelta(seconds=8), timedelta(minutes=4)


@dataclass(frozen=True, slots=True)
class PollPiece:
    """A claimed store and the cycle that its poll counts for."""

    poll: PollWork
    cycle: CycleRef

    @property
    def company_id(self) -> str:
        """Whose store it is."""
        return self.poll.company_id

    @property
    def token(self) -> str:
        """The lease."""
        return self.poll.token

    @property
    def is_suspect(self) -> bool:
        """Whether it failed last time."""
        return self.poll.is_suspect


@dataclass(frozen=True, slots=True)
class PollTools:
    """What the lane works with; `finish` is told the id of a cycle whose last poll here has ended."""

    settings: Settings
    database: Database
    leases: LeaseKeeper
    polls: StorePolls
    finish: Callable[[str], Awaitable[object]]


class PollLane:
    """Polls what is due by the present beat. The cycle before may still be under way: each poll knows its own."""

    name = POLLS

    def __init__(self, tools: PollTools, scope: Scope) -> None:
        self._tools = tools
        self._scope = scope
        self.places = tools.settings.poll_concurrency
        self.cycle: CycleRef | None = None
        self._in_hand: Counter[str] = Counter()
        self._open: set[str] = set()  # cycles whose end is not noted yet

    def begin(self, cycle: CycleRef) -> None:
        """Poll for this cycle from now on."""
        self.cycle = cycle
        self._open.add(cycle.id)

    async def end_cycles(self) -> None:
        """Note the end of every cycle that has no poll in hand here."""
        for cycle_id in [each for each in self._open if not self._in_hand[each]]:
            self._open.discard(cycle_id)
            del self._in_hand[cycle_id]
            await self._tools.finish(cycle_id)

    async def claim(self, room: Room) -> list[PollPiece]:
        """Take stores that are due by the beat."""
        cycle = self.cycle
        if cycle is None:
            return []
        async with self._tools.database.work() as tx:
            terms = self._tools.leases.terms()
            works = await PollQueue(tx).claim(self._scope, terms, room, due_by=cycle.beat_at)
        if works:
            self._in_hand[cycle.id] += len(works)
            self._open.add(cycle.id)
        return [PollPiece(work, cycle) for work in works]

    async def work(self, piece: PollPiece) -> bool:
        """Poll one store for a turn; return whether its walk goes on."""
        try:
            report = await self._tools.polls.poll(piece.poll, piece.cycle, TURN)
        finally:
            self._in_hand[piece.cycle.id] -= 1
        if piece.cycle != self.cycle:
            await self.end_cycles()
        return report.goes_on


class OneOffPolls:
    """Polls every store that may be polled now, each once and to the end of its walk, for one cycle."""

    name = POLLS

    def __init__(self, tools: PollTools, scope: Scope, cycle: CycleRef) -> None:
        self._tools = tools
        self._scope = scope
        self._cycle = cycle
        self._after = ""
        self.places = tools.settings.poll_concurrency
        self.reports: dict[str, PollReport] = {}

    async def claim(self, room: Room) -> list[PollPiece]:
        """Take the next stores in the order of their ids."""
        async with self._tools.database.work() as tx:
            works = await PollQueue(tx).claim_each(self._scope, self._tools.leases.terms(), room, after=self._after)
        for work in works:
            self._after = max(self._after, work.integration_id)
            self.reports[work.integration_id] = PollReport.cut_off(work)  # until it says better
        return [PollPiece(work, self._cycle) for work in works]

    async def work(self, piece: PollPiece) -> bool:
        """Poll one store to the end."""
        self.reports[piece.poll.integration_id] = await self._tools.polls.poll(piece.poll, piece.cycle, WHOLE_WALK)
        return True  # places are free for the next ones
