"""One mechanism for every queue of due rows: claim while there is room, work, settle, look again.

A lane is one class: its name, how many pieces it may have in hand, how a piece is claimed and how it is worked off.
Whatever a bell says only means "look now": it may be lost, doubled or late.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any, Generic, Protocol, TypeVar

import structlog

from backend.errors import LeaseLost, Unavailable
from backend.services.leases import LeaseKeeper
from backend.store.work import Room

log = structlog.get_logger()

# Of a lane's places: for pieces that failed last time, and for one company's pieces while others may want some.
SUSPECT_SHARE, COMPANY_SHARE = 1 / 2, 3 / 4
GATHER = 0.02  # seconds; under load so long more places may become free, so that one claim fills several


class Piece(Protocol):
    """A piece of work, claimed under the lease `token`."""

    @property
    def company_id(self) -> str: ...
    @property
    def token(self) -> str: ...
    @property
    def is_suspect(self) -> bool: ...


P = TypeVar("P", bound=Piece)


class Lane(Protocol[P]):
    """What a queue of due rows owes the runner."""

    name: str
    places: int  # pieces that may be in hand at once

    async def claim(self, room: Room) -> Sequence[P]:
        """Take due pieces under a lease, at most what there is room for."""
        ...

    async def work(self, piece: P) -> bool:
        """Work a piece off and settle it, fenced by its lease; return whether it has more to do at once."""
        ...


class LaneRunner(Generic[P]):
    """Works one lane off, with bounded work in hand. One per lane and process, or per one-off run."""

    def __init__(self, lane: Lane[P], leases: LeaseKeeper) -> None:
        self.lane = lane
        self._leases = leases
        self._hand: dict[asyncio.Task[bool], P] = {}
        self._stir = asyncio.Event()  # a bell rang, or a piece ended
        self._looks = False  # something may be due
        self._is_crowded = False  # the last claim took all there was room for
        self._is_limited = False  # or left something behind for another reason
        self._is_running = False
        self._fault: Unavailable | None = None  # of the last claim, if the database did not answer it

    async def drain(self) -> bool:
        """Work until nothing is due; return whether more may be due.

        While it runs, a second call only makes the first one look again. Raises `Unavailable`, once nothing is in hand,
        when the last claim got no answer.
        """
        self._looks = True
        self._stir.set()
        if self._is_running:
            return False
        self._is_running, self._fault = True, None
        try:
            return await self._run()
        finally:
            self._is_running = False
            await self._give_up()

    async def _run(self) -> bool:
        while True:
            self._stir.clear()
            while not self._leases.is_winding_down and self._looks and len(self._hand) < self.lane.places:
                await self._fill()
            if not self._hand:
                if self._fault is not None:
                    raise self._fault
                return self._looks
            await self._stir.wait()
            if self._is_limited and self._hand:
                await asyncio.sleep(GATHER)

    async def _fill(self) -> None:
        """Claim once and start what was claimed."""
        self._looks, self._fault = False, None
        room = self._room()
        try:
            pieces = await self.lane.claim(room)
        except Unavailable as error:  # what is in hand goes on, and the next bell looks again
            log.warning("lane.claim_failed", lane=self.lane.name, reason=str(error))
            self._fault = error
            return
        self._is_crowded = len(pieces) >= room.pieces
        suspects = sum(piece.is_suspect for piece in pieces)
        self._is_limited = self._is_crowded or suspects >= room.suspects or bool(room.full)
        self._looks |= self._is_crowded
        for piece in pieces:
            task = asyncio.create_task(self._one(piece))
            self._hand[task] = piece
            task.add_done_callback(self._ended)

    def _room(self) -> Room:
        places, held = self.lane.places, Counter(piece.company_id for piece in self._hand.values())
        suspects = sum(piece.is_suspect for piece in self._hand.values())
        share = max(1, round(places * COMPANY_SHARE))
        return Room(
            pieces=places - len(self._hand),
            suspects=max(0, max(1, round(places * SUSPECT_SHARE)) - suspects),
            full=frozenset(company for company, count in held.items() if count >= share) if places > 1 else frozenset(),
            is_crowded=self._is_crowded,
        )

    async def _one(self, piece: P) -> bool:
        """Work one piece off under its lease; whatever befalls it leaves the others alone."""
        try:
            with self._leases.holding(self.lane.name, piece.token):
                return await self.lane.work(piece)
        except LeaseLost:  # nothing more was changed, and `lease.ended` says why; whoever holds it now goes on
            return False
        except Unavailable as error:  # the rows are as they were, and due again when the lease runs out
            log.warning("lane.interrupted", lane=self.lane.name, company_id=piece.company_id, reason=str(error))
            return False
        except Exception:  # our bug: the lease runs out, the others go on
            log.exception("lane.failed", lane=self.lane.name, company_id=piece.company_id)
            return False

    def _ended(self, task: asyncio.Task[bool]) -> None:
        self._hand.pop(task, None)
        self._looks |= self._is_limited or (not task.cancelled() and task.result())
        self._stir.set()

    async def _give_up(self) -> None:
        """Cut off what is still in hand, which happens only when this task is cancelled."""
        left: list[asyncio.Task[Any]] = list(self._hand)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
