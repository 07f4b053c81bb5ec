"""How many carts a first poll would hand off now, for each choice of how far it looks back. Reads only."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from backend.domain.carts import SeenCart
from backend.domain.gate import Case, Stage, decide
from backend.domain.lifecycle import AgentRules, abandon, first_sight, is_abandoned, refuses_contact
from backend.domain.work import Target
from backend.platforms.base import Platform

LOOKBACKS = (1, 3, 7, 30)  # days
MOST_PAGES = 20
WHOLE_PAGES = 8  # spent on the longest look-back; a store that needs more is walked from the shortest one up
LONGEST = timedelta(seconds=20)


@dataclass(frozen=True, slots=True)
class FirstPoll:
    """`carts` that a first poll looking back `days` would hand off; `at_least` when not everything was read."""

    days: int
    carts: int
    at_least: bool
    is_chosen: bool


@dataclass(frozen=True, slots=True)
class Judge:
    """Whether a cart would be handed off if it were read now for the first time."""

    rules: AgentRules
    targets: Sequence[Target]
    now: datetime

    def hands_off(self, seen: SeenCart) -> bool:
        """Ask the rules that intake and gate ask. A re-read of the cart, where the gate wants one, is taken to agree.

        An agent without destinations is judged as if it had one of the usual kind.
        """
        row = first_sight(seen, ("", "", ""), self.rules, self.now).row
        if not is_abandoned(row, self.rules, self.now):
            return False
        abandon(row, self.rules)
        case = Case(
            event_type="cart.abandoned",
            stage=Stage.WRITE,
            now=self.now,
            state=row.state,
            episode=row.episode,
            cart_episode=row.episode,
            abandon_at=row.abandon_at(self.rules),
            horizon=self.rules.horizon,
            is_contactable=seen.shopper.is_contactable,
            refuses_contact=refuses_contact(seen.shopper, seen.consent),
        )
        wanted = {(target.include_uncontactable, target.include_opted_out) for target in self.targets}
        return any(
            decide(replace(case, include_uncontactable=uncontactable, include_opted_out=opted_out)).allows
            for uncontactable, opted_out in wanted or {(False, False)}
        )


@dataclass(slots=True)
class FirstPollMeter:
    """Walks a store as a first poll would, within `MOST_PAGES` pages and `LONGEST` time, and saves nothing."""

    adapter: Platform
    judge: Judge
    chosen: int
    pages: int = 0
    _carts: dict[str, SeenCart] = field(default_factory=dict)
    _drained: int = -1

    async def measure(self) -> tuple[FirstPoll, ...]:
        """Return the counts. Raises what the adapter raises."""
        choices = sorted({*LOOKBACKS, self.chosen})
        try:
            async with asyncio.timeout(LONGEST.total_seconds()):
                await self._walk_all(choices)
        except TimeoutError:
            pass  # what was read so far is told as "at least"
        moments = [seen.updated_at for seen in self._carts.values() if self.judge.hands_off(seen)]
        return tuple(
            FirstPoll(
                days,
                sum(moment >= self.judge.now - timedelta(days=days) for moment in moments),
                at_least=days > self._drained,
                is_chosen=days == self.chosen,
            )
            for days in choices
        )

    async def _walk_all(self, choices: Sequence[int]) -> None:
        """Try the longest look-back whole; else answer for the short ones, which a busy store is likely to choose."""
        if await self._walk(choices[-1], WHOLE_PAGES):
            return
        for days in choices[:-1]:
            if not await self._walk(days, MOST_PAGES):
                return

    async def _walk(self, days: int, most: int) -> bool:
        """Read every page of a look-back unless `most` pages are used up; say whether it was drained."""
        window_from = self.judge.now - timedelta(days=days)
        token: str | None = None
        while self.pages < most:
            page = await self.adapter.fetch_page(window_from, token)
            self.pages += 1
            self._carts.update((seen.source_cart_id, seen) for seen in page.carts)
            token = page.next_page_token
            if token is None:
                self._drained = max(days, self._drained)
                return True
        return False
