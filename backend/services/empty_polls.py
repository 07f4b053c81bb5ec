"""Polls that found nothing are settled together: one commit for many, as most polls of a quiet night are like that."""

from __future__ import annotations

import asyncio

from backend.db import Database
from backend.store.work.settling import EmptyPoll, settle_empty

GATHER = 0.03  # seconds that a poll waits for others to be settled with
AT_ONCE = 200


class EmptyPolls:
    """Collects polls that found nothing and settles them, fenced by their leases."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: list[tuple[EmptyPoll, asyncio.Future[bool]]] = []
        self._flusher: asyncio.Task[None] | None = None

    async def settle(self, done: EmptyPoll) -> bool:
        """Settle a poll with others of this moment; False when its lease was lost and nothing was changed."""
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((done, answer))
        if self._flusher is None or self._flusher.done():
            self._flusher = asyncio.create_task(self._flush(), name="empty-polls")
        return await answer

    async def _flush(self) -> None:
        while self._waiting:
            await asyncio.sleep(GATHER)
            batch, self._waiting = self._waiting[:AT_ONCE], self._waiting[AT_ONCE:]
            # Whatever went wrong, each of these polls tells its own lane.
            results = await asyncio.gather(self._commit([done for done, _ in batch]), return_exceptions=True)
            _answer(batch, results[0])

    async def _commit(self, batch: list[EmptyPoll]) -> set[str]:
        async with self._database.work() as tx:
            return await settle_empty(tx, batch)


def _answer(batch: list[tuple[EmptyPoll, asyncio.Future[bool]]], result: set[str] | BaseException) -> None:
    for done, answer in batch:
        if answer.done():  # its poll was cancelled meanwhile
            continue
        if isinstance(result, BaseException):
            answer.set_exception(result)
        else:
            answer.set_result(done.integration_id in result)
