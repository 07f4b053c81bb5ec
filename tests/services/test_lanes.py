"""The mechanism that every lane runs on, with a lane of the test's own: a list of due pieces."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
import structlog

from backend.errors import LeaseLost, Unavailable
from backend.services.lanes import LaneRunner
from backend.store.work import Room
from tests.services.line import Line


@dataclass(frozen=True)
class Chore:
    """A piece of work; those of one name are the same."""

    name: str
    company_id: str = "c1"
    is_suspect: bool = False
    token: str = "t"


@dataclass
class Chores:
    """A lane over a list. `gate`: pieces are worked off only while it is open; `ends`: what working one off does."""

    due: list[Chore]
    places: int = 4
    name: str = "sweep"
    rooms: list[Room] = field(default_factory=list)
    begun: list[str] = field(default_factory=list)
    in_hand: int = 0
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    quick: frozenset[str] = frozenset()  # these wait for no gate
    ends: dict[str, Callable[[], bool]] = field(default_factory=dict)
    fault: Exception | None = None

    async def claim(self, room: Room) -> list[Chore]:
        """Take what there is room for."""
        self.rooms.append(room)
        if self.fault is not None:
            fault, self.fault = self.fault, None
            raise fault
        taken: list[Chore] = []
        for chore in list(self.due):
            suspects = sum(each.is_suspect for each in taken)
            is_welcome = chore.company_id not in room.full and not (chore.is_suspect and suspects >= room.suspects)
            if is_welcome and len(taken) < room.pieces:
                taken.append(chore)
                self.due.remove(chore)
        return taken

    async def work(self, piece: Chore) -> bool:
        """Wait for the gate, then end as was asked."""
        self.begun.append(piece.name)
        self.in_hand += 1
        try:
            if piece.name not in self.quick:
                await self.gate.wait()
            return self.ends.get(piece.name, lambda: False)()
        finally:
            self.in_hand -= 1


def raising(error: Exception) -> Callable[[], bool]:
    """Return an end that raises."""

    def end() -> bool:
        raise error

    return end


def chores(count: int, **fields: object) -> list[Chore]:
    return [Chore(f"{number}", **fields) for number in range(count)]  # type: ignore[arg-type]


async def until(holds: Callable[[], bool]) -> None:
    """Let the loop turn until something holds."""
    for _ in range(10_000):
        if holds():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never came about")


async def drained(line: Line, lane: Chores) -> bool:
    """Open the gate and work the lane off."""
    lane.gate.set()
    return await LaneRunner(lane, line.base.leases).drain()


async def test_everything_that_is_due_is_worked_off(line: Line) -> None:
    lane = Chores(chores(11))
    assert (await drained(line, lane), sorted(map(int, lane.begun))) == (False, list(range(11)))


async def test_no_more_is_in_hand_than_there_are_places(line: Line) -> None:
    lane = Chores(chores(11))
    draining = asyncio.create_task(LaneRunner(lane, line.base.leases).drain())
    await until(lambda: lane.in_hand == lane.places)
    for _ in range(100):
        await asyncio.sleep(0)
    begun = len(lane.begun)
    lane.gate.set()
    await draining
    assert (begun, len(lane.begun)) == (4, 11)


async def test_a_free_place_is_filled_while_a_slow_piece_is_at_work(line: Line) -> None:
    lane = Chores(chores(4), places=2, quick=frozenset({"0", "2", "3"}))
    draining = asyncio.create_task(LaneRunner(lane, line.base.leases).drain())
    async with asyncio.timeout(5):
        while len(lane.begun) < 4:  # noqa: ASYNC110  the lane waits a moment for more places
            await asyncio.sleep(0.01)
    in_hand = lane.in_hand
    lane.gate.set()
    await draining
    assert in_hand <= 2


@pytest.mark.parametrize(
    "error", [LeaseLost("gone"), Unavailable("no database"), ZeroDivisionError("ours")], ids=lambda e: type(e).__name__
)
async def test_a_piece_that_fails_leaves_the_others_alone(line: Line, error: Exception) -> None:
    lane = Chores(chores(6), ends={"2": raising(error)})
    with structlog.testing.capture_logs():
        await drained(line, lane)
    assert sorted(lane.begun) == ["0", "1", "2", "3", "4", "5"]


async def test_our_own_bug_is_logged_with_its_trace(line: Line) -> None:
    with structlog.testing.capture_logs() as lines:
        await drained(line, Chores(chores(1), ends={"0": raising(ZeroDivisionError("ours"))}))
    assert [(each["event"], each["lane"]) for each in lines] == [("lane.failed", "sweep")]


async def test_a_piece_with_more_to_do_makes_the_lane_look_again(line: Line) -> None:
    lane = Chores(chores(1))

    def more() -> bool:
        lane.due.append(Chore("again"))
        return True

    lane.ends["0"] = more
    await drained(line, lane)
    assert lane.begun == ["0", "again"]


async def test_a_bell_in_mid_work_makes_it_look_again(line: Line) -> None:
    lane = Chores(chores(1))
    runner = LaneRunner(lane, line.base.leases)
    draining = asyncio.create_task(runner.drain())
    await until(lambda: lane.begun == ["0"])
    lane.due.append(Chore("late"))
    second = await runner.drain()
    await until(lambda: lane.begun == ["0", "late"])
    lane.gate.set()
    assert (second, await draining) == (False, False)


async def test_suspects_never_fill_more_than_their_share(line: Line) -> None:
    lane = Chores(chores(10, is_suspect=True), places=4)
    runner = LaneRunner(lane, line.base.leases)
    draining = asyncio.create_task(runner.drain())
    await until(lambda: len(lane.begun) == 2)
    lane.due.insert(0, Chore("sound"))
    await runner.drain()
    await until(lambda: "sound" in lane.begun)
    in_hand = Counter(name == "sound" for name in lane.begun)
    lane.gate.set()
    await draining
    assert (in_hand[False], len(lane.begun)) == (2, 11)


async def test_one_company_leaves_a_place_for_the_others(line: Line) -> None:
    lane = Chores(chores(8), places=4, quick=frozenset({"0"}))
    draining = asyncio.create_task(LaneRunner(lane, line.base.leases).drain())
    async with asyncio.timeout(5):
        while len(lane.rooms) < 2:  # noqa: ASYNC110  the lane waits a moment for more places
            await asyncio.sleep(0.01)
    begun, full = len(lane.begun), lane.rooms[1].full
    lane.gate.set()
    await draining
    assert (begun, full, len(lane.begun)) == (4, frozenset({"c1"}), 8)


async def test_a_claim_after_one_that_took_all_it_could_is_told_so(line: Line) -> None:
    lane = Chores(chores(5), places=2)
    await drained(line, lane)
    assert [room.is_crowded for room in lane.rooms][:2] == [False, True]


async def test_a_claim_that_the_database_does_not_answer_cuts_off_nothing(line: Line) -> None:
    lane = Chores(chores(1))
    runner = LaneRunner(lane, line.base.leases)
    draining = asyncio.create_task(runner.drain())
    await until(lambda: lane.begun == ["0"])
    lane.fault = Unavailable("no database")
    with structlog.testing.capture_logs() as lines:
        await runner.drain()
        await until(lambda: lane.fault is None)
        lane.due.append(Chore("later"))
        await runner.drain()
        await until(lambda: "later" in lane.begun)
        lane.gate.set()
        await draining
    assert (lane.begun, [each["event"] for each in lines]) == (["0", "later"], ["lane.claim_failed"])


async def test_a_run_whose_claim_got_no_answer_says_so(line: Line) -> None:
    lane = Chores(chores(1), fault=Unavailable("no database"))
    with structlog.testing.capture_logs(), pytest.raises(Unavailable):
        await drained(line, lane)


async def test_nothing_is_claimed_once_the_process_winds_down(line: Line) -> None:
    line.base.leases.is_winding_down = True
    lane = Chores(chores(3))
    assert (await drained(line, lane), lane.begun) == (True, [])


async def test_ended_from_outside_it_ends_what_is_in_hand(line: Line) -> None:
    lane = Chores(chores(2))
    draining = asyncio.create_task(LaneRunner(lane, line.base.leases).drain())
    await until(lambda: len(lane.begun) == 2)
    draining.cancel()
    with pytest.raises(asyncio.CancelledError):
        await draining
    assert lane.in_hand == 0
