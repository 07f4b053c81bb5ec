"""The budget of requests or points that a store grants: a token bucket, pure, with the time passed in.

In any stretch of time, what is taken is at most the capacity plus the rate times the length of the stretch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

# What is used of a rate: requests that were evenly spaced when sent may arrive closer together than that.
OF_RATE, OF_CAPACITY = 0.95, 0.9
LONGEST_HOLD = 24 * 3600.0  # seconds
# A store's own figures are believed within these bounds only: they are put in an answer by whoever answers.
LARGEST_CAPACITY, LONGEST_REFILL = 1e7, 3600.0
# How far the clocks of two workers may be apart, and how long a settled state may have taken to be written, seconds.
CLOCK_DOUBT = 0.25


@dataclass(frozen=True, slots=True)
class Rate:
    """What may be spent: `capacity` at once, and `per_second` from then on. The unit is requests, or points."""

    capacity: float
    per_second: float

    def with_margin(self) -> Rate:
        """Return what is used of it, so that a request on its way cannot push the store's own count over."""
        return Rate(max(self.capacity * OF_CAPACITY, min(self.capacity, 1.0)), self.per_second * OF_RATE)


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a store says of its budget in one answer. `requested`: reserved for the query; `spent`: what it cost."""

    maximum: float
    available: float
    restored_per_second: float
    requested: float | None = None
    spent: float | None = None

    @property
    def rate(self) -> Rate:
        """The rate it grants; a refill of more than an hour counts as an hour, so that asking never ends for good."""
        return Rate(self.maximum, max(self.restored_per_second, self.maximum / LONGEST_REFILL))

    @classmethod
    def read(cls, figures: dict[str, Any]) -> Allowance | None:
        """Return figures by these names, or None where they are missing or make no sense."""
        told = {
            name: float(value)
            for name in cls.__dataclass_fields__
            if isinstance(value := figures.get(name), int | float) and 0 <= value <= LARGEST_CAPACITY
        }
        if not {"maximum", "available", "restored_per_second"} <= told.keys() or told["maximum"] < 1:
            return None
        return cls(**told)


@dataclass(frozen=True, slots=True)
class Ask:
    """One look at a bucket: what was learned since the last one, and what is to be taken now.

    `back`: reserved and not spent. `ceiling`: there is no more than this. `hold`: nothing for so many seconds.
    `cost` 0 takes nothing; one above the capacity counts as the capacity, since no store asks for more than it grants.
    """

    rate: Rate
    cost: float = 1.0
    back: float = 0.0
    ceiling: float = math.inf
    hold: float = 0.0


@dataclass(frozen=True, slots=True)
class Taken:
    """`wait`: 0 when it was taken, else the seconds until it might be. `left`: what the bucket holds now."""

    wait: float
    left: float


@dataclass(slots=True)
class Bucket:
    """What is left, as of `at` (seconds of any one clock); nothing flows in before `held_until`."""

    level: float
    at: float
    held_until: float = 0.0

    def answer(self, ask: Ask, now: float) -> Taken:
        """Take what `ask` wants if it is there, else nothing."""
        self.refill(ask.rate, now)
        self.level = min(self.level + ask.back, ask.rate.capacity, ask.ceiling)
        if ask.hold > 0:
            self.level = 0.0
            self.held_until = max(self.held_until, now + min(ask.hold, LONGEST_HOLD))
        if ask.cost <= 0:
            return Taken(0.0, self.level)
        cost = min(ask.cost, ask.rate.capacity)
        held = self.held_until - now
        if held <= 0 and self.level >= cost:
            self.level -= cost
            return Taken(0.0, self.level)
        return Taken(max(held, 0.0) + max(cost - self.level, 0.0) / ask.rate.per_second, self.level)

    def refill(self, rate: Rate, now: float) -> None:
        """Let in what flowed since the last look."""
        if now < self.at:  # the clock went back, and the same seconds must not count twice
            self.level = 0.0
        begin = max(self.at, self.held_until)
        self.level = min(self.level + max(now - begin, 0.0) * rate.per_second, rate.capacity)
        self.at = now
