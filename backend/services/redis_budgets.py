"""Budgets of stores in a Redis that all workers share. Imported only where one is configured.

Whatever Redis forgets, no store gets more than its limit: a bucket that is lost begins empty, and while Redis is away a
store that several integrations use is not asked at all.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from backend.domain.buckets import LONGEST_HOLD, Ask, Taken
from backend.services.budget_keepers import IsAlone, ProcessKeeper

log = structlog.get_logger()

PREFIX = "cart-recovery:budget:"
MARK = "cart-recovery:budgets-since"
CONNECTIONS = 8
ANSWER_WITHIN = 1.0  # seconds
PROBE_EVERY = 1.0  # seconds between two tries while Redis is away
NO_CEILING = 1e300

# The bucket of `domain/buckets.py`, on the server's own time. A bucket that is not there was never used or is full
# again, unless the server forgot: so it fills from when this server's memory began, and so does one that was written
# before that (read back from a file). The memory began when the mark was set, or when the server started; its uptime
# is in whole seconds, so it counts as started up to two seconds later than it was.
SCRIPT = """
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
local uptime = tonumber(string.match(redis.call('INFO', 'server'), 'uptime_in_seconds:(%d+)'))
local capacity, rate, cost = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local back, ceiling, hold = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])

local mark = tonumber(redis.call('GET', KEYS[2]))
if not mark or mark > now then
  mark = now
  redis.call('SET', KEYS[2], string.format('%.17g', now))
end
local since = math.max(mark, tonumber(time[1]) - uptime + 1)

local kept = redis.call('HMGET', KEYS[1], 'level', 'at', 'held')
local level, at, held = tonumber(kept[1]), tonumber(kept[2]), tonumber(kept[3]) or 0
if not at or at < since or at > now then
  level, at = 0, math.max(since, math.min(at or 0, now))
end
level = math.min(level + math.max(now - math.max(at, held), 0) * rate, capacity)
level = math.min(level + back, capacity, ceiling)
if hold > 0 then
  level, held = 0, math.max(held, now + hold)
end

local wait = 0
if cost > 0 then
  cost = math.min(cost, capacity)
  if held <= now and level >= cost then
    level = level - cost
  else
    wait = math.max(held - now, 0) + math.max(cost - level, 0) / rate
  end
end
local seconds = math.max(held - now, 0) + (capacity - level) / rate + 60
redis.call('HSET', KEYS[1], 'level', string.format('%.17g', level), 'at', string.format('%.17g', math.max(now, at)),
  'held', string.format('%.17g', held))
redis.call('PEXPIRE', KEYS[1], math.ceil(seconds * 1000))
return {string.format('%.17g', wait), string.format('%.17g', level)}
"""


class RedisKeeper:
    """One bucket per store for all workers: one round trip per request, decided at once and on the server's clock.

    While Redis is away, a store that one integration uses is kept by its lease's owner, as without Redis; any other
    waits, since nobody here can know what the other workers do.
    """

    def __init__(self, url: str, ticks: Callable[[], float] = time.monotonic) -> None:
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=CONNECTIONS,
            timeout=ANSWER_WITHIN,
            socket_timeout=ANSWER_WITHIN,
            socket_connect_timeout=ANSWER_WITHIN,
            retry=Retry(NoBackoff(), 1),  # a connection that a restart of Redis left behind is not yet an outage
        )
        self._redis = Redis.from_pool(pool)
        self._script = self._redis.register_script(SCRIPT)
        self._local = ProcessKeeper(ticks)
        self._ticks = ticks
        self._is_away = False
        self._try_at = 0.0

    async def describe(self) -> str:
        """See `Keeper`. Asks Redis, as a process that polls nothing would not know otherwise."""
        try:
            await self._redis.ping()
        except (RedisError, OSError) as error:
            self._lost(error)
            return "Redis is away: stores of one integration are polled on, those of several wait"
        self._found()
        return "shared over Redis"

    async def answer(self, key: str, ask: Ask, is_alone: IsAlone) -> Taken:
        """See `Keeper`."""
        if not self._is_away or self._ticks() >= self._try_at:
            self._try_at = self._ticks() + PROBE_EVERY  # while it is away, one caller at a time finds out
            try:
                taken = await self._shared(key, ask)
            except (RedisError, OSError) as error:
                self._lost(error)
            else:
                self._found()
                return taken
        if await is_alone():
            return await self._local.answer(key, ask, is_alone)
        return Taken(PROBE_EVERY, min(ask.ceiling, ask.rate.capacity))

    async def aclose(self) -> None:
        """Close every connection."""
        await self._redis.aclose()

    async def _shared(self, key: str, ask: Ask) -> Taken:
        ceiling, hold = min(ask.ceiling, NO_CEILING), min(ask.hold, LONGEST_HOLD)
        figures = (ask.rate.capacity, ask.rate.per_second, ask.cost, ask.back, ceiling, hold)
        wait, left = await self._script(keys=[PREFIX + key, MARK], args=figures)
        return Taken(float(wait), float(left))

    def _lost(self, error: Exception) -> None:
        self._try_at = self._ticks() + PROBE_EVERY
        if not self._is_away:
            self._is_away = True
            log.warning("budgets.redis_away", error=type(error).__name__, detail=str(error)[:200])

    def _found(self) -> None:
        if self._is_away:
            self._is_away = False
            log.info("budgets.redis_back")
