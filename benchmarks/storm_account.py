"""What a storm came to: the stores' carts against the partner's effects, what came again against what was in hand."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmarks.storm_eye import Eye, Held
from benchmarks.storm_world import Cart, StormWorld

COMMITTED = 0.1  # seconds in which the server has done what a killed process had asked of it
ABANDONED = "cart.abandoned"
# What became of a message: who tried it when, with which outcome.
ATTEMPTS = """
SELECT d.webhook_id, a.number, a.worker_id, a.outcome, a.started_at::time(1)::text AS at, a.elapsed_ms
FROM deliveries d LEFT JOIN delivery_attempts a ON a.delivery_id = d.id
WHERE d.webhook_id = ANY($1) ORDER BY 1, 2
"""
LOGGED_TWICE = """
SELECT count(*) FROM (SELECT 1 FROM abandonment_log GROUP BY cart_id, episode HAVING count(*) > 1) AS twice
"""
SHOWN = 5  # of each kind of fault


@dataclass(slots=True)
class Account:
    """The figures of one storm. `violations` says in words what must not be."""

    carts: int = 0
    messages: int = 0
    lost: int = 0
    doubled: int = 0
    repeated: int = 0  # messages that came again
    in_hand: int = 0  # messages that killed workers had claimed and not settled
    in_hand_of_all: int = 0  # the same, of all workers at those moments
    unexplained: int = 0  # messages that came again more often than they were in a dead worker's hand
    attempts: list[dict[str, Any]] = field(default_factory=list)  # of the unexplained ones
    warnings: list[dict[str, Any]] = field(default_factory=list)  # of the workers' logs, where something is wrong
    violations: list[str] = field(default_factory=list)


class Hands:
    """Notes at each kill what the dead worker had in hand."""

    def __init__(self, eye: Eye, lease: float) -> None:
        self._eye = eye
        self._lease = lease
        self._looks: list[asyncio.Task[list[Held]]] = []
        self.of_all = 0

    async def note(self) -> None:
        """Look right after a kill; which of it was the dead worker's shows a little later."""
        await asyncio.sleep(COMMITTED)
        held = await self._eye.in_hand()
        self.of_all += len(held)
        self._looks.append(asyncio.create_task(self._dead_ones(held)))

    async def _dead_ones(self, held: list[Held]) -> list[Held]:
        await asyncio.sleep(self._lease * 0.6)  # leases are renewed every 0.3 of their time
        return await self._eye.dropped(held)

    async def dropped(self) -> Counter[str]:
        """Return how often each message was in a dead worker's hand."""
        return Counter(each.webhook_id for look in await asyncio.gather(*self._looks) for each in look)


async def complaints(eye: Eye) -> list[str]:
    """Return what stores and destinations are said to suffer from at the end, when all of them are well."""
    stores = "SELECT platform || ': ' || last_error, count(*) FROM integrations WHERE failures > 0 GROUP BY 1"
    partners = "SELECT status || ': ' || last_error, count(*) FROM destinations WHERE failures > 0 GROUP BY 1"
    return [f"{count} with {error}" for sql in (stores, partners) for error, count in await eye.rows(sql)]


async def take_account(world: StormWorld, hands: Hands | None = None) -> Account:
    """Compare everything once the work is done; without `hands` any message may have come again."""
    told: Mapping[str, Any] = await world.ask(world.partner, "account")
    account = compared(world.expected, told, await hands.dropped() if hands else None)
    account.in_hand_of_all = hands.of_all if hands else 0
    messages = [each["webhook_id"] for each in account.attempts]
    account.attempts = [dict(row) for row in await world.eye.rows(ATTEMPTS, messages)]
    for state, count in await world.eye.rows("SELECT state, count(*) FROM deliveries GROUP BY state"):
        if state != "delivered":
            account.violations.append(f"{count} deliveries are {state}")
    if found := await world.eye.one(LOGGED_TWICE):
        account.violations.append(f"{found} abandonments were logged more than once")
    return account


def compared(expected: set[Cart], told: Mapping[str, Any], dropped: Counter[str] | None) -> Account:
    """Compare what must have arrived with what the partner tells (see `storm_servers.Partner`).

    `dropped`: how often each message was in a dead worker's hand, which bounds how often it may come again.
    """
    counts = Counter((hook, store, cart) for hook, kind, _id, cart, store in told["effects"] if kind == ABANDONED)
    again = Counter(told["repeated"])
    lost, strangers = sorted(expected - set(counts)), sorted(set(counts) - expected)
    twice = sorted(cart for cart, times in counts.items() if times > 1)
    unexplained = again - dropped if dropped is not None else Counter[str]()
    account = Account(
        carts=len(expected),
        messages=told["messages"],
        lost=len(lost),
        doubled=len(twice) + len(told["doubled"]),
        repeated=again.total(),
        in_hand=dropped.total() if dropped is not None else 0,
        unexplained=unexplained.total(),
        attempts=[{"webhook_id": message} for message in unexplained],
    )
    wrong: dict[str, Iterable[Any]] = {
        "carts were lost": lost,
        "carts took effect twice": twice,
        "happenings came under two event ids": told["doubled"],
        "carts arrived that must not": strangers,
        "kinds of events came that must not": {kind for _hook, kind, *_ in told["effects"]} - {ABANDONED},
        "messages came again though no dead worker had them in hand": unexplained,
        "signatures did not verify": range(told["bad_signatures"]),
        "bodies could not be read": range(told["bad_bodies"]),
    }
    account.violations = [_said(what, list(found)) for what, found in wrong.items() if found]
    return account


def _said(what: str, found: list[Any]) -> str:
    more = ", ..." if len(found) > SHOWN else ""
    return f"{len(found)} {what}: {', '.join(map(str, found[:SHOWN]))}{more}"
