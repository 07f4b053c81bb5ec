"""Failed sign-ins are counted by the address they come from."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from backend.config import Settings
from backend.domain.addresses import peer_group
from backend.services.throttle import Throttle


@pytest.fixture
async def throttle() -> AsyncIterator[Throttle]:
    """Return a throttle that lets an address fail three times a minute, and a caller ask twice."""
    made = Throttle(Settings(_env_file=None, rate_limit_anonymous=3, rate_limit_caller=2))
    yield made
    await made.aclose()


async def failures(throttle: Throttle, address: str | None, count: int) -> list[bool]:
    """Return for each of so many failed sign-ins whether it has to wait."""
    return [await throttle.wait_for_stranger(address) > 0 for _ in range(count)]


async def test_an_address_that_fails_too_often_has_to_wait(throttle: Throttle) -> None:
    assert await failures(throttle, "203.0.113.7", 5) == [False, False, False, True, True]


async def test_it_is_told_how_long_within_the_minute(throttle: Throttle) -> None:
    waits = [await throttle.wait_for_stranger("203.0.113.7") for _ in range(4)]
    assert 1 <= waits[-1] <= 60


async def test_another_address_is_not_concerned(throttle: Throttle) -> None:
    await failures(throttle, "203.0.113.7", 4)
    assert await failures(throttle, "203.0.113.8", 1) == [False]


async def test_one_machine_s_whole_network_counts_as_one(throttle: Throttle) -> None:
    waits = [await failures(throttle, f"2001:db8:1:2::{number:x}", 1) for number in range(1, 5)]
    assert waits == [[False], [False], [False], [True]]


async def test_failures_take_nothing_from_callers(throttle: Throttle) -> None:
    await failures(throttle, "203.0.113.7", 4)
    assert await throttle.wait_for("203.0.113.7", None) == 0


async def test_peers_without_an_address_count_together(throttle: Throttle) -> None:
    assert await failures(throttle, None, 4) == [False, False, False, True]


async def test_zero_lets_anybody_fail() -> None:
    throttle = Throttle(Settings(_env_file=None, rate_limit_anonymous=0))
    assert await failures(throttle, "203.0.113.7", 300) == [False] * 300


GROUPS = {
    "203.0.113.7": "203.0.113.7",
    "::ffff:203.0.113.7": "203.0.113.7",
    "2001:db8:1:2:3:4:5:6": "2001:db8:1:2::/64",
    "fe80::1%eth0": "fe80::/64",
    "": "unknown",
    "testclient": "unknown",
    "203.0.113.7\x00": "unknown",
}


@pytest.mark.parametrize(("address", "group"), GROUPS.items(), ids=ascii)
def test_a_peer_is_counted_under(address: str, group: str) -> None:
    assert peer_group(address) == group
