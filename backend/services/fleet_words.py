"""What the processes of an installation share and who rings their lanes, in words for `GET /polling/status`."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from backend.domain.lanes import LANE_NAMES


def fleet_words(workers: Iterable[Any], budgets: str, now: datetime, alive: timedelta) -> dict[str, Any]:
    """Return which bells ring, how many living workers each lane has, and where rate budgets are kept.

    `workers` are rows of the table of that name; one not seen for `alive` counts as gone. `budgets` is their keeper's
    own description.
    """
    living = [row for row in workers if row.runs_loops and now - row.seen_at < alive]
    counts = dict.fromkeys(LANE_NAMES, 0)
    for row in living:
        for lane in counts.keys() & set(row.lanes.split(",") if row.lanes else LANE_NAMES):
            counts[lane] += 1
    bare = [lane for lane, count in counts.items() if not count]
    return {
        "bells": sorted({row.bell or "ticks" for row in living}),
        "workers_per_lane": counts,
        "budgets": budgets,
        "in_words": f"nobody works on {' or '.join(bare)}" if bare else "every lane has a worker",
    }
