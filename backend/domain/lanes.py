"""The queues of due rows that the engine works off: their names, and how long one piece of work may take."""

from __future__ import annotations

from datetime import timedelta

POLLS, SWEEP, DELIVERIES = "polls", "sweep", "deliveries"
# However alive its worker is, no piece of work holds on for longer than this.
LONGEST = {POLLS: timedelta(minutes=5), SWEEP: timedelta(minutes=1), DELIVERIES: timedelta(seconds=30)}
LANE_NAMES = tuple(LONGEST)
