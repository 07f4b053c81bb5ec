"""How often callers may ask: requests a minute for each key or person, and for each company of all its callers.

And how often somebody may fail to say who it is, from each address.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, cast

import structlog
from limits import RateLimitItem, RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage, Storage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from limits.errors import StorageError
from limits.storage import storage_from_string

from backend.config import Settings
from backend.domain.addresses import peer_group
from backend.errors import TooOften

log = structlog.get_logger()

CONNECTIONS = 8
PREFIX = "cart-recovery:rate"
SHORTEST = 1  # second to wait, of what a caller is told
TRY_AGAIN = 10.0  # seconds between two tries while Redis is away


Limited = Sequence[tuple[RateLimitItem, tuple[str, ...]]]
PER_PERSON_AND_ADDRESS = RateLimitItemPerMinute(10, 10)  # tries in ten minutes
PER_PERSON = RateLimitItemPerMinute(100, 10)


class Throttle:
    """Counts requests in a sliding minute: in Redis where one is set, so that all web processes count together.

    While Redis is away, each process counts for itself: callers are neither locked out nor let loose.
    """

    def __init__(self, settings: Settings) -> None:
        self._limits = {
            "caller": _per_minute(settings.rate_limit_caller),
            "company": _per_minute(settings.rate_limit_company),
            "stranger": _per_minute(settings.rate_limit_anonymous),
        }
        self._own = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._pool = _pool(settings.shared_redis_url)
        self._shared = None if self._pool is None else _shared(settings.shared_redis_url, self._pool)
        self._is_away = False
        self._try_at = 0.0

    async def check_sign_in(self, email: str, address: str) -> None:
        """Count one try of a password; `address` is where it comes from. Raises `TooOften`.

        Per address it is few, as a guesser has one; per person it is more, so that a guesser does not shut them out.
        """
        tries = [(PER_PERSON_AND_ADDRESS, ("sign-in", email, address)), (PER_PERSON, ("sign-in", email))]
        wait = await self._counted(tries)
        if wait:
            raise TooOften("too many tries to sign in", retry_after=timedelta(seconds=wait))

    async def forget_tries(self, email: str, address: str) -> None:
        """Begin to count anew for somebody who knew their password, so that only failures add up."""
        names = ("sign-in", email, address)
        await self._own.clear(PER_PERSON_AND_ADDRESS, *names)
        if self._shared is not None and not self._is_away:
            try:
                await self._shared.clear(PER_PERSON_AND_ADDRESS, *names)
            except StorageError as error:
                self._lost(error)

    async def wait_for(self, caller: str, company_id: str | None) -> int:
        """Count one request; return 0, or the seconds after which to try again."""
        return await self._wait_for(
            [("caller", caller)] + ([("company", company_id)] if company_id is not None else [])
        )

    async def wait_for_stranger(self, address: str | None) -> int:
        """Count one failed sign-in from a peer's address; return 0, or the seconds after which to try again.

        Called for failures alone, so that whoever has a valid key is never kept waiting by a neighbour behind the same
        address. None, as behind a Unix socket, is one more address.
        """
        return await self._wait_for([("stranger", peer_group(address))])

    async def _wait_for(self, asked: Sequence[tuple[str, str]]) -> int:
        return await self._counted(
            [(limit, (kind, name)) for kind, name in asked if (limit := self._limits[kind]) is not None]
        )

    async def _counted(self, limited: Limited) -> int:
        """Count one request against each limit, among all processes where they share a Redis."""
        if self._shared is not None and (not self._is_away or time.monotonic() >= self._try_at):
            try:
                wait = await _wait(self._shared, limited)
            except StorageError as error:
                self._lost(error)
            else:
                self._found()
                return wait
        return await _wait(self._own, limited)

    async def aclose(self) -> None:
        """Close every connection."""
        if self._pool is not None:
            await self._pool.aclose()

    def _lost(self, error: StorageError) -> None:
        self._try_at = time.monotonic() + TRY_AGAIN
        if not self._is_away:
            self._is_away = True
            log.warning("throttle.redis_away", error=type(error.storage_error).__name__)

    def _found(self) -> None:
        if self._is_away:
            self._is_away = False
            log.info("throttle.redis_back")


async def _wait(counter: SlidingWindowCounterRateLimiter, limited: Limited) -> int:
    for limit, names in limited:
        if not await counter.hit(limit, *names):
            stats = await counter.get_window_stats(limit, *names)
            return max(SHORTEST, round(stats.reset_time - time.time()))
    return 0


def _per_minute(count: int) -> RateLimitItem | None:
    return RateLimitItemPerMinute(count) if count else None


def _pool(redis_url: str) -> Any:
    """Return connections to the Redis that processes share, if there is one."""
    if not redis_url:
        return None
    from redis.asyncio import BlockingConnectionPool  # noqa: PLC0415  the package is optional

    return BlockingConnectionPool.from_url(
        redis_url, max_connections=CONNECTIONS, timeout=1, socket_timeout=1, socket_connect_timeout=1
    )


def _shared(redis_url: str, pool: Any) -> SlidingWindowCounterRateLimiter:
    options: dict[str, Any] = {"implementation": "redispy", "connection_pool": pool, "key_prefix": PREFIX}
    storage = storage_from_string(f"async+{redis_url}", wrap_exceptions=True, **options)
    return SlidingWindowCounterRateLimiter(cast("Storage", storage))  # asynchronous, as its URL says
