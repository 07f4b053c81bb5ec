"""What status says of the fleet: bells, workers per lane, budgets."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from backend.services.fleet_words import fleet_words

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ALIVE = timedelta(seconds=15)


@dataclass(frozen=True)
class Row:
    """A worker as it signed in; lanes and bell are None where an older version did."""

    lanes: str | None
    bell: str | None
    runs_loops: bool = True
    seen_at: datetime = NOW


def test_workers_are_counted_per_lane_with_their_bells() -> None:
    rows = [Row("polls,sweep", "ticks"), Row("polls", "celery"), Row(None, None)]
    said = fleet_words(rows, "in-process", NOW, ALIVE)
    assert said["workers_per_lane"] == {"polls": 3, "sweep": 2, "deliveries": 1}
    assert said["bells"] == ["celery", "ticks"]
    assert said["in_words"] == "every lane has a worker"


@pytest.mark.parametrize(
    "gone", [Row("deliveries", "ticks", seen_at=NOW - ALIVE), Row("deliveries", "ticks", runs_loops=False)]
)
def test_a_lane_whose_worker_is_gone_is_named(gone: Row) -> None:
    said = fleet_words([Row("polls,sweep", "ticks"), gone], "in-process", NOW, ALIVE)
    assert said["in_words"] == "nobody works on deliveries"


def test_it_says_where_the_budgets_are_kept() -> None:
    assert fleet_words([], "in-process", NOW, ALIVE)["budgets"] == "in-process"
