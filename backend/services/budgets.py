"""A store's rate budget before the one door: each request of a poll waits for its turn, each answer is learned from."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

from backend.clock import Clock
from backend.config import Settings
from backend.db import Database
from backend.domain.buckets import CLOCK_DOUBT, LONGEST_HOLD, Allowance, Ask, Bucket, Rate, Taken
from backend.errors import SetupProblem, TryLater
from backend.outbound import HttpRequest, HttpResponse, Sends, retry_after
from backend.platforms.base import Pace
from backend.platforms.registry import PLATFORMS
from backend.services.budget_keepers import IsAlone, Keeper, ProcessKeeper
from backend.store.work.sharers import count_sharers

# A poll waits this long for one request; for longer ones it gives its place to another store.
LONGEST_WAIT, SHORTEST_SLEEP = 5.0, 0.002  # seconds
TOO_MANY, SLOW_DOWN = 429, frozenset({429, 503})


class BudgetSpent(TryLater):
    """The store may be asked again at the time told. No failure: nobody did anything wrong."""

    code = "budget_exhausted"


class Spender(Protocol):
    """What is claimed of a store's integration; `PollWork` is one.

    `claims` counts this claim in: above 1, somebody died or was cut off before it could say what it spent.
    """

    @property
    def company_id(self) -> str: ...

    @property
    def platform(self) -> str: ...

    @property
    def store_id(self) -> str: ...

    @property
    def settings(self) -> Mapping[str, Any]: ...

    @property
    def claims(self) -> int: ...

    @property
    def budget(self) -> Mapping[str, Any] | None: ...


CountSharers = Callable[[Spender], Awaitable[int]]


@dataclass(frozen=True, slots=True)
class Times:
    """The clock that workers agree on, and this process's own steady one."""

    clock: Clock
    ticks: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


@dataclass(slots=True)
class Purse:
    """What is known of a store's budget while its lease is held, and what the next owner of the lease is told.

    `bucket` is what this owner could at most spend, on the steady clock. `back` was reserved, not spent, and not yet
    told to the keeper. `told` is the store's own rate, without the margin.
    """

    bucket: Bucket
    cost: float
    rate: Rate
    back: float = 0.0
    told: Rate | None = None

    @classmethod
    def open(cls, work: Spender, times: Times) -> Purse:
        """Take over what the last owner left; one that left no word may have spent all it could."""
        pace, kept = PLATFORMS[work.platform].capabilities.pace, _numbers(work.budget)
        told = _told(kept) if pace.read else None
        rate = (told or rate_of(pace, work.settings)).with_margin()
        now, wall = times.ticks(), times.clock.now().timestamp()
        bucket = Bucket(min(kept.get("level", rate.capacity), rate.capacity), now)
        held = kept.get("held_until", 0.0) - wall
        bucket.held_until = now + min(held, LONGEST_HOLD) if held > 0 else 0.0
        idle = wall - max(kept.get("at", wall), kept.get("held_until", 0.0)) - CLOCK_DOUBT
        bucket.level = min(bucket.level + max(idle, 0.0) * rate.per_second, rate.capacity)
        purse = cls(bucket, kept.get("cost", pace.cost), rate, kept.get("owed", 0.0), told)
        if work.claims > 1:
            purse.bucket.level = purse.back = 0.0
        return purse

    def ask(self, cost: float, now: float) -> Ask:
        """Return the next look at the keeper's bucket, with all that it may not know yet."""
        self.bucket.refill(self.rate, now)
        held = max(self.bucket.held_until - now, 0.0)
        return Ask(self.rate, cost, self.back, self.bucket.level, held)

    def hold(self, pause: timedelta, now: float) -> None:
        """Spend nothing for `pause`, and begin empty then."""
        self.bucket.answer(Ask(self.rate, 0, ceiling=0.0, hold=pause.total_seconds()), now)

    def learn(self, told: Allowance, reserved: float) -> None:
        """Go by the store's own figures; what it says is available counts only where it is less than we thought."""
        self.told = told.rate
        self.rate = self.told.with_margin()
        if told.requested:
            self.cost = told.requested
        back = max(reserved - told.spent, 0.0) if told.spent is not None else 0.0
        self.back += back
        self.bucket.level = min(self.bucket.level + back, told.available, self.rate.capacity)

    def carried(self, times: Times) -> dict[str, float]:
        """Return what the next owner needs to know, as it is stored."""
        now, wall = times.ticks(), times.clock.now().timestamp()
        self.bucket.refill(self.rate, now)
        kept = {"level": round(self.bucket.level, 3), "at": round(wall, 3)}
        if self.bucket.held_until > now:
            kept["held_until"] = round(wall + self.bucket.held_until - now, 3)
        if self.told is not None:
            kept |= {"maximum": self.told.capacity, "restored_per_second": self.told.per_second}
            kept |= {"cost": self.cost, "owed": round(self.back, 3)}
        return kept


@dataclass(frozen=True, slots=True)
class Account:
    """Where one store's budget is kept, under a key that tells nothing of the store."""

    key: str
    keeper: Keeper
    is_alone: IsAlone
    read: Callable[[HttpResponse], Allowance | None] | None


class Paced:
    """The door as one poll sees it, one request after another: waits for the store's budget, learns from answers."""

    def __init__(self, http: Sends, account: Account, purse: Purse, times: Times) -> None:
        self._http = http
        self._account = account
        self._purse = purse
        self._times = times

    async def send(self, request: HttpRequest) -> HttpResponse:
        """Send when the budget allows it. Raises `BudgetSpent` when that is some seconds away, or as the door does."""
        reserved = min(self._purse.cost, self._purse.rate.capacity)
        await self._wait()
        response = await self._http.send(request)
        await self._learn(response, reserved)
        return response

    def carried(self) -> dict[str, float]:
        """Return what to keep in `integrations.budget` when the lease is given back, whatever the poll came to."""
        return self._purse.carried(self._times)

    async def _wait(self) -> None:
        give_up_at = self._times.ticks() + LONGEST_WAIT
        while wait := (await self._ask(self._purse.cost)).wait:
            if self._times.ticks() + wait > give_up_at:
                pause = timedelta(seconds=min(wait, LONGEST_HOLD))
                raise BudgetSpent("the store's rate budget is spent for now", retry_after=pause)
            await self._times.sleep(max(wait, SHORTEST_SLEEP))

    async def _ask(self, cost: float) -> Taken:
        purse, account = self._purse, self._account
        ask = purse.ask(cost, self._times.ticks())
        taken = await account.keeper.answer(account.key, ask, account.is_alone)
        purse.back = 0.0
        purse.bucket.level, purse.bucket.at = taken.left, self._times.ticks()
        return taken

    async def _learn(self, response: HttpResponse, reserved: float) -> None:
        """Take the answer's word; tell others at once where it is less than they would think."""
        purse, level = self._purse, self._purse.bucket.level
        told = self._account.read(response) if self._account.read else None
        if told is not None:
            purse.learn(told, reserved)
        if response.status in SLOW_DOWN:
            hint = retry_after(response.headers, response.date or self._times.clock.now())
            if hint is not None or response.status == TOO_MANY:
                purse.hold(hint or timedelta(0), self._times.ticks())
        if purse.bucket.level < level or purse.bucket.held_until > self._times.ticks():
            await self._ask(0)


class Budgets:
    """The budgets of all stores that this process polls."""

    def __init__(self, keeper: Keeper, http: Sends, times: Times, count_sharers: CountSharers) -> None:
        self._keeper = keeper
        self._http = http
        self._times = times
        self._count_sharers = count_sharers

    def open(self, work: Spender) -> Paced:
        """Return the door for one poll of a claimed store."""
        key, read = store_key(work), PLATFORMS[work.platform].capabilities.pace.read
        account = Account(key, self._keeper, _Loneliness(work, self._count_sharers).is_certain, read)
        return Paced(self._http, account, Purse.open(work, self._times), self._times)

    async def aclose(self) -> None:
        """Close every connection."""
        await self._keeper.aclose()


class _Loneliness:
    """Whether no other integration polls a store; looked up once, and only if somebody asks."""

    def __init__(self, work: Spender, count_sharers: CountSharers) -> None:
        self._work = work
        self._count_sharers = count_sharers
        self._is_alone: bool | None = None

    async def is_certain(self) -> bool:
        if self._is_alone is None:
            self._is_alone = await self._count_sharers(self._work) <= 1
        return self._is_alone


def sharers_in(database: Database) -> CountSharers:
    """Return what counts the integrations of a store in the database."""

    async def count(work: Spender) -> int:
        async with database.overview() as tx:
            return await count_sharers(tx, work.platform, work.store_id, _whose(work))

    return count


def open_keeper(settings: Settings, clock: Clock) -> Keeper:
    """Return what the settings ask for. Raises `SetupProblem` for a Redis that cannot be used."""
    if not settings.shared_redis_url:
        return ProcessKeeper(clock.ticks)
    try:
        from backend.services.redis_budgets import RedisKeeper  # noqa: PLC0415 - the package is optional
    except ModuleNotFoundError:
        raise SetupProblem("REDIS_URL needs the package redis: pip install 'cart-recovery[fleet]'") from None
    try:
        return RedisKeeper(settings.shared_redis_url)
    except ValueError:
        raise SetupProblem("REDIS_URL: is not the address of a Redis, redis://host:6379/0") from None


def store_key(work: Spender) -> str:
    """Return the name of a store's bucket: whoever asks the same address shares its limit, of whatever company."""
    words = (_whose(work) or "", work.platform, work.store_id)
    return hashlib.blake2b("\0".join(words).encode(), digest_size=16).hexdigest()


def _whose(work: Spender) -> str | None:
    """Return the company where the platform counts by app, as its answers tell: each company has its own; else None."""
    return work.company_id if PLATFORMS[work.platform].capabilities.pace.read else None


def rate_of(pace: Pace, settings: Mapping[str, Any]) -> Rate:
    """Return the rate that an integration's options set, or else the platform's."""
    options = settings.get("options") or {}
    per_second = options.get("requests_per_second")
    return pace.rate if per_second is None else Rate(options.get("requests_at_once") or 1, per_second)


def _numbers(kept: Mapping[str, Any] | None) -> dict[str, float]:
    return {name: float(value) for name, value in (kept or {}).items() if isinstance(value, int | float)}


def _told(kept: Mapping[str, float]) -> Rate | None:
    try:
        return Rate(kept["maximum"], kept["restored_per_second"])
    except KeyError:
        return None
